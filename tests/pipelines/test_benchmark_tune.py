"""The benchmark of sweeps as a program: the form of its output, and that every trial of every engine is done."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.pipelines.benchmark import rows_of


@pytest.mark.slow
@pytest.mark.ray
def test_rows_side_by_side_and_one_by_one(small_rows: Path, tmp_path: Path) -> None:
    corpus = {"name": "small", "path": str(small_rows), "limit": 400, "edition": {"vocabulary_size": 300}}
    method = {"name": "nash", "bits": 16, "params": {"hidden": 16}}
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump({"corpus": corpus, "method": method}))
    arguments = ["--config", str(tmp_path / "sweep.yaml"), "--trials", "2", "--epochs", "1"]
    rows = rows_of("tune", *arguments, TEXTHASH_HOME=tmp_path / "home")
    assert [(row["engine"], row["concurrent"]) for row in rows[:2]] == [("sweep", 1), ("sweep", 2)]
    assert {row["engine"] for row in rows[2:]} == {"plain_loop"}
    assert all(row["trials"] == 2 and row["seconds"] > 0 for row in rows)
    assert rows[0]["times_one_by_one"] == 1.0
    assert not (tmp_path / "home" / "runs").exists(), "its runs are not among a person's"
