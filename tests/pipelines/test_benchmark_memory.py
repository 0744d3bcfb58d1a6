"""Training holds little beside the files of the corpus, however large it is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PIPELINES = Path(__file__).parents[2] / "pipelines"


def rows_of(tmp_path: Path, *options: str) -> list[dict[str, Any]]:
    target = tmp_path / "memory.json"
    command = [sys.executable, "benchmark.py", "memory", "--json", str(target), "--hidden", "64", *options]
    subprocess.run(command, cwd=PIPELINES, check=True)
    rows: list[dict[str, Any]] = json.loads(target.read_text())["rows"]
    return rows


def test_what_is_measured_is_the_corpus(tmp_path: Path) -> None:
    (row,) = rows_of(tmp_path, "--documents", "2000", "--length", "50")
    assert 0.5 < row["corpus_mib"] < 2
    assert row["matrix_fits"]
    assert row["documents"] == 2000


@pytest.mark.slow
def test_a_corpus_larger_than_the_limit_trains(tmp_path: Path) -> None:
    small, large = rows_of(tmp_path, "--documents", "20000", "--documents", "400000", "--limit-mib", "600")
    assert large["corpus_mib"] > large["limit_mib"] > large["anonymous_mib"]
    assert not large["matrix_fits"], "the limit binds"
    # 8 bytes a document for the order of an epoch, its code, and what the allocator keeps; 1,800 bytes of words.
    assert large["anonymous_mib"] - small["anonymous_mib"] < large["corpus_mib"] / 7
