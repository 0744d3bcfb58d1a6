"""The benchmark of killed parts as a program: they come back, and nothing that was acknowledged is lost."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.service.conftest import Program
from texthash.index.releases.release import read_release
from texthash.index.releases.verify import verify
from texthash.paths import StateDir


@pytest.mark.slow
@pytest.mark.ray
def test_rows_of_a_shard_and_the_writer(released: StateDir, benchmark_of: Program, tmp_path: Path) -> None:
    home = StateDir(Path(shutil.copytree(released.root, tmp_path / "home")))
    before = read_release(home)
    done = benchmark_of(home, "faults", "--part", "shard", "--part", "writer", "--json", "-")
    assert done.returncode == 0, done.stderr[-3000:]
    shard, writer = json.loads(done.stdout)["rows"]
    assert (shard["part"], writer["part"]) == ("shard", "writer")
    assert 0 < shard["searches_well_after_s"] < 60
    assert 0 < writer["writes_well_after_s"] < 60
    assert writer["searches_failed"] == "none", "searches need no writer"
    assert (shard["writes_lost"], writer["writes_lost"]) == (0, 0)
    assert read_release(home).documents == before.documents
    assert [finding for finding in verify(home) if not finding.ok] == []


def test_a_part_that_does_not_exist_is_wrong_use(released: StateDir, benchmark_of: Program) -> None:
    done = benchmark_of(released, "faults", "--part", "heart")
    assert done.returncode == 2
    assert "there is no part 'heart'" in done.stderr
