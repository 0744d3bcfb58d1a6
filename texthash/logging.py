"""The progress messages of the package: silent in a library or notebook, on stderr in programs and where wanted.

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
    """Writes to what ``sys.stderr`` is at the time of the message: programs and tests redirect it."""

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
    logger.propagate = False  # else an application's own handler on stderr would repeat each message
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


# What a worker of a cluster has to report is shown by the program that started the work.
if os.environ.get(LOG_VARIABLE, "").lower() == "info" or PurePath(sys.argv[0]).name == _RAY_WORKER:
    show()
