"""A tracking store whose schema is made once: state directories of tests that have no store begin with a copy of it.

MLflow brings an empty database to its present schema through all its former ones, which takes over a second each time.
Programs that tests start make theirs themselves.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from texthash.io.atomic import exclusive
from texthash.tracking import store

if TYPE_CHECKING:
    from mlflow import MlflowClient

_SQLITE = "sqlite:///"


@pytest.fixture(scope="session", autouse=True)
def prepared_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Copies an empty store to where this process would make one; workers beside each other share it."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    connect = store._client_of

    def prepared() -> Path:
        made = shared / "prepared-mlflow.db"
        with exclusive(shared / ".prepared-mlflow.lock"):
            if not made.exists():
                partial = made.with_suffix(".partial")
                connect(f"{_SQLITE}{partial}", f"{_SQLITE}{partial}")
                partial.rename(made)
        return made

    def connect_to_copy(uri: str, full: str) -> MlflowClient:
        path = Path(uri.removeprefix(_SQLITE))
        if uri.startswith(_SQLITE) and path.parent.is_dir() and not path.exists():
            with tempfile.TemporaryDirectory(dir=shared) as scratch, suppress(FileExistsError):
                copy = shutil.copyfile(prepared(), Path(scratch) / "store")
                os.link(copy, path)  # whole at once, and never in place of one that another process has made
        return connect(uri, full)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "_client_of", connect_to_copy)
        yield
