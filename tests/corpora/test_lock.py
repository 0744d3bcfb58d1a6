"""The lock file that one process holds at a time: nobody is let in beside another, and nothing stays behind."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from texthash.io import atomic
from texthash.io.atomic import InUseError, claimed, exclusive, whole, whole_directory

HOLDER = """
import sys, time
from pathlib import Path
from texthash.io.atomic import exclusive
with exclusive(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_one_at_a_time_and_nothing_stays(tmp_path: Path) -> None:
    lock = tmp_path / "new" / ".lock"
    inside: list[int] = []
    most = []

    def work(number: int) -> None:  # a file that is opened twice is locked as between two processes
        for _ in range(50):
            with exclusive(lock):
                inside.append(number)
                time.sleep(0)
                most.append(len(inside))
                inside.remove(number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert most == [1] * 400
    assert list(lock.parent.iterdir()) == []


def test_a_wait_is_logged_only_if_it_lasts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = tmp_path / ".lock"
    logged: list[str] = []
    monkeypatch.setattr(atomic, "log_line", logged.append)

    def wait(seconds: float) -> None:
        with ThreadPoolExecutor(1) as pool:
            with exclusive(lock):
                second = pool.submit(_enter, lock)
                time.sleep(seconds)
            second.result()

    monkeypatch.setattr(atomic, "_PATIENCE_S", 60.0)
    wait(0.2)
    assert logged == []
    monkeypatch.setattr(atomic, "_PATIENCE_S", 0.05)
    wait(0.5)
    assert logged == [f"waiting for another process that holds {lock}"]


def _enter(lock: Path) -> None:
    with exclusive(lock):
        pass


def test_it_is_gone_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="of the block"), exclusive(tmp_path / ".lock"):
        raise ValueError("of the block")
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_leaves_is_taken_by_the_next(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    with subprocess.Popen([sys.executable, "-c", HOLDER, lock], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        holder.kill()
    assert lock.exists()
    with exclusive(lock):
        pass
    assert list(tmp_path.iterdir()) == []


CLAIMER = HOLDER.replace("exclusive", "claimed").replace("Path(sys.argv[1])", "Path(sys.argv[1]), 'the work', 'wait.'")


def test_a_claim_is_refused_with_the_process_that_has_it_until_that_dies(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    with subprocess.Popen([sys.executable, "-c", CLAIMER, lock], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        for _ in range(2):  # who is refused leaves the claim as it is
            refused = pytest.raises(InUseError, match=f"the work is being done by process {holder.pid} on ")
            with refused, claimed(lock, "the work", "wait."):
                pass
        holder.kill()
    with claimed(lock, "the work", "wait."):
        pass
    assert list(tmp_path.iterdir()) == []


def test_threads_that_write_one_file_at_once_do_not_meet(tmp_path: Path) -> None:
    target = tmp_path / "file"

    def write(number: int) -> None:
        with whole(target) as partial:
            partial.write_text(str(number) * 1000, encoding="utf-8")
            time.sleep(0.01)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    assert len(set(target.read_text(encoding="utf-8"))) == 1
    assert list(tmp_path.iterdir()) == [target]


def test_of_two_that_make_a_directory_the_first_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "made"
    with whole_directory(target) as second:
        (second / "by").write_text("second", encoding="utf-8")
        with whole_directory(target) as first:
            (first / "by").write_text("first", encoding="utf-8")
    assert (target / "by").read_text(encoding="utf-8") == "first"
    assert list(tmp_path.iterdir()) == [target]
