"""Benchmarks of texthash and comparable libraries: ``python pipelines/benchmark.py search --json search.json``.

Each command is a module of ``pipelines/benchmarks/`` and prints a table to stderr; with ``--json`` it also writes
``{"machine", "commit", "rows"}`` to a file (``-`` for stdout). Exit status: 0 success, 1 failure, 2 wrong usage.
"""

from __future__ import annotations

import sys
from importlib import import_module

import typer

from texthash.cli.running import run_app

COMMANDS = (
    "ablation",
    "codes",
    "compare",
    "connections",
    "encoders",
    "faults",
    "filters",
    "finetune",
    "ingress",
    "live",
    "memory",
    "neighbours",
    "nodes",
    "prepare",
    "search",
    "selection",
    "serve",
    "stages",
    "swap",
    "train",
    "tune",
    "weights",
)


def main() -> int:
    """Run one benchmark."""
    app = typer.Typer(
        help="Benchmarks of texthash and comparable libraries.", add_completion=False, no_args_is_help=True
    )
    app.callback()(lambda: None)  # makes Typer require the command's name even if there is only one
    # Only the given command is imported, with the libraries that it measures; the help needs all of them.
    for name in [name for name in COMMANDS if name in sys.argv[1:2]] or COMMANDS:
        app.command(name)(import_module(f"benchmarks.{name}").command)
    return run_app(app)


if __name__ == "__main__":
    sys.exit(main())
