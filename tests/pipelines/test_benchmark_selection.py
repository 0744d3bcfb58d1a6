"""The benchmark of choosing without labels: a run on a small corpus, and what its table says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parents[2] / "pipelines" / "benchmark.py"


def test_the_chosen_epoch_lies_between_worst_and_best(small_rows, tmp_path):
    arguments = ["--path", small_rows, "--method", "vdsh", "--epochs", "3", "--bits", "16", "--json", "-"]
    ended = subprocess.run(
        [sys.executable, PROGRAM, "selection", *arguments],
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "TEXTHASH_HOME": str(tmp_path)},
        timeout=240,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    (row,) = json.loads(ended.stdout)["rows"]
    assert (row["corpus"], row["method"], row["epochs"]) == ("small", "vdsh", 3)
    assert 0 < row["chosen"] <= row["best"] < 1
    assert row["last"] <= row["best"]
    assert {row["best_epoch"], row["chosen_epoch"]} <= {1, 2, 3}
