"""The comparison with other engines on few vectors: what is exact says so, and what is not does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.pipelines.benchmark import rows_of


def test_engines_are_judged_by_brute_force(tmp_path: Path) -> None:
    pytest.importorskip("faiss", reason="the extra faiss is not installed")
    random = np.random.default_rng(0)
    centres = random.normal(size=(50, 32))
    np.save(tmp_path / "vectors.npy", np.repeat(centres, 50, axis=0) + 0.8 * random.normal(size=(2500, 32)))
    peers = ["texthash", "faiss IndexBinaryFlat", "faiss IndexBinaryMultiHash"]
    options = [word for name in peers for word in ("--peer", name)]
    rows = rows_of(
        *("compare", "--vectors", tmp_path / "vectors.npy", "--documents", "1200", "--queries", "100", "--bits", "32"),
        *("--rounds", "1", "--csv", tmp_path / "rows.csv", *options),
    )
    own, flat, multi = rows
    for row in (own, flat):
        assert row["exact"] == row["ties_in_order"] == row["filtered_exact"] == row["added_found"] == 1
    assert own["recall"] == flat["recall"]
    assert own["recall"] < own["recall_rescored"] <= 1
    assert multi["exact"] < 1
    assert multi["recall_rescored"] < own["recall_rescored"]
    assert flat["bytes_per_document"] == pytest.approx(4, abs=0.1)
    assert all(row["ms_single"] > 0 and row["ms_to_add_1000"] > 0 for row in rows)
    lines = (tmp_path / "rows.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["engine", *peers]


def test_texts_or_vectors_are_needed() -> None:
    with pytest.raises(AssertionError, match="either --texts or --vectors"):
        rows_of("compare")
