"""Runs, metrics, models and their registry in MLflow; the only module that knows MLflow.

Every call names its run by id and its store by address: no global state, so that several processes (trials, training
workers) write to one store. Objects here travel to other processes; each opens a client of its own.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

import texthash
from texthash.config import TrackingConfig
from texthash.corpora.dataset import PreparedCorpus
from texthash.errors import TexthashError
from texthash.home import Home

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.figure import Figure
    from mlflow import MlflowClient

    from texthash.training.loop import EpochReport

Status = Literal["FINISHED", "FAILED", "KILLED"]
CHAMPION = "champion"
COMMIT_VARIABLE = "TEXTHASH_COMMIT"
_VERSIONED = ("texthash", "torch", "numpy", "ray", "mlflow", "scikit-learn", "pyarrow")
_REQUIRED = ("torch", "numpy", "scipy", "scikit-learn", "nltk", "numba", "pyarrow", "pydantic", "safetensors")
_PARAMS_AT_ONCE, _PARAM_LENGTH, _METRICS_AT_ONCE = 100, 6000, 1000


@cache
def _client(uri: str) -> MlflowClient:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    from mlflow import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


@dataclass(frozen=True)
class Run:
    """One run, known by its id. As a context manager it ends as FINISHED, or as FAILED with the reason.

    Attributes:
        uri: Of the tracking store.
        run_id: Of the run.
        validation: Name under which an epoch's validation figure is logged, for instance ``val/p_at_100``.
    """

    uri: str
    run_id: str
    validation: str = "val/score"

    @property
    def _client(self) -> MlflowClient:
        return _client(self.uri)

    def metrics(self, values: Mapping[str, float], step: int = 0, model_id: str | None = None) -> None:
        """Log figures by name; with ``model_id`` they are linked to a logged model too."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        found = [Metric(name, float(value), now, step, model_id=model_id) for name, value in values.items()]
        for start in range(0, len(found), _METRICS_AT_ONCE):
            self._client.log_batch(self.run_id, metrics=found[start : start + _METRICS_AT_ONCE])

    def epoch(self, report: EpochReport) -> None:
        """Log what one epoch did: the terms of the loss, their sum, speed and the validation figure."""
        values = {f"train/{name}": value for name, value in report.terms.items()}
        if report.terms:
            values["train/loss"] = sum(report.terms.values())
        values["train/seconds_per_epoch"] = report.seconds
        values["train/documents_per_second"] = report.documents_per_second
        if report.validation is not None:
            values[self.validation] = report.validation
        self.metrics(values, step=report.number)

    def params(self, values: Mapping[str, Any]) -> None:
        """Log parameters; a value may be logged once only."""
        from mlflow.entities import Param

        found = [Param(name, _text(value)[:_PARAM_LENGTH]) for name, value in values.items()]
        for start in range(0, len(found), _PARAMS_AT_ONCE):
            self._client.log_batch(self.run_id, params=found[start : start + _PARAMS_AT_ONCE])

    def tags(self, values: Mapping[str, Any]) -> None:
        from mlflow.entities import RunTag

        self._client.log_batch(self.run_id, tags=[RunTag(name, _text(value)) for name, value in values.items()])

    def dataset(self, corpus: PreparedCorpus, contexts: Iterable[str] = ("train", "validation")) -> None:
        """Name the data that the run uses, with a digest of what it was made from."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        manifest = corpus.manifest
        profile = json.dumps({"documents": manifest.documents, "labels": len(manifest.label_names)})
        data = Dataset(
            f"{manifest.name}-{manifest.edition}", data_digest(corpus), "local", str(corpus.path), None, profile
        )
        inputs = [DatasetInput(data, [InputTag("mlflow.data.context", context)]) for context in contexts]
        self._client.log_inputs(self.run_id, inputs)

    def artifact(self, path: str | Path, folder: str | None = None) -> None:
        """Keep a file, or a directory with all it holds, with the run."""
        if Path(path).is_dir():
            self._client.log_artifacts(self.run_id, str(path), folder)
        else:
            self._client.log_artifact(self.run_id, str(path), folder)

    def text(self, content: str, name: str) -> None:
        self._client.log_text(self.run_id, content, name)

    def figure(self, figure: Figure, name: str) -> None:
        """Keep a matplotlib figure, for instance under ``plots/pr_curve.png``."""
        self._client.log_figure(self.run_id, figure, name)

    def end(self, status: Status = "FINISHED", reason: str | None = None) -> None:
        if reason:
            self.tags({"status_reason": reason[:5000]})
        self._client.set_terminated(self.run_id, status)

    @property
    def status(self) -> str:
        found: str = self._client.get_run(self.run_id).info.status
        return found

    def read_tags(self) -> dict[str, str]:
        found: dict[str, str] = self._client.get_run(self.run_id).data.tags
        return found

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.end()
        elif isinstance(error, Exception):
            self.end("FAILED", f"{type(error).__name__}: {error}")
        else:
            self.end("KILLED", type(error).__name__)


class Tracker:
    """The tracking store of one experiment.

    Args:
        config: Address of the store, and the experiment's name where it is not the corpus' own.
        home: Where store and artifacts are kept by default.
        experiment: Name used unless the configuration has one.

    Raises:
        TexthashError: the store cannot be reached.
    """

    def __init__(self, config: TrackingConfig, home: Home, experiment: str = "texthash") -> None:
        self.uri = check_store(config, home)
        self.experiment = config.experiment or experiment
        self._artifacts = home.artifacts
        self._models = home.root / "models"
        self.experiment_id = self._experiment_id()

    @property
    def _client(self) -> MlflowClient:
        return _client(self.uri)

    def _experiment_id(self) -> str:
        from mlflow.exceptions import MlflowException

        found = self._client.get_experiment_by_name(self.experiment)
        if found is None:
            # The default place is relative to the working directory, which in a Ray job is a throw-away copy.
            place = None if self.uri.startswith("http") else (self._artifacts / self.experiment).as_uri()
            try:
                return self._client.create_experiment(self.experiment, artifact_location=place)
            except MlflowException:  # another process was faster
                found = self._client.get_experiment_by_name(self.experiment)
                if found is None:
                    raise
        if found.lifecycle_stage != "active":
            raise TexthashError(
                f"the experiment {self.experiment!r} is deleted in {self.uri}.",
                f"restore it (mlflow experiments restore -x {found.experiment_id}) or set tracking.experiment.",
            )
        identity: str = found.experiment_id
        return identity

    # -- runs -------------------------------------------------------------------------------------------------

    def start(
        self,
        name: str,
        *,
        parent: Run | None = None,
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, Any] | None = None,
        note: str = "",
        key: str | None = None,
        validation: str = "val/score",
    ) -> Run:
        """Start a run.

        Args:
            name: Shown in the list of runs.
            parent: The run that this one belongs to.
            params: The resolved configuration, flat, by dotted names.
            tags: Beside those that every run gets (commit, versions, host).
            note: Readable summary, shown at the top of the run's page.
            key: A name of your own by which :meth:`find` finds the run again.
            validation: Name of the validation figure.
        """
        merged = {**environment_tags(), **(tags or {}), "mlflow.runName": name}
        if parent:
            merged["mlflow.parentRunId"] = parent.run_id
        if note:
            merged["mlflow.note.content"] = note
        if key:
            merged["texthash.key"] = key
        created = self._client.create_run(
            self.experiment_id, tags={k: _text(v) for k, v in merged.items()}, run_name=name
        )
        run = Run(self.uri, created.info.run_id, validation)
        run.params(params or {})
        return run

    def find(self, key: str, validation: str = "val/score") -> Run | None:
        """The run that was started with this key, taken up again; None if there is none."""
        runs = self._client.search_runs(
            [self.experiment_id], f"tags.`texthash.key` = '{key}'", max_results=1, order_by=["start_time DESC"]
        )
        if not runs:
            return None
        return self.take_up(runs[0].info.run_id, validation)

    def take_up(self, run_id: str, validation: str = "val/score") -> Run:
        """Go on with a run that has ended, or whose program died."""
        self._client.update_run(run_id, status="RUNNING")
        return Run(self.uri, run_id, validation)

    # -- models -----------------------------------------------------------------------------------------------

    def log_model(self, directory: str | Path, run: Run, name: str, example: Sequence[str]) -> str:
        """Log a saved hasher as a model that takes raw text and gives codes as hexadecimal strings.

        Returns:
            The model's id, by which metrics are linked to it and :meth:`register` finds it.
        """
        import pandas as pd
        from mlflow import pyfunc
        from mlflow.entities import LoggedModelOutput, LoggedModelStatus
        from mlflow.models import Model, ModelSignature
        from mlflow.types import ColSpec, DataType, Schema

        model = self._client.create_logged_model(self.experiment_id, name, source_run_id=run.run_id)
        column = Schema([ColSpec(DataType.string)])
        with tempfile.TemporaryDirectory(prefix="texthash-model-") as scratch:
            place = Path(scratch) / "model"
            pyfunc.save_model(
                place,
                loader_module=__name__,
                data_path=str(directory),
                code_paths=[str(Path(texthash.__file__).parent)],
                signature=ModelSignature(inputs=column, outputs=column),
                input_example=pd.DataFrame({"text": list(example)}),
                pip_requirements=[f"{package}=={version(package)}" for package in _REQUIRED],
                mlflow_model=Model(artifact_path=model.artifact_location, model_uuid=model.model_id, run_id=run.run_id),
            )
            self._client.log_model_artifacts(model.model_id, str(place))
        self._client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
        self._client.log_outputs(run.run_id, [LoggedModelOutput(model.model_id, step=0)])
        identity: str = model.model_id
        return identity

    def register(self, name: str, model_id: str, run: Run, *, score: float | None, data: str, note: str = "") -> str:
        """Make a logged model a version of a registered one.

        Args:
            name: Of the registered model; only models of one corpus, edition and width share it.
            model_id: From :meth:`log_model`.
            run: The run that made it.
            score: Its validation figure, by which :meth:`is_better` compares; None where there is none.
            data: Digest of the data that the figure was taken on (:func:`data_digest`).
            note: Description of the version.
        """
        from mlflow.exceptions import MlflowException

        # A local registry looks models:/<id> up in the store that is set globally, which we leave alone.
        remote = self.uri.startswith("http")
        source = f"models:/{model_id}" if remote else self._client.get_logged_model(model_id).artifact_location
        try:
            self._client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        made = self._client.create_model_version(
            name,
            source=source,
            run_id=run.run_id,
            tags={"validation_metric": run.validation, "validation_score": _text(score), "data_digest": data},
            description=note or None,
            model_id=model_id,
        )
        return str(made.version)

    def is_better(self, name: str, candidate: str) -> tuple[bool, str]:
        """Whether a version beats the champion on validation, and why or why not in one sentence."""
        new = self._client.get_model_version(name, candidate)
        old = self._version(name)
        if old is None:
            return True, f"{name} had no champion"
        for tag in ("validation_metric", "data_digest"):
            if old.tags.get(tag) != new.tags.get(tag):
                return False, (
                    f"version {old.version}, the champion, has another {tag} ({old.tags.get(tag)}) than version "
                    f"{candidate} ({new.tags.get(tag)}): not comparable; promote it with tracking.promote=always"
                )
        scores = [json.loads(model.tags["validation_score"]) for model in (new, old)]
        if None in scores:
            return True, f"version {candidate} replaces version {old.version}: there are no figures to compare"
        ours, theirs = scores
        verdict = "beats" if ours > theirs else "does not beat"
        return ours > theirs, (
            f"version {candidate} with {new.tags['validation_metric']} {ours:.4f} {verdict} the champion, "
            f"version {old.version}, with {theirs:.4f}"
        )

    def promote(self, name: str, candidate: str) -> None:
        """Move the alias ``champion`` to a version."""
        self._client.set_registered_model_alias(name, CHAMPION, candidate)

    def champion(self, name: str) -> tuple[Path, str]:
        """The champion's saved hasher as a local directory, and its version.

        Raises:
            TexthashError: there is no such model, or it has no champion.
        """
        found = self._version(name)
        if found is None:
            raise TexthashError(
                f"{name} has no champion in {self.uri}.", "train and promote one: pipelines/full.py, `texthash train`."
            )
        return self._local(name, str(found.version)), str(found.version)

    def _version(self, name: str) -> Any:
        from mlflow.exceptions import MlflowException

        try:
            return self._client.get_model_version_by_alias(name, CHAMPION)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise

    def _local(self, name: str, candidate: str) -> Path:
        """A local copy of a version's hasher, made once."""
        from mlflow.artifacts import download_artifacts
        from mlflow.models import Model

        place = self._models / name / candidate
        if not place.is_dir():
            place.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".partial-", dir=place.parent) as scratch:
                model = download_artifacts(
                    artifact_uri=self._client.get_model_version_download_uri(name, candidate),
                    dst_path=scratch,
                    tracking_uri=self.uri,
                )
                data = Path(model) / Model.load(model).flavors["python_function"]["data"]
                shutil.move(data, place)
        return place


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
        _client(uri).search_experiments(max_results=1)
    except (MlflowException, SQLAlchemyError, httpx.HTTPError, OSError) as error:
        raise TexthashError(
            f"the MLflow store {uri} cannot be used: {error}".splitlines()[0],
            "start the server, or correct tracking.uri (null keeps runs in SQLite under TEXTHASH_HOME).",
        ) from error
    return uri


