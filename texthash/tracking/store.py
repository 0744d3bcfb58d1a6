"""The MLflow store: its address, one client per process, and the form of its values."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
from functools import cache, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote, urlsplit

from texthash.config import TrackingConfig
from texthash.environment import wrong_variable
from texthash.errors import is_no_access
from texthash.paths import StateDir
from texthash.tracking.address import StoreAddress, full_address
from texthash.tracking.failures import (
    CREDENTIALS,
    SERVER_ERROR,
    StoreError,
    StoreUnavailableError,
    first_line,
    is_denied,
    is_no_verdict,
    is_unavailable,
    store_errors,
)
from texthash.tracking.moved import adopt_artifacts
from texthash.tracking.schema import SQLITE, check_writable, ensure_schema, schema_lock

if TYPE_CHECKING:
    import httpx
    from mlflow import MlflowClient


_PROBE_SECONDS = 3.0
_SEARCH = "/api/2.0/mlflow/experiments/search"


class _Client:
    """MLflow's client with errors converted to :class:`StoreError`."""

    def __init__(self, client: MlflowClient, uri: str) -> None:
        self._wrapped, self._uri = client, uri

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._wrapped, name)

        @wraps(call)
        def explained_call(*arguments: Any, **keywords: Any) -> Any:
            with store_errors(self._uri, name):
                return call(*arguments, **keywords)

        return explained_call


def client_of(uri: str) -> MlflowClient:
    """Return the client of a store, one per process. Its methods raise :class:`StoreError`."""
    return _client_of(uri, full_address(uri))


def _check_variables() -> None:
    """Check the variables of MLflow that are set, which it would read only in the middle of its calls.

    Raises:
        UsageError: One has a value that MLflow cannot read.
    """
    from mlflow import environment_variables

    for variable in vars(environment_variables).values():
        name = getattr(variable, "name", None)
        if not isinstance(name, str) or name not in os.environ or not hasattr(variable, "get"):
            continue
        try:
            variable.get()
        except ValueError as error:
            raise wrong_variable(name, os.environ[name], "give a value that MLflow's documentation names") from error


@cache
def _client_of(uri: str, full: str) -> MlflowClient:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    _check_variables()
    from mlflow import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # it logs and raises the same errors

    def connect(address: str) -> MlflowClient:
        client = MlflowClient(tracking_uri=address, registry_uri=address)
        if uri.startswith(SQLITE):  # each of these calls creates its part of a missing schema
            client.search_experiments(max_results=1)
            client.search_registered_models(max_results=1)
        return client

    with store_errors(uri, "connecting"), schema_lock(uri):
        ensure_schema(uri, connect)
        return cast("MlflowClient", _Client(connect(full), uri))


def check_store(config: TrackingConfig, home: StateDir, *, written: bool = True) -> str:
    """Return the address of the store after a test call, so that a program fails before hours of work.

    Args:
        config: Configuration of the store.
        home: State directory.
        written: Whether the program writes to the store, which then has to be writable.

    Raises:
        StoreUnavailableError: The store's server does not answer.
        StoreError: The store cannot be used.
    """
    import httpx
    from sqlalchemy.exc import SQLAlchemyError

    uri = address_of(config, home)
    home.make()
    try:
        if uri.startswith("http"):
            _probe(uri, 10).raise_for_status()
        elif uri == home.tracking_uri:
            adopt_artifacts(uri, home.artifacts)
        if written:
            check_writable(uri)
        client_of(uri).search_experiments(max_results=1)
    except (StoreError, SQLAlchemyError, sqlite3.Error, httpx.HTTPError, OSError, ImportError) as error:
        reason = (error.__cause__ or error) if isinstance(error, StoreError) else error
        kind = StoreUnavailableError if uri.startswith("http") and is_unavailable(error) else StoreError
        raise kind(
            f"the MLflow store {uri} cannot be used: {first_line(reason, uri)}",
            _store_remedy(uri, reason),
        ) from error
    return uri


def _store_remedy(uri: str, reason: BaseException) -> str:
    """Return the remedy for a store that cannot be used; only one that is reached over HTTP has a server to start."""
    if is_no_access(reason):
        return (
            "grant access to the file of the store and to its directory, or set TEXTHASH_HOME to a directory that can "
            "be written, or tracking.uri to another store."
        )
    if is_denied(reason):
        return f"{CREDENTIALS}."
    if uri.startswith("http") and is_no_verdict(reason):
        return (
            "correct tracking.uri: what answers there is not an MLflow server, but perhaps the sign-in page of a "
            "proxy, or another path (null keeps runs in SQLite under TEXTHASH_HOME)."
        )
    if uri.startswith("http"):
        return "start the server, or correct tracking.uri (null keeps runs in SQLite under TEXTHASH_HOME)."
    return (
        "run the command again if another process was creating the store just now; else check that its directory is "
        "writable and its disk is not full, or correct tracking.uri (null keeps runs in SQLite under TEXTHASH_HOME)."
    )


def server_responds(uri: str) -> bool:
    """Return True if the server of a store takes calls now; a store without a server always counts as available.

    Its health says little: a proxy may answer in its place, or the database behind it hang.
    """
    import httpx
    from mlflow.exceptions import MlflowException
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request, verify_rest_response

    if not uri.startswith("http"):
        return True
    try:
        if _probe(uri, _PROBE_SECONDS).status_code >= SERVER_ERROR:
            return False
        login, once = get_default_host_creds(full_address(uri)), {"max_retries": 0, "timeout": _PROBE_SECONDS}
        answer = http_request(login, _SEARCH, "POST", json={"max_results": 1}, **once)
        verify_rest_response(answer, _SEARCH)
    except (httpx.HTTPError, MlflowException):
        return False
    return True


def _probe(uri: str, seconds: float) -> httpx.Response:
    """Request a server's health; the password goes into a header, because the HTTP client logs URLs."""
    import httpx

    login, _, _ = urlsplit(full_address(uri)).netloc.rpartition("@")
    user, _, password = login.partition(":")
    auth = (unquote(user), unquote(password)) if login else None
    parts = urlsplit(uri)
    plain = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return httpx.get(plain.rstrip("/") + "/health", timeout=seconds, auth=auth)


def address_of(config: TrackingConfig, home: StateDir) -> StoreAddress:
    """Return the address of the configured store, absolute, so that it is the same in every process."""
    return StoreAddress(full_address(_absolute(config.uri or home.tracking_uri)))


def as_text(value: Any) -> str:
    """Return the text of a parameter or tag: a string unchanged, any other value as JSON."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _absolute(uri: str) -> str:
    """Return an address that does not depend on the working directory."""
    if uri.startswith(SQLITE):
        return SQLITE + str(Path(uri.removeprefix(SQLITE)).expanduser().absolute())
    if "://" not in uri:
        return f"{SQLITE}{Path(uri).expanduser().absolute()}" if uri.endswith(".db") else Path(uri).absolute().as_uri()
    return uri
