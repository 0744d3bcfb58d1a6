"""The benchmark of a live index as a program: the form of its rows, and the release it starts from left as it is."""

from __future__ import annotations

import json

from tests.service.conftest import Program
from texthash.index.releases.release import read_release
from texthash.paths import StateDir


def test_rows_of_each_step(released: StateDir, benchmark_of: Program) -> None:
    before = read_release(released)
    sizes = ["--documents", str(before.documents + 7), "--written", "20", "--rounds", "2"]
    done = benchmark_of(released, "live", *sizes, "--json", "-")
    assert done.returncode == 0, done.stderr[-3000:]
    rows = {row["step"]: row for row in json.loads(done.stdout)["rows"]}
    assert list(rows) == ["open", "encode", "insert", "replace", "delete"]
    assert all(row["documents"] == before.documents + 7 and 0 < row["ms"] <= row["slowest_ms"] for row in rows.values())
    assert [row["written"] for row in rows.values()] == [None, 20, 20, 20, 20]
    assert read_release(released) == before
