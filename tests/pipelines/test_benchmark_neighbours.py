"""The benchmark of neighbour graphs as a program: the form of its output."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parents[2] / "pipelines" / "benchmark.py"


def test_rows_of_both_engines(corpora_at_hand: Path) -> None:
    sizes = ["--documents", "1000", "--words", "500", "--k", "10", "--rounds", "1"]
    done = subprocess.run(
        [sys.executable, PROGRAM, "neighbours", *sizes, "--threads", "1", "--threads", "2", "--json", "-"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TEXTHASH_DATA": str(corpora_at_hand)},
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert {(row["engine"], row["threads"]) for row in rows} == {
        (engine, threads) for engine in ("texthash", "scikit_learn") for threads in (1, 2)
    }
    assert all(row["documents"] == 1000 and row["k"] == 10 and row["seconds"] > 0 for row in rows)
