"""Tracking of one MLflow experiment: starting, finding and resuming runs, and logging models.

Metrics, parameters and artifacts of a run are logged by :mod:`texthash.tracking.run`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from texthash.config import TrackingConfig
from texthash.errors import TexthashError
from texthash.paths import StateDir
from texthash.tracking.environment import environment_tags
from texthash.tracking.failures import StoreError, StoreUnavailableError
from texthash.tracking.offline import reachable
from texthash.tracking.outbox import KEY, PARENT, Outbox, RunStart, open_store
from texthash.tracking.registry import Registry
from texthash.tracking.run import Run
from texthash.tracking.store import as_text, client_of

if TYPE_CHECKING:
    from mlflow import MlflowClient


class Tracker:
    """Client of one MLflow experiment: its runs and the models that they log.

    While the store's server is unavailable, runs are kept in files and sent later (:mod:`texthash.tracking.outbox`).

    Args:
        config: Address of the store, and optionally the name of the experiment.
        home: State directory, which holds store and artifacts by default.
        experiment: Name of the experiment if the configuration has none.

    Raises:
        TexthashError: The store cannot be used.

    Attributes:
        registry: Model registry of the store.
    """

    def __init__(self, config: TrackingConfig, home: StateDir, experiment: str = "texthash") -> None:
        self.outbox = Outbox.of(home)
        self.uri = open_store(config, home)
        self.experiment = config.experiment or experiment
        self._artifacts = home.artifacts
        if reachable(self.uri):
            _ = self.experiment_id
        self.registry = Registry(self.uri, home.root / "models")

    @property
    def _client(self) -> MlflowClient:
        return client_of(self.uri)

    @cached_property
    def experiment_id(self) -> str:
        """Id of the experiment in the store; the experiment is created if it does not exist."""
        found = self._client.get_experiment_by_name(self.experiment)
        if found is None:
            # The default location is relative to the working directory, which in a Ray job is a temporary copy.
            location = None if self.uri.startswith("http") else (self._artifacts / self.experiment).as_uri()
            try:
                return self._client.create_experiment(self.experiment, artifact_location=location)
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
            name: Name in the list of runs.
            parent: Run in which this one is nested.
            params: Resolved configuration, flat, by dotted names.
            tags: Tags in addition to those of every run (commit, versions, host).
            note: Readable summary at the top of the run's page.
            key: Key by which :meth:`find` finds the run again.
            validation: Metric name of the validation score.
        """
        merged = {**environment_tags(), **(tags or {}), "mlflow.runName": name}
        if parent:
            merged[PARENT] = parent.run_id
        if note:
            merged["mlflow.note.content"] = note
        if key:
            merged[KEY] = key
        texts = {name: as_text(value) for name, value in merged.items()}
        self.outbox.flush(self.uri)
        run = Run(self.uri, self._start_run(name, texts), validation, str(self.outbox.root))
        run.params(params or {})
        return run

    def _start_run(self, name: str, tags: dict[str, str]) -> str:
        """Create a run and return its id; a local one while the server is unavailable."""
        began = int(time.time() * 1000)
        if reachable(self.uri):
            try:
                parent = tags.get(PARENT)
                server_tags = {**tags, PARENT: self.outbox.server_id(parent)} if parent else tags
                run = self._client.create_run(self.experiment_id, start_time=began, tags=server_tags, run_name=name)
                return str(run.info.run_id)
            except StoreUnavailableError as error:
                self.outbox.store_failed(self.uri, error)
        return self.outbox.begin(self.uri, RunStart(self.experiment, name, tags, began))

    def find(self, key: str, validation: str = "val/score") -> Run | None:
        """Find and resume the newest run that was started with this key; None if there is none.

        One that has not finished goes before all that have, whatever the clocks said when they were started: the model
        of a finished run is not replaced. While the server is unavailable, only unfinished runs that began during the
        outage are found. A run started with the same key meanwhile is merged with the server's when it is sent.
        """
        self.outbox.flush(self.uri)
        unsent = self.outbox.find(key)
        if unsent is not None:
            return self.resume(unsent, validation)
        if not reachable(self.uri):
            return None
        wanted = f"tags.`{KEY}` = '{key}'"
        try:
            for condition in (f"{wanted} and attributes.status != 'FINISHED'", wanted):
                runs = self._client.search_runs(
                    [self.experiment_id], condition, max_results=1, order_by=["start_time DESC"]
                )
                if runs:
                    return self.resume(self.outbox.local_id(runs[0].info.run_id), validation)
        except StoreUnavailableError as error:
            self.outbox.store_failed(self.uri, error)
        return None

    def resume(self, run_id: str, validation: str = "val/score") -> Run:
        """Reopen a run that has ended, or whose process died."""
        run = Run(self.uri, run_id, validation, str(self.outbox.root))
        run.log("status", status="RUNNING", time=0)
        return run

    # -- models -----------------------------------------------------------------------------------------------

    def log_model(self, directory: str | Path, run: Run, name: str, example: Sequence[str]) -> str:
        """Log a saved hasher as a model from raw text to codes as hexadecimal strings.

        Args:
            directory: Directory of the saved hasher.
            run: Run that the model belongs to.
            name: Name of the model.
            example: Texts that are stored as an example of the input.

        Returns:
            The model's id, which links metrics to the model and which :meth:`Registry.register` takes; empty while the
            server is unavailable (:attr:`Run.model_id` holds it once the model is sent).
        """
        return run.log("model", directory=str(directory), name=name, example=list(example)) or ""
