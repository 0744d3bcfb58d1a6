"""Errors that are meant for users: they name the problem, the value and the remedy."""

from __future__ import annotations

import difflib
import errno
import os
import re
import traceback
from collections.abc import Iterable
from pathlib import Path

_SURROGATES = re.compile("[\ud800-\udfff]")  # Python decodes bytes that are not UTF-8 to these.
_AROUND = 40  # Number of characters shown on both sides of a surrogate.
# Errors of a path that somebody has named: a file in place of a directory, a name that is too long, and the like.
_OF_PATHS = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP)
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_NO_ACCESS = (errno.EROFS, errno.EACCES, errno.EPERM)
_NO_FILES = (errno.EMFILE, errno.ENFILE)
# Lance reports the number of an operating system's error only in its text.
_IN_TEXT = re.compile(r"\(os error (\d+)\)")
# NumPy, which writes an array by the C library, and SQLite say only in their texts that a disk is full.
_NO_SPACE_IN_TEXT = re.compile(r"^\d+ requested and \d+ written$|database or disk is full")
_FULL = re.compile(r"disk is full|No space left on device|Disk quota exceeded")
_CLASS = re.compile(r"^[\w.]+(Error|Exception): ")
_READ_ONLY_IN_TEXT = "attempt to write a readonly database"  # of SQLite
# Torch reports a failed allocation as an error of any kind.
_NO_MEMORY_IN_TEXT = re.compile(r"DefaultCPUAllocator: .*allocate memory|CUDA out of memory")
# Lance and Arrow say only in their texts that a store was busy or out of reach.
_OUT_OF_REACH = re.compile(
    r"after \d+ retries|error sending request|Failed to resolve region|SlowDown|non-2xx status code: 5\d\d|"
    r"operation timed out"
)
_REFUSAL = re.compile(
    r"ExpiredToken|TokenRefreshRequired|RequestExpired|InvalidToken|S3 error.*\b(400 Bad Request|403 Forbidden)\b",
    re.DOTALL,
)
RENEW_CREDENTIALS = (
    "renew the AWS_ credentials, or those of the nodes' role, then run the same command again: it resumes."
)
_OTHER_REGION = ("the bucket is in another region", "set AWS_DEFAULT_REGION to the region of the bucket.")
# Codes by which an object store refuses a request for a reason that only the user can remove.
_REFUSALS = {
    "AccessDenied": (
        "it does not allow this to the present credentials",
        "allow them to read, list, write and delete objects there, or use others (AWS_ACCESS_KEY_ID, "
        "AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, or the role of the nodes); then run the same command again: it "
        "resumes.",
    ),
    "RequestTimeTooSkewed": (
        "the clock of this machine differs from that of the store",
        "correct the clock (NTP), then run the same command again: it resumes.",
    ),
    "PermanentRedirect": _OTHER_REGION,
    "AuthorizationHeaderMalformed": _OTHER_REGION,
    "IllegalLocationConstraintException": _OTHER_REGION,
}


class TexthashError(Exception):
    """Error that the user can correct.

    Args:
        problem: Sentence that names the thing and the value.
        remedy: Sentence that says what to do, shown on a separate line.
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(problem, remedy)
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.problem}\n  remedy: {self.remedy}" if self.remedy else self.problem


class UsageError(TexthashError):
    """Error in the command or the configuration itself (exit status 2)."""


class CorpusError(TexthashError):
    """Error raised when a corpus cannot be found, read or prepared."""


class ModelMismatchError(TexthashError):
    """Error raised when a model, a vocabulary, an index or codes do not belong together."""


class StorageUnavailableError(TexthashError):
    """Error raised when an object store is busy, out of reach, or refuses the credentials; it may answer later."""


class NoKeywordsError(TexthashError):
    """Error raised when an index that has no words is searched for words."""


def exit_status(error: TexthashError) -> int:
    """Return the exit status of a program that ends with the error: 2 for wrong use, otherwise 1."""
    return 2 if isinstance(error, UsageError) else 1


def as_user_error(error: BaseException) -> TexthashError | None:
    """Return the error to show to the user; None for an internal error.

    A TexthashError is returned unchanged. Errors of a disk or store that is full, inaccessible or unreachable are
    described.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, TexthashError):
            return cause
        if isinstance(cause, Exception) and _is_no_space(cause):
            return TexthashError(
                f"the disk is full: {_said(cause)}.",
                "make room, or set TEXTHASH_HOME to another disk; then run it again.",
            )
        if isinstance(cause, Exception) and is_no_access(cause):
            closed = _closed_folder(getattr(cause, "filename", None))
            where = f"; {closed} is closed to this user" if closed else ""
            return TexthashError(
                f"access is denied: {cause}{where}.",
                "grant access, or name another path (of the state directory: TEXTHASH_HOME).",
            )
        if isinstance(cause, Exception) and _number(cause) in _NO_FILES:
            return TexthashError(
                f"too many files are open: {cause}.", "raise the limit (ulimit -n), then run it again."
            )
        if isinstance(cause, MemoryError) or _NO_MEMORY_IN_TEXT.search(str(cause)):
            return TexthashError(
                f"there is too little memory{_place(cause)}: {str(cause) or 'an allocation failed'}.",
                "end other programs, or raise the limit (ulimit -v, that of the container); `texthash plan` estimates "
                "what each stage takes.",
            )
        if isinstance(cause, FileNotFoundError) and cause.filename is None and not _has_working_directory():
            return TexthashError("the working directory does not exist any more.", "change to another directory.")
        if isinstance(cause, OSError) and _is_of_a_path(cause):
            return TexthashError(f"a path cannot be used: {cause}.", "name another path, or make its directory.")
        if isinstance(cause, UnicodeEncodeError) and _SURROGATES.search(cause.object):
            shown = ascii(cause.object[max(0, cause.start - _AROUND) : cause.end + _AROUND])
            return TexthashError(
                f"a text or the name of a file is not UTF-8: {shown}.", "rename the file, or correct the text."
            )
        if type(cause).__module__.startswith("botocore."):  # botocore is optional, so it is not imported here.
            return _store_error(cause)
        cause = cause.__cause__ or getattr(cause, "cause", None)
    return None


