"""Measure texthash beside its peers: ``python pipelines/benchmark.py search --json search.json``.

Each command is a module of ``pipelines/benchmarks/`` and prints a table to stderr; with ``--json`` it also writes
``{"machine", "commit", "rows"}`` to a file (``-``: to stdout). Exit status: 0 done, 1 failed, 2 wrong use.
"""

from __future__ import annotations

import sys
from importlib import import_module

import typer

from texthash.cli.running import run_app

COMMANDS = (
    "codes",
    "faults",
    "live",
    "memory",
    "neighbours",
    "prepare",
    "search",
    "selection",
    "serve",
    "swap",
    "train",
    "tune",
)


def main() -> int:
    """Run one benchmark."""
    app = typer.Typer(help="Measure texthash beside its peers.", add_completion=False, no_args_is_help=True)
    app.callback()(lambda: None)  # so that a single command, too, is called by its name
    # Only the command that is asked for is imported, each with the libraries it measures; all of them for the help.
    for name in [name for name in COMMANDS if name in sys.argv[1:2]] or COMMANDS:
        app.command(name)(import_module(f"benchmarks.{name}").command)
    return run_app(app)


if __name__ == "__main__":
    sys.exit(main())
