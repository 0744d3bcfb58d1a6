"""Service of a release on its own cluster, for a measurement."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from texthash.cluster import free_port
from texthash.config import ServiceConfig
from texthash.paths import StateDir
from texthash.service.haproxy import haproxy_environment
from texthash.service.local_cluster import service_cluster

PlacementOption = Annotated[str, typer.Option("--placement", help="Placement of encoder and shards: local or remote.")]


@contextmanager
def served(home: StateDir, release: str = "current", haproxy: bool = True, **service_options: Any) -> Iterator[int]:
    """Serve a release on 127.0.0.1 during the block, and yield the port; options as of :class:`ServiceConfig`."""
    service = ServiceConfig(port=free_port(), **service_options)
    with haproxy_environment(haproxy), service_cluster():
        from ray import serve

        from texthash.service.run import serve_release  # Serve reads its settings when it is imported

        serve_release(home, service, release=release)
        try:
            yield service.port
        finally:
            serve.shutdown()
