"""What long work says of itself where nobody watches a terminal."""

from __future__ import annotations

import itertools
import time

import pytest

from texthash.progress import track


@pytest.fixture
def every_item_takes(monkeypatch):
    """Let each look at the clock find this many seconds gone."""

    def set_clock(seconds: float) -> None:
        ticks = itertools.count(0.0, seconds)
        monkeypatch.setattr(time, "monotonic", lambda: next(ticks))

    return set_clock


def test_progress_says_how_many_a_second(every_item_takes, capsys):
    every_item_takes(6.0)
    assert list(track([3, 4], "encoding", documents=lambda n: 100 * n)) == [3, 4]
    assert capsys.readouterr().err.splitlines() == [
        "encoding: 1/2, 300 documents (50/s)",
        "encoding: 2/2, 700 documents (58/s)",
    ]


def test_what_takes_longer_than_a_second_is_timed_by_the_piece(every_item_takes, capsys):
    every_item_takes(30.0)
    assert len(list(track(range(2), "building shards"))) == 2
    assert capsys.readouterr().err.splitlines() == [
        "building shards: 1/2 (30 s each)",
        "building shards: 2/2 (30 s each)",
    ]


def test_quick_work_says_nothing(every_item_takes, capsys):
    every_item_takes(0.1)
    assert len(list(track(range(20), "encoding"))) == 20
    assert capsys.readouterr().err == ""
