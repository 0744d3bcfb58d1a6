"""Failures of the MLflow store: their kinds, causes and remedies."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from texthash.errors import TexthashError
from texthash.tracking.address import full_address
from texthash.uri import scrubbed, without_secrets

_NO_SPACE = re.compile("database or disk is full|No space left on device|Disk quota exceeded")
_ASIDE = "(raised as a result of"  # a line that SQLAlchemy puts before the cause
SERVER_ERROR = 500  # statuses from here on report an error of the server
_BUSY = (408, 429)
_DENIED = (401, 403, 407)
_DENIED_CODES = ("UNAUTHENTICATED", "PERMISSION_DENIED")
_TOO_LARGE = "failed with error code 413 "
_LONGEST = 500  # characters of a cause
# MLflow's client says so of an answer that is none of MLflow's; the page itself follows.
_NOT_MLFLOW = re.compile(r"(API request to endpoint .*?)\. Response body: ", re.DOTALL)
CREDENTIALS = (
    "correct the user of tracking.uri and TEXTHASH_TRACKING_PASSWORD (or MLFLOW_TRACKING_USERNAME and "
    "MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN), or let the user write in MLflow"
)


class StoreError(TexthashError):
    """Failure of the store, or a request that it rejected.

    Attributes:
        code: MLflow's error code, for instance ``RESOURCE_DOES_NOT_EXIST``.
    """

    def __init__(self, problem: str, remedy: str = "", code: str = "") -> None:
        super().__init__(problem, remedy)
        self.code = code


class StoreUnavailableError(StoreError):
    """Temporary failure, after which a call can be repeated.

    The store's server does not answer, or answers with a server error or by refusing the credentials; or something else
    answers in its place, such as the sign-in page of a proxy.
    """


class StoreFullError(StoreError):
    """Temporary failure: the disk of the store, or of its artifacts, is full."""


@contextmanager
def store_errors(uri: str, what: str) -> Iterator[None]:
    """Convert MLflow's exceptions to :class:`StoreError`, with one line that names the store and the call."""
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException

    try:
        yield
    except (MlflowException, RequestException) as error:
        temporary = is_unavailable(error) or (uri.startswith("http") and is_no_verdict(error))
        kind: type[StoreError] = StoreUnavailableError if temporary else StoreError
        why = first_line(error, uri)
        remedy = "check that tracking.uri is right, that the store runs, and that it has disk space and write access"
        if _NO_SPACE.search(str(error)):  # the cause is in the middle of a long text, and known by nothing else
            kind, why = StoreFullError, f"the disk is full: {why}"
            remedy = "make room on the disk of the store, or of its artifacts"
        elif is_denied(error):
            why, remedy = f"the server refuses the credentials: {why}", CREDENTIALS
        raise kind(
            f"the MLflow store {without_secrets(uri)} failed in {what}: {why}",
            f"{remedy}; then run the command again.",
            getattr(error, "error_code", ""),
        ) from error


def first_line(error: BaseException, uri: str) -> str:
    """Return the first line of an error's message that names the cause, without the secrets of the store's address."""
    text = _NOT_MLFLOW.sub(r"\1, and the body is not one of MLflow\n", str(error))
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [type(error).__name__]
    found = scrubbed(next((line for line in lines if not line.startswith(_ASIDE)), lines[0]), full_address(uri))
    return found if len(found) <= _LONGEST else f"{found[:_LONGEST]}…"


def is_unavailable(error: BaseException) -> bool:
    """Return True if the cause of an error is an unreachable server or a server error."""
    import httpx
    from requests.exceptions import ChunkedEncodingError, RetryError, Timeout
    from requests.exceptions import ConnectionError as NotConnected

    kinds = (NotConnected, ChunkedEncodingError, RetryError, Timeout, httpx.TransportError)
    return any(
        isinstance(cause, kinds) or (status := _status(cause)) >= SERVER_ERROR or status in _BUSY
        for cause in _causes(error)
    )


def is_no_verdict(error: BaseException) -> bool:
    """Return True if the answer of a server says nothing about the call: who answers is not MLflow, or refuses us.

    A body that is too large for a proxy is a verdict, since it will be too large again.
    """
    from requests.exceptions import TooManyRedirects

    foreign = _NOT_MLFLOW.match(str(error)) is not None and _TOO_LARGE not in str(error)
    return foreign or is_denied(error) or any(isinstance(cause, TooManyRedirects) for cause in _causes(error))


def is_denied(error: BaseException) -> bool:
    """Return True if a server refuses the credentials."""
    code = getattr(error, "error_code", getattr(error, "code", ""))
    return code in _DENIED_CODES or any(_status(cause) in _DENIED for cause in _causes(error))


def _status(error: BaseException) -> int:
    """Return the HTTP status of the answer that an error is about; 0 without one."""
    return int(getattr(getattr(error, "response", None), "status_code", 0))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and the chain of its causes."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