def _place(error: BaseException) -> str:
    """Return the module of this package in which an error was raised, as a part of a sentence."""
    frames = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    inside = [name for name in frames if name.startswith(f"{__package__}.")]
    return f" in {inside[-1]}" if inside else ""


def _is_of_a_path(error: OSError) -> bool:
    return error.errno in _OF_PATHS or error.filename is not None


def _closed_folder(path: object) -> str | None:
    """Return the first folder on the way to a path that the user may not enter; None if there is none."""
    if not isinstance(path, str):
        return None
    for folder in reversed(Path(path).absolute().parents):
        if not os.access(folder, os.X_OK):
            return str(folder) if os.access(folder.parent, os.X_OK) and os.path.isdir(folder) else None
    return None


def _has_working_directory() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return False
    return True


def _store_error(cause: BaseException) -> TexthashError:
    """Describe an error of the client of an object store."""
    if (refusal := store_refusal(cause)) is not None:
        return StorageUnavailableError(f"the object store refuses a request: {refusal[0]}: {cause}", refusal[1])
    if refuses_credentials(cause):
        return StorageUnavailableError(
            f"the object store refuses a request, as it does when credentials have expired: {cause}",
            RENEW_CREDENTIALS,
        )
    return StorageUnavailableError(
        f"the object store cannot be used: {cause}", "set AWS_ENDPOINT_URL and the AWS_ credentials of the store."
    )


def store_refusal(error: BaseException) -> tuple[str, str] | None:
    """Return reason and remedy of a refusal by an object store, by its code; None if that names none of those known."""
    answer: dict[str, dict[str, object]] = getattr(error, "response", None) or {}
    return _REFUSALS.get(str(answer.get("Error", {}).get("Code", "")))


def refuses_credentials(error: BaseException) -> bool:
    """Return whether an object store caused an error by refusing credentials, such as expired ones.

    The answer to a request without content has the status alone. Lance and Arrow report it only in their texts.
    """
    cause: BaseException | None = error
    while cause is not None:
        answer: dict[str, dict[str, object]] = getattr(cause, "response", None) or {}
        code = str(answer.get("Error", {}).get("Code", ""))
        if code in ("400", "403") or _REFUSAL.search(f"{code} {cause}"):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def is_out_of_reach(error: BaseException) -> bool:
    """Return whether an object store caused an error by being busy, slow or out of reach, by the text of the error."""
    return _OUT_OF_REACH.search(str(error)) is not None


def out_of_space(error: BaseException) -> bool:
    """Return whether a full disk or an exhausted quota caused an error."""
    cause: BaseException | None = error
    while cause is not None:
        if _is_no_space(cause):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _said(error: Exception) -> str:
    """Return what an error says of a full disk; one that comes from a cluster has whole tracebacks in its text."""
    lines = str(error).strip().splitlines()
    if len(lines) < 2:
        return str(error)
    telling = [line for line in lines if _FULL.search(line)] or lines
    return _CLASS.sub("", telling[-1].strip())


def is_no_access(error: BaseException) -> bool:
    """Return whether an error says that a file or directory may not be read, or not be written."""
    return _number(error) in _NO_ACCESS or _READ_ONLY_IN_TEXT in str(error)


def _is_no_space(error: BaseException) -> bool:
    if isinstance(error, TexthashError):
        return False
    return _number(error) in _NO_SPACE or _NO_SPACE_IN_TEXT.search(str(error)) is not None


def _number(error: BaseException) -> int | None:
    """Return the number of an error of the operating system; None for another error."""
    if isinstance(error, TexthashError):
        return None
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    found = _IN_TEXT.search(str(error))
    return int(found[1]) if found is not None else None


def shortened(text: str, most: int = 100) -> str:
    """Return a text that was given by others, cut to a maximum length, so that what quotes it stays small."""
    return text if len(text) <= most else f"{text[:most]}… ({len(text)} characters)"


def as_sentence(text: str) -> str:
    """Return a text with a full stop, unless it ends a sentence already.

    >>> as_sentence("there is no member 'a'; did you mean 'b'?")
    "there is no member 'a'; did you mean 'b'?"
    """
    return text if text.endswith((".", "?", "!")) else f"{text}."


def plain_message(text: str) -> str:
    """Return a message of pydantic without the kind of error that it begins with.

    >>> plain_message("Value error, 'x' is not one of 'a', 'b'.")
    "'x' is not one of 'a', 'b'."
    """
    return text.replace("Value error, ", "", 1)


def nearest_name(name: str, known: Iterable[str]) -> str:
    """Return a hint such as ``did you mean 'nash'?`` or the list of known names."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return "known: " + ", ".join(names)
