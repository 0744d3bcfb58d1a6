"""Runs ``pipelines/benchmark.py``: its ``main`` in this process, which has most of what it imports already."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from io import StringIO
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

PROGRAM = Path(__file__).parents[2] / "pipelines" / "benchmark.py"


def run(*arguments: str | Path, **environment: str | Path) -> CompletedProcess[str]:
    """Status and output of a benchmark; ``environment`` has variables besides those of this process."""
    out, error = StringIO(), StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(error):
        for name, value in environment.items():
            patch.setenv(name, str(value))
        patch.syspath_prepend(PROGRAM.parent)
        patch.setattr(sys, "argv", [PROGRAM.name, *map(str, arguments)])
        status = import_module(PROGRAM.stem).main()
    return CompletedProcess(sys.argv, status, out.getvalue(), error.getvalue())


def rows_of(*arguments: str | Path, **environment: str | Path) -> list[dict[str, Any]]:
    """The rows that a benchmark prints as JSON."""
    done = run(*arguments, "--json", "-", **environment)
    assert done.returncode == 0, done.stderr[-3000:]
    rows: list[dict[str, Any]] = json.loads(done.stdout)["rows"]
    return rows
