"""Conditional requests to an object store that speaks S3: read an object with its ETag, and write it only over that.

``If-None-Match: *`` writes an object only if there is none, ``If-Match: <etag>`` only over the version with that ETag.
Requests are sent without the retries of the client, which hide whether an earlier attempt has arrived: after a lost
answer, the name of the attempt, which is kept with the object, says whether the object is the one that was sent.
"""

from __future__ import annotations

import os
import random
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from texthash.errors import StorageUnavailableError, TexthashError, UsageError, store_refusal
from texthash.progress import log_line

_PROTOCOLS = ("s3", "s3a")
_ATTEMPT = "attempt"
_EXPIRED = ("ExpiredToken", "TokenRefreshRequired", "RequestExpired", "ExpiredTokenException", "InvalidToken")
_REFUSED = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "403")
# The store did not do what was asked for, and says that it may be asked again.
_LATER = ("SlowDown", "503", "ServiceUnavailable", "RequestLimitExceeded", "Throttling", "ConditionalRequestConflict")
_CONFLICT, _MISSING, _SERVER_FAULT = 412, 404, 500
_patience = ContextVar("patience", default=60.0)
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.1, 8.0
_checked: set[tuple[str, str]] = set()


class UnknownOutcomeError(TexthashError):
    """Error raised when the answer to a conditional write was lost, and the object has been replaced since."""


class StoreBusyError(StorageUnavailableError):
    """Error raised when an object store has asked for less load, or has failed, for longer than one waits for it."""


class CredentialsError(StorageUnavailableError):
    """Error raised when an object store refuses the credentials, such as those that expire during a run."""


class NoBucketError(StorageUnavailableError, UsageError):
    """Error raised when there is no bucket of a name, or none any more."""


@contextmanager
def patience(seconds: float) -> Iterator[None]:
    """Give up on a store that is busy or out of reach after so long within the block, and in its threads of asyncio."""
    token = _patience.set(seconds)
    try:
        yield
    finally:
        _patience.reset(token)


def get(path: Path) -> tuple[bytes, str] | None:
    """Return the content of an object and its ETag, in one request; None if there is no such object."""
    try:
        answer = _send(path, "get_object")
    except _NotThereError:
        return None
    return answer["content"], str(answer["ETag"])


def read_object(path: Path) -> bytes:
    """Return the content of an object. In S3 it is read in one request, so that it is of one version.

    Raises:
        FileNotFoundError: There is none.
    """
    if getattr(path, "protocol", "") not in _PROTOCOLS:
        return path.read_bytes()
    found = get(path)
    if found is None:
        raise FileNotFoundError(f"{path} does not exist")
    return found[0]


def put(path: Path, content: bytes, etag: str | None) -> str | None:
    """Write an object if there is none (``etag`` is None), or over the version with an ETag.

    Returns:
        ETag of the written version; None if another version is there, or none where one is expected.

    Raises:
        UnknownOutcomeError: An answer was lost, and another version is there now.
    """
    check_conditional(path)
    return _put(path, content, etag)


def check_conditional(path: Path) -> None:
    """Check once in a process that the bucket of a path honours conditional writes.

    Raises:
        UsageError: It does not; the error names bucket and endpoint.
    """
    bucket, endpoint = _bucket_and_key(path)[0], _endpoint(path)
    if (endpoint, bucket) in _checked:
        return
    probe = path.with_name(f".probe-{uuid.uuid4().hex}")
    ignored = _ignored_condition(probe)
    _send(probe, "delete_object")
    if ignored:
        raise UsageError(
            f"the bucket {bucket} at {endpoint} has no conditional writes: {ignored}, so two processes could both "
            "become the writer of an index.",
            "use a bucket that has them, as Amazon S3 and MinIO do; or name a directory that all nodes share in "
            "TEXTHASH_HOME, and the bucket in TEXTHASH_STORE, which needs none.",
        )
    _checked.add((endpoint, bucket))


def _ignored_condition(probe: Path) -> str:
    """Return which condition the store ignores or refuses; empty if it honours both."""
    try:
        first = _put(probe, b"1", None)
        if first is None or _put(probe, b"2", None) is not None:
            return "it ignores If-None-Match"
        if _put(probe, b"3", '"00000000000000000000000000000000"') is not None:
            return "it ignores If-Match"
        if _put(probe, b"4", first) is None:
            return "it refuses If-Match with the present ETag"
    except _NotImplementedError as error:
        return f"it answers {error}"
    return ""


def _put(path: Path, content: bytes, etag: str | None) -> str | None:
    attempt, sent = uuid.uuid4().hex, [0]
    condition = {"IfNoneMatch": "*"} if etag is None else {"IfMatch": etag}
    try:
        answer = _send(path, "put_object", sent, Body=content, Metadata={_ATTEMPT: attempt}, **condition)
        return str(answer["ETag"])
    except (_ConflictError, _NotThereError):
        if sent[0] == 1:
            return None
    try:
        present = _send(path, "head_object")
    except _NotThereError:
        present = {"Metadata": {}}
    if present["Metadata"].get(_ATTEMPT) == attempt:
        return str(present["ETag"])
    raise UnknownOutcomeError(
        f"{path} has changed while the answer to a write of it was lost, so whether that write took effect is unknown.",
        "read the present state, then repeat what is missing.",
    )


