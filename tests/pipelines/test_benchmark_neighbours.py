"""The benchmark of neighbour graphs as a program: the form of its output."""

from __future__ import annotations

from pathlib import Path

from tests.pipelines.benchmark import rows_of


def test_rows_of_both_engines(corpora_at_hand: Path) -> None:
    sizes = ["--documents", "1000", "--words", "500", "--k", "10", "--rounds", "1"]
    rows = rows_of("neighbours", *sizes, "--threads", "1", "--threads", "2", TEXTHASH_DATA=corpora_at_hand)
    assert {(row["engine"], row["threads"]) for row in rows} == {
        (engine, threads) for engine in ("texthash", "scikit_learn") for threads in (1, 2)
    }
    assert all(row["documents"] == 1000 and row["k"] == 10 and row["seconds"] > 0 for row in rows)
