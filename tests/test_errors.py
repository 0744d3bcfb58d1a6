"""Which errors are explained to a person, and the exit status they give."""

import errno
import os
from pathlib import Path

import pytest

from texthash.errors import CorpusError, UsageError, as_user_error, exit_status, nearest_name


def test_a_full_disk_is_explained_however_deep_it_lies():
    try:
        try:
            raise OSError(errno.ENOSPC, "No space left on device", "/data/x")
        except OSError as inner:
            raise RuntimeError("writing failed") from inner
    except RuntimeError as outer:
        known = as_user_error(outer)
    assert known is not None
    assert "the disk is full" in known.problem
    assert known.remedy


def test_of_the_error_of_a_task_only_the_line_on_the_disk_is_shown():
    text = "Traceback:\n  in put\nx.StoreFullError: the store failed: database or disk is full\n  remedy: make room"
    known = as_user_error(RuntimeError(text))
    assert known is not None
    assert known.problem == "the disk is full: the store failed: database or disk is full."


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EPERM])
def test_a_place_that_cannot_be_written_is_explained(number):
    known = as_user_error(OSError(number, "closed", "/data/x"))
    assert known is not None
    assert "/data/x" in known.problem
    assert "TEXTHASH_HOME" in known.remedy


@pytest.mark.parametrize(
    "number", [errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ENOENT, errno.EIO, errno.ENXIO]
)
def test_a_path_that_cannot_be_used_is_named(number):
    known = as_user_error(OSError(number, "no", "/data/x"))
    assert known is not None
    assert "/data/x" in known.problem


def test_the_projects_own_error_is_itself_and_a_fault_of_ours_is_not_explained():
    own = CorpusError("a", "b")
    assert as_user_error(own) is own
    assert as_user_error(ValueError("x")) is None
    assert as_user_error(OSError(errno.ENOENT, "no such file")) is None


def test_an_error_of_lance_is_explained_by_the_number_in_its_text():
    known = as_user_error(RuntimeError("LanceError(IO): Permission denied (os error 13), /data/x"))
    assert known is not None
    assert "access is denied" in known.problem


def test_open_files_and_a_deleted_working_directory_are_explained(tmp_path, monkeypatch):
    known = as_user_error(OSError(errno.EMFILE, "Too many open files"))
    assert known is not None
    assert "ulimit -n" in known.remedy
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(FileNotFoundError) as raised:
        Path.cwd()
    known = as_user_error(raised.value)
    assert known is not None
    assert "working directory" in known.problem


def test_wrong_use_has_a_status_of_its_own():
    assert exit_status(UsageError("a")) == 2
    assert exit_status(CorpusError("a")) == 1


def test_the_nearest_name_or_all_of_them():
    assert nearest_name("nosh", ["nash", "vdsh"]) == "did you mean 'nash'?"
    assert nearest_name("qqq", ["nash", "vdsh"]) == "known: nash, vdsh"


def test_a_closed_folder_is_named_and_not_only_what_is_in_it(tmp_path, monkeypatch):
    (tmp_path / "closed" / "inside").mkdir(parents=True)
    reachable = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "closed" and reachable(path, mode))
    known = as_user_error(PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "closed/inside/file")))
    assert f"{tmp_path / 'closed'} is closed to this user" in known.problem


def test_too_little_memory_is_named_with_what_was_too_large():
    import numpy as np

    from texthash.hamming.codes import to_words

    try:
        to_words(np.broadcast_to(np.zeros((1, 8), np.uint8), (2**45, 8)))
    except MemoryError as error:
        found = as_user_error(error)
    assert found is not None
    assert found.problem.startswith("there is too little memory in texthash.hamming.codes: Unable to allocate 256. TiB")
    assert "ulimit -v" in found.remedy
    assert "an allocation failed" in str(as_user_error(MemoryError()))
    torch = RuntimeError(
        "[enforce fail] . DefaultCPUAllocator: can't allocate memory: you tried to allocate 4096 bytes."
    )
    assert "you tried to allocate 4096 bytes" in str(as_user_error(torch))