class _ConflictError(Exception):
    """The condition of a request does not hold."""


class _NotThereError(Exception):
    """There is no such object."""


class _NotImplementedError(Exception):
    """The store does not know the condition."""


def _send(path: Path, method: str, uncertain: list[int] | None = None, **arguments: Any) -> dict[str, Any]:
    """Send a request, again with growing intervals while the store is busy or cannot be reached.

    Args:
        path: Path of the object.
        method: Name of the call in the client.
        uncertain: Number of attempts that may have arrived, counted into its only item.
        arguments: Further arguments of the call.
    """
    from aiohttp import ClientPayloadError
    from botocore.exceptions import (
        ClientError,
        FlexibleChecksumError,
        HTTPClientError,
        NoCredentialsError,
        TokenRetrievalError,
    )
    from botocore.exceptions import ConnectionError as NoConnectionError
    from fsspec.asyn import sync

    bucket, key = _bucket_and_key(path)
    client, wait, told = path.fs, _FIRST_WAIT_S, False  # type: ignore[attr-defined]
    seconds = _patience.get()
    deadline = time.monotonic() + seconds
    arrived = uncertain if uncertain is not None else [0]
    while True:
        arrived[0] += 1
        try:
            return dict(sync(client.loop, _call, client, bucket, method, {"Key": key, **arguments}))
        except ClientError as error:
            # The client may have repeated a request by itself, which it counts.
            arrived[0] += error.response.get("ResponseMetadata", {}).get("RetryAttempts", 0)
            # A store that asks to come later has not done what it was asked for; other faults leave that open.
            arrived[0] -= 1 if _explained(error, path) else 0
            reason = f"{_code(error)}: {error.response.get('Error', {}).get('Message', '')}"
            cause: Exception = error
        except (NoCredentialsError, TokenRetrievalError) as error:
            raise _credentials(path, str(error)) from error
        # The last two: an answer that ends too early, or is another one than was stored.
        except (HTTPClientError, NoConnectionError, OSError, ClientPayloadError, FlexibleChecksumError) as error:
            reason, cause = f"{type(error).__name__}: {error}", error
        if time.monotonic() + wait > deadline:
            raise StoreBusyError(
                f"{path}: the object store has not done what it was asked for in {seconds:g} s: {reason}",
                "run the command again later; nothing that was published is lost.",
            ) from cause
        if not told:
            log_line(f"{path}: trying again, the object store answers {reason}")
            told = True
        time.sleep(wait * random.uniform(0.5, 1.0))
        wait = min(_LONGEST_WAIT_S, 2 * wait)


async def _call(client: Any, bucket: str, method: str, arguments: dict[str, Any]) -> dict[str, Any]:
    await client.set_session()
    s3 = await client.get_s3(bucket)
    answer: dict[str, Any] = await getattr(s3, method)(Bucket=bucket, **arguments)
    if "Body" in answer:
        async with answer.pop("Body") as body:
            answer["content"] = await body.read()
    return answer


def _explained(error: Any, path: Path) -> bool:
    """Raise what an error of the store means; return True if nothing was done, False if that is unknown."""
    code, status = _code(error), error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if status == _CONFLICT or code == "PreconditionFailed":
        raise _ConflictError from error
    if code == "NoSuchBucket":
        bucket = _bucket_and_key(path)[0]
        raise NoBucketError(f"there is no bucket {bucket} at {_endpoint(path)}.", "create it, or correct the address.")
    if status == _MISSING:
        raise _NotThereError from error
    if code in ("NotImplemented", "501"):
        raise _NotImplementedError(code) from error
    if code in _EXPIRED or "expired" in str(error).lower():
        raise _credentials(path, f"{code}: they have expired") from error
    if code in _REFUSED:
        raise _credentials(path, str(error)) from error
    if (refusal := store_refusal(error)) is not None:
        problem = f"{path}: the object store refuses a request: {refusal[0]}: {error}"
        raise StorageUnavailableError(problem, refusal[1]) from error
    if code in _LATER:
        return True
    if status >= _SERVER_FAULT:
        return False
    raise StorageUnavailableError(
        f"{path}: the object store refuses a request: {error}", "see its documentation for this code, and its log."
    ) from error


def _credentials(path: Path, reason: str) -> CredentialsError:
    return CredentialsError(
        f"{path}: the object store refuses the credentials: {reason}.",
        "renew them (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, or the role of the nodes), then run "
        "the same command again: it resumes.",
    )


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _bucket_and_key(path: Path) -> tuple[str, str]:
    protocol = getattr(path, "protocol", "file")
    if protocol not in _PROTOCOLS:
        raise UsageError(
            f"{path} is in a store of the kind {protocol}, whose conditional writes are not known here.",
            "use an address s3://bucket/prefix; or name a directory in TEXTHASH_HOME, and this store in "
            "TEXTHASH_STORE.",
        )
    bucket, _, key = str(path.path).partition("/")  # type: ignore[attr-defined]
    return bucket, key


def _endpoint(path: Path) -> str:
    own = path.fs.client_kwargs.get("endpoint_url") or path.fs.endpoint_url  # type: ignore[attr-defined]
    url = own or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    return urlsplit(url).netloc if url else "Amazon S3"
