"""The benchmark of preparation compares engines, watches memory along a curve, and plans from what it measured."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PIPELINES = Path(__file__).parents[2] / "pipelines"
Row = dict[str, Any]


def lines(documents: int) -> str:
    texts = [f"a study of thing {number % 40} and of its use in place {number % 7}" for number in range(documents)]
    return "".join(json.dumps({"text": text, "label": text[-1]}) + "\n" for text in texts)


def rows_of(folder: Path, *options: str) -> list[Row]:
    (folder / "agnews.jsonl.gz").write_bytes(gzip.compress(lines(160).encode()))
    target = folder / "rows.json"
    command = [sys.executable, "benchmark.py", "prepare", "--json", str(target), "--corpus", "agnews", "--rounds", "1"]
    subprocess.run([*command, *options], cwd=PIPELINES, env=os.environ | {"TEXTHASH_DATA": str(folder)}, check=True)
    found: list[Row] = json.loads(target.read_text())["rows"]
    return found


def facts(rows: list[Row]) -> list[tuple[str, str, int, int]]:
    return [(row["corpus"], row["engine"], row["workers"], row["documents"]) for row in rows]


@pytest.mark.slow
@pytest.mark.ray
def test_a_curve_and_a_plan_come_from_one_run(tmp_path: Path) -> None:
    options = ["--documents", "150", "--times", "2", "--curve", "5", "--workers", "2"]
    rows = rows_of(tmp_path, *options, "--plan-documents", "1e9", "--plot", str(tmp_path / "curve.png"))
    assert (tmp_path / "curve.png").stat().st_size > 10_000
    measured = [row for row in rows if row["engine"] != "plan"]
    assert facts(measured) == [
        ("agnews x 2", "texthash", 2, 300),
        ("agnews x 2", "scikit_learn", 1, 300),
        ("agnews x 5", "texthash", 2, 750),
    ]
    assert all(row["documents_per_s"] > 0 for row in measured)
    for row in measured:
        if row["engine"] == "texthash":  # two processes start while one looks, and import what they need
            assert row["peak_mib"] - row["driver_mib"] > 100

    plan = rows[len(measured) :]
    assert [row["workers"] for row in plan] == [16, 64, 256, 1024]
    hours = [row["hours"] for row in plan]
    assert hours == sorted(hours, reverse=True)
    for row in plan:
        assert row["documents"] == 10**9
        assert row["hours"] > row["driver_hours"] > 0
        assert row["hours"] > row["scheduling_hours"] > 0
        assert row["read_tb"] > row["written_tb"] > 0
        assert row["shards"] == 1000


@pytest.mark.slow
@pytest.mark.ray
def test_files_are_measured_beside_the_corpus(tmp_path: Path) -> None:
    titles = tmp_path / "titles.jsonl"
    titles.write_text(lines(120), encoding="utf-8")
    rows = rows_of(tmp_path, "--documents", "100", "--no-peer", "--path", str(titles))
    assert facts(rows) == [
        ("agnews x 1", "texthash", 1, 100),
        ("agnews x 1", "texthash", 2, 100),
        ("titles.jsonl", "texthash", 1, 100),
        ("titles.jsonl", "texthash", 2, 100),
    ]
