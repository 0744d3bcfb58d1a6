"""Entries of a run's log, as plain values that can be stored in a file, and the MLflow calls that send them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import texthash
from texthash.tracking import pyfunc_model
from texthash.tracking.failures import StoreError, StoreUnavailableError
from texthash.uri import local_path_of

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel

# Name of the operation (``op``), and its arguments.
Entry = dict[str, Any]

_AT_ONCE = {"metrics": 1000, "params": 100, "tags": 100}
_PARAM_LENGTH = 6000
_ATTEMPTS = 3
_REQUIRED = ("torch", "numpy", "scipy", "scikit-learn", "nltk", "numba", "pyarrow", "pydantic", "safetensors")


def deliver(client: MlflowClient, run_id: str, entry: Entry) -> str | None:
    """Log one entry to a run of the store.

    Returns:
        The model's id in the store for the entry of a model, else None.

    Raises:
        StoreUnavailableError: The server does not answer; the entry is not logged, or only in part: log it again.
        StoreError: The store rejects the entry.
    """
    log: Callable[..., str | None] = _OPERATIONS[entry["op"]]
    return log(client, run_id, **{name: value for name, value in entry.items() if name != "op"})


def _metrics(
    client: MlflowClient, run_id: str, *, values: dict[str, float], time: int, step: int, model: str | None
) -> None:
    from mlflow.entities import Metric

    found = [Metric(name, value, time, step, model_id=model) for name, value in values.items()]
    for part in _parts(found, "metrics"):
        client.log_batch(run_id, metrics=part)


def _params(client: MlflowClient, run_id: str, *, values: dict[str, str]) -> None:
    from mlflow.entities import Param

    for part in _parts([Param(name, value[:_PARAM_LENGTH]) for name, value in values.items()], "params"):
        client.log_batch(run_id, params=part)


def _tags(client: MlflowClient, run_id: str, *, values: dict[str, str]) -> None:
    from mlflow.entities import RunTag

    for part in _parts([RunTag(name, value) for name, value in values.items()], "tags"):
        client.log_batch(run_id, tags=part)


def _dataset(
    client: MlflowClient, run_id: str, *, name: str, digest: str, source: str, profile: str, contexts: list[str]
) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    data = Dataset(name, digest, "local", source, None, profile)
    inputs = [DatasetInput(data, [InputTag("mlflow.data.context", context)]) for context in contexts]
    for left in reversed(range(_ATTEMPTS)):
        try:
            client.log_inputs(run_id, inputs)
            return
        except StoreError as error:
            # The store checks for the data set before it adds it; another process may have added it in between.
            if not left or "IntegrityError" not in error.problem:
                raise


def _artifact(client: MlflowClient, run_id: str, *, path: str, folder: str | None) -> None:
    if Path(path).is_dir():
        client.log_artifacts(run_id, path, folder)
    else:
        client.log_artifact(run_id, path, folder)


def _status(client: MlflowClient, run_id: str, *, status: str, time: int) -> None:
    if status == "RUNNING":
        client.update_run(run_id, status=status)
    else:
        client.set_terminated(run_id, status, time)


def _model(client: MlflowClient, run_id: str, *, directory: str, name: str, example: Sequence[str]) -> str:
    """Log a saved hasher as a model from raw text to codes as hexadecimal strings; return the model's id."""
    import pandas as pd
    from mlflow import pyfunc
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    experiment = client.get_run(run_id).info.experiment_id
    model = client.create_logged_model(experiment, name, source_run_id=run_id)
    column = Schema([ColSpec(DataType.string)])
    try:
        with tempfile.TemporaryDirectory(prefix="texthash-model-") as scratch:
            local = Path(scratch) / "model"
            pyfunc.save_model(
                local,
                loader_module=pyfunc_model.__name__,
                data_path=directory,
                code_paths=[str(Path(texthash.__file__).parent)],
                signature=ModelSignature(inputs=column, outputs=column),
                input_example=pd.DataFrame({"text": list(example)}),
                pip_requirements=[f"{package}=={version(package)}" for package in _REQUIRED],
                mlflow_model=Model(artifact_path=model.artifact_location, model_uuid=model.model_id, run_id=run_id),
            )
            client.log_model_artifacts(model.model_id, str(local))
    except StoreUnavailableError:  # it would be waited for again; the entry is sent later
        raise
    except BaseException:
        _discard(client, model)
        raise
    client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    identity: str = model.model_id
    return identity


def _discard(client: MlflowClient, model: LoggedModel) -> None:
    """Remove what is left of a model that could not be logged, so that failed attempts do not fill the disk.

    Files behind a server are left to it. The store may have failed too, which is not raised, since the first error is.
    """
    folder = local_path_of(model.artifact_location)
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):
            folder.parent.rmdir()
    with suppress(StoreError):
        client.delete_logged_model(model.model_id)


_OPERATIONS: dict[str, Callable[..., str | None]] = {
    "metrics": _metrics,
    "params": _params,
    "tags": _tags,
    "dataset": _dataset,
    "artifact": _artifact,
    "status": _status,
    "model": _model,
}


def _parts(values: list[Any], kind: str) -> list[list[Any]]:
    size = _AT_ONCE[kind]
    return [values[start : start + size] for start in range(0, len(values), size)]
