"""Progress messages of the package: silent in a library or notebook, on stderr in programs and on request.

>>> import texthash
>>> texthash.logging.show()  # progress of long work from here on
>>> texthash.logging.hide()  # warnings only, as at the beginning

Messages go through the logger ``texthash.progress``, so the handlers of an application receive them as well.
TEXTHASH_LOG set to ``info`` has the effect of :func:`show` in every process that inherits it.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import PurePath
from typing import TextIO

LOG_VARIABLE = "TEXTHASH_LOG"
_RAY_WORKER = "default_worker.py"

logger = logging.getLogger("texthash.progress")


class _Stderr(logging.StreamHandler[TextIO]):
    """Handler that writes to the current ``sys.stderr``, which programs and tests may redirect."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


_stderr = _Stderr()


def show() -> None:
    """Show the progress of long work on stderr: bars on a terminal, lines elsewhere."""
    logger.setLevel(logging.INFO)
    logger.propagate = False  # Otherwise a handler of the application on stderr would repeat each message.
    if _stderr not in logger.handlers:
        logger.addHandler(_stderr)


def hide() -> None:
    """Show warnings only."""
    logger.setLevel(logging.NOTSET)
    logger.propagate = True
    logger.removeHandler(_stderr)


def is_shown() -> bool:
    """Return whether progress is visible to anyone: on stderr, or by a handler of the application."""
    return logger.isEnabledFor(logging.INFO)


# The program that started the work shows the messages of the cluster's workers.
if os.environ.get(LOG_VARIABLE, "").lower() == "info" or PurePath(sys.argv[0]).name == _RAY_WORKER:
    show()