class TextEncoder:
    """What MLflow calls a model: raw text in, hexadecimal codes out."""

    def __init__(self, directory: str) -> None:
        from texthash.methods.hasher import Hasher

        self.hasher = Hasher.load(directory)

    def predict(self, model_input: pd.DataFrame | Sequence[str] | np.ndarray) -> list[str]:
        """Codes of texts: a column of strings (the first, or ``text``), or a list of strings."""
        from texthash.hamming.codes import to_hex

        if hasattr(model_input, "columns"):
            table: pd.DataFrame = model_input
            texts = table["text"] if "text" in table.columns else table.iloc[:, 0]
        else:
            texts = model_input
        return list(to_hex(self.hasher.encode([str(text) for text in texts])))


def _load_pyfunc(data_path: str) -> TextEncoder:
    """Called by MLflow to load a model that :meth:`Tracker.log_model` logged."""
    return TextEncoder(data_path)


def data_digest(corpus: PreparedCorpus) -> str:
    """What a corpus' figures depend on, in 16 characters: its source and how it was prepared."""
    manifest = corpus.manifest
    return f"{manifest.source_checksum[:8]}{manifest.config_hash[:8]}"


@cache
def environment_tags() -> dict[str, str]:
    """Commit, versions and machine: what is needed to run the same again."""
    sha, _, dirty = commit().partition("-")
    tags = {"host": platform.node(), "python": platform.python_version(), "cpus": str(os.cpu_count())}
    tags |= {"git.commit": sha, "git.dirty": "true" if dirty else "false", "mlflow.source.git.commit": sha}
    for package in _VERSIONED:
        try:
            tags[f"version.{package}"] = version(package)
        except PackageNotFoundError:
            tags[f"version.{package}"] = "not installed as a package"
    return tags


@cache
def commit() -> str:
    """The commit of this checkout, with ``-dirty`` where files differ from it; ``unknown`` without a history.

    A Ray job runs in a copy that has none; who submits it can say so in TEXTHASH_COMMIT.
    """
    if COMMIT_VARIABLE in os.environ:
        return os.environ[COMMIT_VARIABLE]
    git = ["git", "-C", str(Path(texthash.__file__).parent.parent)]
    try:
        sha = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        status = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{sha}-dirty" if status.strip() else sha


def _absolute(uri: str) -> str:
    """The same address for every process, whatever its working directory."""
    prefix = "sqlite:///"
    if uri.startswith(prefix):
        return prefix + str(Path(uri.removeprefix(prefix)).expanduser().absolute())
    if "://" not in uri:
        return f"{prefix}{Path(uri).expanduser().absolute()}" if uri.endswith(".db") else Path(uri).absolute().as_uri()
    return uri


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)
