"""Which errors are explained to a person, and the exit status they give."""

import errno

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


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_place_that_cannot_be_written_is_explained(number):
    known = as_user_error(OSError(number, "closed", "/data/x"))
    assert known is not None
    assert "/data/x" in known.problem
    assert "TEXTHASH_HOME" in known.remedy


@pytest.mark.parametrize("number", [errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ENOENT])
def test_a_path_that_cannot_be_used_is_named(number):
    known = as_user_error(OSError(number, "no", "/data/x"))
    assert known is not None
    assert "/data/x" in known.problem


def test_the_projects_own_error_is_itself_and_a_fault_of_ours_is_not_explained():
    own = CorpusError("a", "b")
    assert as_user_error(own) is own
    assert as_user_error(ValueError("x")) is None
    assert as_user_error(OSError(errno.ENOENT, "no such file")) is None


def test_wrong_use_has_a_status_of_its_own():
    assert exit_status(UsageError("a")) == 2
    assert exit_status(CorpusError("a")) == 1


def test_the_nearest_name_or_all_of_them():
    assert nearest_name("nosh", ["nash", "vdsh"]) == "did you mean 'nash'?"
    assert nearest_name("qqq", ["nash", "vdsh"]) == "known: nash, vdsh"
