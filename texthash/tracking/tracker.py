"""The experiment of a study: runs are started and found again, models logged."""

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
from texthash.tracking.offline import reachable
from texthash.tracking.outbox import KEY, PARENT, Outbox, Start, open_store
from texthash.tracking.registry import Registry
from texthash.tracking.run import Run
from texthash.tracking.store import StoreError, StoreUnavailableError, as_text, client_of

if TYPE_CHECKING:
    from mlflow import MlflowClient


class Tracker:
    """The tracking store of one experiment: its runs and the models that they log.

    Args:
        config: Address of the store, and the experiment's name where it is not the corpus' own.
        home: Where store and artifacts are kept by default.
        experiment: Name used unless the configuration has one.

    While a server of the store is away, runs are kept in files and sent later (:mod:`texthash.tracking.outbox`).

    Raises:
        TexthashError: the store cannot be used.

    Attributes:
        registry: Of the models in that store.
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
        """Of the experiment in the store; it is made if there is none of that name."""
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
            merged[PARENT] = parent.run_id
        if note:
            merged["mlflow.note.content"] = note
        if key:
            merged[KEY] = key
        texts = {name: as_text(value) for name, value in merged.items()}
        self.outbox.settle(self.uri)
        run = Run(self.uri, self._started(name, texts), validation, str(self.outbox.root))
        run.params(params or {})
        return run

    def _started(self, name: str, tags: dict[str, str]) -> str:
        """Id of a new run; one of our own while the server is away."""
        began = int(time.time() * 1000)
        if reachable(self.uri):
            try:
                parent = tags.get(PARENT)
                there = {**tags, PARENT: self.outbox.server_id(parent)} if parent else tags
                made = self._client.create_run(self.experiment_id, start_time=began, tags=there, run_name=name)
                return str(made.info.run_id)
            except StoreUnavailableError as error:
                self.outbox.lost(self.uri, error)
        return self.outbox.begin(self.uri, Start(self.experiment, name, tags, began))

    def find(self, key: str, validation: str = "val/score") -> Run | None:
        """The run that was started with this key, taken up again; None if there is none.

        While the server is away only runs that began meanwhile are found. One that is started with the same key
        instead becomes one with the server's when it is sent.
        """
        self.outbox.settle(self.uri)
        waiting = self.outbox.find(key)
        if waiting is not None:
            return self.take_up(waiting, validation)
        if not reachable(self.uri):
            return None
        try:
            runs = self._client.search_runs(
                [self.experiment_id], f"tags.`{KEY}` = '{key}'", max_results=1, order_by=["start_time DESC"]
            )
        except StoreUnavailableError as error:
            self.outbox.lost(self.uri, error)
            return None
        return self.take_up(runs[0].info.run_id, validation) if runs else None

    def take_up(self, run_id: str, validation: str = "val/score") -> Run:
        """Go on with a run that has ended, or whose program died."""
        run = Run(self.uri, run_id, validation, str(self.outbox.root))
        run.log("status", status="RUNNING", time=0)
        return run

    # -- models -----------------------------------------------------------------------------------------------

    def log_model(self, directory: str | Path, run: Run, name: str, example: Sequence[str]) -> str:
        """Log a saved hasher as a model that takes raw text and gives codes as hexadecimal strings.

        Returns:
            The model's id, by which metrics are linked to it and :meth:`Registry.register` finds it; empty while the
            server is away (:attr:`Run.model_id` has it when the model has been sent).
        """
        return run.log("model", directory=str(directory), name=name, example=list(example)) or ""
