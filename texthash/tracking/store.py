"""The MLflow store: its address, a client of it in each process, and what its values look like."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote, urlsplit

from texthash.config import TrackingConfig
from texthash.errors import TexthashError
from texthash.io.atomic import exclusive
from texthash.paths import StateDir
from texthash.tracking.address import StoreAddress, full_address
from texthash.uri import scrubbed, without_secrets

if TYPE_CHECKING:
    import httpx
    from mlflow import MlflowClient


_SQLITE = "sqlite:///"
_PROBE_SECONDS = 3.0
_CANNOT_NOW = 500  # and above: statuses by which a server says that it is at fault itself


class StoreError(TexthashError):
    """The store failed, or refused what was asked of it.

    Attributes:
        code: MLflow's name of the reason, for instance ``RESOURCE_DOES_NOT_EXIST``.
    """

    def __init__(self, problem: str, remedy: str = "", code: str = "") -> None:
        super().__init__(problem, remedy)
        self.code = code


class StoreUnavailableError(StoreError):
    """The store's server does not answer, or only says that it cannot now; later it may."""


@contextmanager
def explained_store(uri: str, what: str) -> Iterator[None]:
    """Raise what MLflow raises as :class:`StoreError`, in one line that names the store and the call."""
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException

    try:
        yield
    except (MlflowException, RequestException) as error:
        kind = StoreUnavailableError if _is_away(error) else StoreError
        raise kind(
            f"the MLflow store {without_secrets(uri)} failed in {what}: {_first_line(error, uri)}",
            "see that it is the right one (tracking.uri), runs, and has room and access; then run the command again.",
            getattr(error, "error_code", ""),
        ) from error


def _first_line(error: BaseException, uri: str) -> str:
    """Return the first line of what an error says, which may repeat the address of the store."""
    return scrubbed(str(error).splitlines()[0].strip(), full_address(uri))


def _is_away(error: BaseException) -> bool:
    """Whether a server was not reached, or answered that it cannot now, behind what MLflow made of it."""
    import httpx
    from requests.exceptions import ConnectionError as NotConnected
    from requests.exceptions import RetryError, Timeout

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, NotConnected | RetryError | Timeout | httpx.TransportError):
            return True
        answer = getattr(cause, "response", None)
        if answer is not None and answer.status_code >= _CANNOT_NOW:
            return True
        cause = cause.__cause__ or cause.__context__
    return False


class _Client:
    """MLflow's client, whose errors are a :class:`StoreError`."""

    def __init__(self, client: MlflowClient, uri: str) -> None:
        self._wrapped, self._uri = client, uri

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._wrapped, name)

        @wraps(call)
        def explained_call(*arguments: Any, **keywords: Any) -> Any:
            with explained_store(self._uri, name):
                return call(*arguments, **keywords)

        return explained_call


def client_of(uri: str) -> MlflowClient:
    """A client of a store; one in each process. Its methods raise :class:`StoreError`."""
    return _client_of(uri, full_address(uri))


@cache
def _client_of(uri: str, full: str) -> MlflowClient:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    from mlflow import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # what it logs as an error it also raises
    with explained_store(uri, "connecting"), _alone_in(uri):
        client = MlflowClient(tracking_uri=full, registry_uri=full)
        if uri.startswith(_SQLITE):  # each of these makes its part of the schema where it is missing
            client.search_experiments(max_results=1)
            client.search_registered_models(max_results=1)
        return cast("MlflowClient", _Client(client, uri))


@contextmanager
def _alone_in(uri: str) -> Iterator[None]:
    """Hold a SQLite store: of two processes that make its schema at once one would fail. A server makes its own."""
    path = Path(uri.removeprefix(_SQLITE))
    if not uri.startswith(_SQLITE) or not path.parent.is_dir():
        yield
        return
    with exclusive(path.with_name(f".{path.name}.lock")):
        yield


def check_store(config: TrackingConfig, home: StateDir) -> str:
    """The address of the store, after one call to it; a program asks before hours of work.

    Raises:
        StoreUnavailableError: its server does not answer.
        StoreError: it cannot be used.
    """
    import httpx
    from sqlalchemy.exc import SQLAlchemyError

    uri = address_of(config, home)
    home.make()
    try:
        if uri.startswith("http"):
            _probe(uri, 10).raise_for_status()
        client_of(uri).search_experiments(max_results=1)
    except (StoreError, SQLAlchemyError, httpx.HTTPError, OSError, ImportError) as error:
        reason = (error.__cause__ or error) if isinstance(error, StoreError) else error
        kind = StoreUnavailableError if uri.startswith("http") and _is_away(error) else StoreError
        raise kind(
            f"the MLflow store {uri} cannot be used: {_first_line(reason, uri)}",
            _store_remedy(uri),
        ) from error
    return uri


def _store_remedy(uri: str) -> str:
    """Return what helps where a store cannot be used; only one that is reached over HTTP has a server to start."""
    if uri.startswith("http"):
        return "start the server, or correct tracking.uri (null keeps runs in SQLite under TEXTHASH_HOME)."
    return (
        "run the command again if another process was creating the store just now; else see that its directory is "
        "writable and has room, or correct tracking.uri (null keeps runs in SQLite under TEXTHASH_HOME)."
    )


def answers(uri: str) -> bool:
    """Whether the server of a store can be reached now; any other store is taken to be there."""
    import httpx

    if not uri.startswith("http"):
        return True
    try:
        return _probe(uri, _PROBE_SECONDS).status_code < _CANNOT_NOW
    except httpx.HTTPError:
        return False


def _probe(uri: str, seconds: float) -> httpx.Response:
    """Ask a server how it is; the password goes into a header, since the client logs addresses."""
    import httpx

    login, _, _ = urlsplit(full_address(uri)).netloc.rpartition("@")
    user, _, password = login.partition(":")
    auth = (unquote(user), unquote(password)) if login else None
    parts = urlsplit(uri)
    plain = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return httpx.get(plain.rstrip("/") + "/health", timeout=seconds, auth=auth)


def address_of(config: TrackingConfig, home: StateDir) -> StoreAddress:
    """Of the store that a configuration names, the same for every process."""
    return StoreAddress(full_address(_absolute(config.uri or home.tracking_uri)))


def as_text(value: Any) -> str:
    """A value of a parameter or tag: a string as it is, all else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _absolute(uri: str) -> str:
    """The same address for every process, whatever its working directory."""
    if uri.startswith(_SQLITE):
        return _SQLITE + str(Path(uri.removeprefix(_SQLITE)).expanduser().absolute())
    if "://" not in uri:
        return f"{_SQLITE}{Path(uri).expanduser().absolute()}" if uri.endswith(".db") else Path(uri).absolute().as_uri()
    return uri
