"""One run: what it logs, and how it ends."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from texthash.corpora.dataset import PreparedCorpus
from texthash.progress import say
from texthash.tracking.environment import data_digest
from texthash.tracking.store import StoreError, as_text, client_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from mlflow import MlflowClient

    from texthash.training.loop import EpochReport

Status = Literal["FINISHED", "FAILED", "KILLED"]
_PARAMS_AT_ONCE, _PARAM_LENGTH, _METRICS_AT_ONCE = 100, 6000, 1000


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
        return client_of(self.uri)

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

        found = [Param(name, as_text(value)[:_PARAM_LENGTH]) for name, value in values.items()]
        for start in range(0, len(found), _PARAMS_AT_ONCE):
            self._client.log_batch(self.run_id, params=found[start : start + _PARAMS_AT_ONCE])

    def tags(self, values: Mapping[str, Any]) -> None:
        from mlflow.entities import RunTag

        self._client.log_batch(self.run_id, tags=[RunTag(name, as_text(value)) for name, value in values.items()])

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
            return
        try:
            if isinstance(error, Exception):
                self.end("FAILED", f"{type(error).__name__}: {error}")
            else:
                self.end("KILLED", type(error).__name__)
        except StoreError as second:  # often for the same reason, a full disk; the first error is the one to raise
            say(f"the end of run {self.run_id} could not be recorded: {second.problem}")
