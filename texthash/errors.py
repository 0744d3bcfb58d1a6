"""The one family of errors a person is meant to read: what is wrong, with which value, and what to do."""

from __future__ import annotations

import difflib
import errno
import re
from collections.abc import Iterable

_SURROGATES = re.compile("[\ud800-\udfff]")  # what Python makes of bytes that are not UTF-8
_AROUND = 40  # characters shown on both sides of one
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
# Lance gives the number of an operating system's error in its text alone.
_IN_TEXT = re.compile(r"\(os error (\d+)\)")


class TexthashError(Exception):
    """Something went wrong that the person can mend.

    Args:
        problem: One sentence that names the thing and the value.
        remedy: One sentence that says what to do; shown on a line of its own.
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(problem, remedy)
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.problem}\n  remedy: {self.remedy}" if self.remedy else self.problem


class UsageError(TexthashError):
    """The command or configuration itself is wrong (exit status 2)."""


class CorpusError(TexthashError):
    """A corpus cannot be found, read or prepared."""


class ModelMismatchError(TexthashError):
    """A model, a vocabulary, an index and codes that do not belong together."""


def exit_status(error: TexthashError) -> int:
    """What a program that ends with the error returns: 2 for wrong use, else 1."""
    return 2 if isinstance(error, UsageError) else 1


def as_user_error(error: BaseException) -> TexthashError | None:
    """The error that a person is meant to read: this one, or a disk or store behind it that is full, closed or out
    of reach; None for a fault of ours."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, TexthashError):
            return cause
        if isinstance(cause, Exception) and _is_no_space(cause):
            return TexthashError(
                f"the disk is full: {cause}.", "make room, or set TEXTHASH_HOME to another disk; then run it again."
            )
        if isinstance(cause, OSError) and cause.errno in (errno.EROFS, errno.EACCES):
            return TexthashError(
                f"there is no access: {cause}.", "give access, or set TEXTHASH_HOME to a place of yours."
            )
        if isinstance(cause, UnicodeEncodeError) and _SURROGATES.search(cause.object):
            shown = ascii(cause.object[max(0, cause.start - _AROUND) : cause.end + _AROUND])
            return TexthashError(
                f"a text or the name of a file is not UTF-8: {shown}.", "rename the file, or correct the text."
            )
        if type(cause).__module__.startswith("botocore."):  # not imported: who has no object store need not have it
            return TexthashError(
                f"the object store cannot be used: {cause}",
                "set AWS_ENDPOINT_URL and the AWS_ credentials of the store.",
            )
        cause = cause.__cause__ or getattr(cause, "cause", None)
    return None


def out_of_space(error: BaseException) -> bool:
    """Whether a full disk, or a used-up quota, is behind an error."""
    cause: BaseException | None = error
    while cause is not None:
        if _is_no_space(cause):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _is_no_space(error: BaseException) -> bool:
    if isinstance(error, TexthashError):
        return False
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _NO_SPACE
    found = _IN_TEXT.search(str(error))
    return found is not None and int(found[1]) in _NO_SPACE


def nearest_name(name: str, known: Iterable[str]) -> str:
    """Return a hint such as ``did you mean 'nash'?`` or the list of known names."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return "known: " + ", ".join(names)
