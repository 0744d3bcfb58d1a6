"""The command line: data on stdout, progress and errors on stderr; exit status 0 done, 1 failed, 2 wrong use."""

from texthash.cli.app import main

__all__ = ["main"]
