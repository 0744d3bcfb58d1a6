"""Audit lines: one for each write, whole, in order, and no reason for a write to fail."""

from __future__ import annotations

import json
import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest

from tests.permissions import closed
from tests.small_disk import PAGE, small_disk
from texthash.io import audit
from texthash.io.audit import FILE, audited, record
from texthash.paths import StateDir


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_line_says_who_wrote_what_and_how_many(tmp_path: Path) -> None:
    with audited(StateDir(tmp_path), "upsert", source=None) as facts:
        facts.update(documents=3, release="r000002")
    (line,) = lines(tmp_path / FILE)
    assert line.pop("time").endswith("+00:00")
    assert (line.pop("process"), bool(line.pop("user")), bool(line.pop("host"))) == (os.getpid(), True, True)
    assert line == {"operation": "upsert", "by": "process", "documents": 3, "release": "r000002", "outcome": "done"}
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


def test_a_write_that_fails_says_what_was_written_before(tmp_path: Path) -> None:
    def write() -> None:
        with audited(StateDir(tmp_path), "upsert") as facts:
            facts.update(documents=1_000)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    (line,) = lines(tmp_path / FILE)
    assert (line["documents"], line["outcome"]) == (1_000, "failed")


def test_a_write_stands_without_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with closed(tmp_path, 0o500), audited(StateDir(tmp_path), "compact"):
        pass
    assert f"no audit line of compact is in {tmp_path / FILE}: Permission denied" in capsys.readouterr().err
    os.mkfifo(tmp_path / FILE)
    with audited(StateDir(tmp_path), "compact"):
        pass
    assert "no audit line of compact" in capsys.readouterr().err


class Unusable(StateDir):
    """State directory that fails as no file does."""

    def make(self) -> None:
        raise RuntimeError("no such state")


def test_a_write_stands_whatever_is_wrong_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with audited(Unusable(tmp_path), "compact"):
        pass
    assert "RuntimeError: no such state" in capsys.readouterr().err


def test_a_line_that_a_full_disk_cuts_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with small_disk(tmp_path / "disk", 1) as disk:
        home = StateDir(disk.path)
        record(home, "upsert", {}, {"about": "x" * (PAGE - 200)}, done=True)
        disk.fill()
        record(home, "delete", {}, {"about": "y" * 300}, done=True)
    assert "no audit line of delete" in capsys.readouterr().err


def test_a_line_begins_after_one_that_a_full_disk_has_cut(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('{"operation": "ups')
    with audited(StateDir(tmp_path), "delete"):
        pass
    assert json.loads((tmp_path / FILE).read_text().splitlines()[1])["operation"] == "delete"


def _write_many(root: str, of: int) -> None:
    audit._FULL_BYTES = 10_000
    for number in range(100):
        record(StateDir(Path(root)), "upsert", {"by": of}, {"documents": number}, done=True)


def test_processes_lose_no_line_to_each_other_or_to_a_full_file(tmp_path: Path) -> None:
    processes = [
        multiprocessing.get_context("fork").Process(target=_write_many, args=(str(tmp_path), of)) for of in "ab"
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    found = [*lines(tmp_path / "audit.1.jsonl"), *lines(tmp_path / FILE)]
    for of in "ab":
        own = [line["documents"] for line in found if line["by"] == of]
        assert own == list(range(100))[-len(own) :]
    assert all(path.stat().st_size < 11_000 for path in tmp_path.iterdir())
