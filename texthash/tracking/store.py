"""The MLflow store: its address, a client of it in each process, and what its values look like."""

from __future__ import annotations

import json
import logging
import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from texthash.config import TrackingConfig
from texthash.errors import TexthashError
from texthash.home import Home

if TYPE_CHECKING:
    from mlflow import MlflowClient


@cache
def client_of(uri: str) -> MlflowClient:
    """A client of a store; one in each process."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    from mlflow import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def check_store(config: TrackingConfig, home: Home) -> str:
    """The address of the store, after one call to it; a program asks before hours of work.

    Raises:
        TexthashError: the store cannot be reached or used.
    """
    import httpx
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    uri = _absolute(config.uri or home.tracking_uri)
    home.root.mkdir(parents=True, exist_ok=True)
    try:
        if uri.startswith("http"):
            httpx.get(uri.rstrip("/") + "/health", timeout=10).raise_for_status()
        client_of(uri).search_experiments(max_results=1)
    except (MlflowException, SQLAlchemyError, httpx.HTTPError, OSError) as error:
        raise TexthashError(
            f"the MLflow store {uri} cannot be used: {error}".splitlines()[0],
            "start the server, or correct tracking.uri (null keeps runs in SQLite under TEXTHASH_HOME).",
        ) from error
    return uri


def as_text(value: Any) -> str:
    """A value of a parameter or tag: a string as it is, all else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _absolute(uri: str) -> str:
    """The same address for every process, whatever its working directory."""
    prefix = "sqlite:///"
    if uri.startswith(prefix):
        return prefix + str(Path(uri.removeprefix(prefix)).expanduser().absolute())
    if "://" not in uri:
        return f"{prefix}{Path(uri).expanduser().absolute()}" if uri.endswith(".db") else Path(uri).absolute().as_uri()
    return uri
