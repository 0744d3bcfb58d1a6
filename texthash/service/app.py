"""Former import path of the Serve application, kept for deployment files of version 0.1."""

from __future__ import annotations

import logging
from typing import Any

from ray import serve

from texthash.service import serve_app

log = logging.getLogger("texthash.service")


def build(args: dict[str, Any]) -> serve.Application:
    """Build the application as :func:`texthash.service.serve_app.build` does, and log that its path has changed."""
    log.warning("import_path texthash.service.app:build is now texthash.service.serve_app:build; change it.")
    return serve_app.build(args)
