"""``pipelines/benchmark.py filters`` on few documents."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parents[2] / "pipelines" / "benchmark.py"


def test_every_task_is_timed() -> None:
    done = subprocess.run(
        [sys.executable, PROGRAM, "filters", "--documents", "2000", "--rounds", "2", "--json", "-"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert {"search without a filter", "search with a kept mask", "mask of a new range"} <= {
        row["task"] for row in rows
    }
    assert all(row["ms"] > 0 for row in rows)
