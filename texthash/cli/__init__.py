"""The command line: data on stdout, progress and errors on stderr; exit status 0 done, 1 failed, 2 wrong use."""

from __future__ import annotations

import sys
from collections.abc import Sequence

INTERRUPTED = 130
"""Exit status after Ctrl-C."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its status; the commands are imported here, as Ctrl-C may come meanwhile."""
    try:
        from texthash.cli.app import main as run
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    run(arguments)


__all__ = ["INTERRUPTED", "main"]
