"""``pipelines/benchmark.py filters`` on few documents."""

from __future__ import annotations

from tests.pipelines.benchmark import rows_of


def test_every_task_is_timed() -> None:
    rows = rows_of("filters", "--documents", "2000", "--rounds", "2")
    assert {"search without a filter", "search with a kept mask", "mask of a new range"} <= {
        row["task"] for row in rows
    }
    assert all(row["ms"] > 0 for row in rows)
