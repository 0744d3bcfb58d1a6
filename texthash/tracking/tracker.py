"""The experiment of a study: runs are started and found again, models logged."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import texthash
from texthash.config import TrackingConfig
from texthash.errors import TexthashError
from texthash.home import Home
from texthash.tracking import pyfunc_model
from texthash.tracking.environment import environment_tags
from texthash.tracking.registry import Registry
from texthash.tracking.run import Run
from texthash.tracking.store import StoreError, as_text, check_store, client_of

if TYPE_CHECKING:
    from mlflow import MlflowClient

_REQUIRED = ("torch", "numpy", "scipy", "scikit-learn", "nltk", "numba", "pyarrow", "pydantic", "safetensors")


class Tracker:
    """The tracking store of one experiment: its runs and the models that they log.

    Args:
        config: Address of the store, and the experiment's name where it is not the corpus' own.
        home: Where store and artifacts are kept by default.
        experiment: Name used unless the configuration has one.

    Raises:
        TexthashError: the store cannot be reached.

    Attributes:
        registry: Of the models in that store.
    """

    def __init__(self, config: TrackingConfig, home: Home, experiment: str = "texthash") -> None:
        self.uri = check_store(config, home)
        self.experiment = config.experiment or experiment
        self._artifacts = home.artifacts
        self.experiment_id = self._experiment_id()
        self.registry = Registry(self.uri, home.root / "models")

    @property
    def _client(self) -> MlflowClient:
        return client_of(self.uri)

    def _experiment_id(self) -> str:
        found = self._client.get_experiment_by_name(self.experiment)
        if found is None:
            # The default place is relative to the working directory, which in a Ray job is a throw-away copy.
            place = None if self.uri.startswith("http") else (self._artifacts / self.experiment).as_uri()
            try:
                return self._client.create_experiment(self.experiment, artifact_location=place)
            except StoreError:  # another process was faster
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
            self.experiment_id, tags={k: as_text(v) for k, v in merged.items()}, run_name=name
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
            The model's id, by which metrics are linked to it and :meth:`Registry.register` finds it.
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
                loader_module=pyfunc_model.__name__,
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
