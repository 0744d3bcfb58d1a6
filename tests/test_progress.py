"""What long work says of itself where nobody watches a terminal."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
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


def in_a_new_process(code: str, **environment: str) -> str:
    """Return what a process that runs some code leaves on stderr."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, **environment}
    )
    return done.stderr


SPEAK = (
    "from texthash.progress import log_line, track, warn;"
    "log_line('progress'); list(track([1], 'work')); warn('careful')"
)


def test_a_library_shows_warnings_only_until_asked():
    assert in_a_new_process(SPEAK).splitlines() == ["warning: careful"]
    asked = in_a_new_process("import texthash.logging; texthash.logging.show();" + SPEAK)
    assert asked.splitlines() == ["progress", "warning: careful"]
    assert in_a_new_process(SPEAK, TEXTHASH_LOG="info").splitlines() == ["progress", "warning: careful"]
    hidden = in_a_new_process("from texthash import logging; logging.show(); logging.hide();" + SPEAK)
    assert hidden.splitlines() == ["warning: careful"]


def test_the_handlers_of_an_application_receive_progress():
    configured = "import logging; logging.basicConfig(level='INFO', format='%(name)s %(message)s');"
    assert in_a_new_process(configured + SPEAK).splitlines() == [
        "texthash.progress progress",
        "texthash.progress warning: careful",
    ]
