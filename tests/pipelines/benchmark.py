"""Runs ``pipelines/benchmark.py`` as a program."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

PROGRAM = Path(__file__).parents[2] / "pipelines" / "benchmark.py"


def rows_of(*arguments: str | Path, timeout: float | None = None, **environment: str | Path) -> list[dict[str, Any]]:
    """The rows that a benchmark prints as JSON; ``environment`` has variables besides those of this process."""
    done = subprocess.run(
        [sys.executable, PROGRAM, *arguments, "--json", "-"],
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, **{name: str(value) for name, value in environment.items()}},
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    rows: list[dict[str, Any]] = json.loads(done.stdout)["rows"]
    return rows
