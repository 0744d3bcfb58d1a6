"""A run of the tracking store: logging and its end."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.progress import log_line
from texthash.tracking.environment import data_digest
from texthash.tracking.failures import StoreError
from texthash.tracking.mlflow_calls import deliver
from texthash.tracking.outbox import Outbox
from texthash.tracking.store import as_text, client_of

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from texthash.training.loop import EpochReport

Status = Literal["FINISHED", "FAILED", "KILLED"]


@dataclass(frozen=True)
class Run:
    """A run, identified by its id. As a context manager it ends as FINISHED, or as FAILED with the reason.

    Attributes:
        uri: Address of the tracking store.
        run_id: Id of the run.
        validation: Metric name of an epoch's validation score, for instance ``val/p_at_100``.
        unsent: Directory of the outbox that keeps entries while the server is unavailable; if empty, an entry that
            cannot be logged is an error.
    """

    uri: str
    run_id: str
    validation: str = "val/score"
    unsent: str = ""

    @property
    def _client(self) -> MlflowClient:
        return client_of(self.uri)

    @property
    def server_id(self) -> str:
        """Id of the run in the store, which differs from ``run_id`` if the run began during an outage."""
        return Outbox(Path(self.unsent)).server_id(self.run_id) if self.unsent else self.run_id

    @property
    def model_id(self) -> str | None:
        """Id of the model that was logged during an outage, once it has been sent."""
        return Outbox(Path(self.unsent)).model_id(self.run_id) if self.unsent else None

    def log(self, op: str, **values: Any) -> str | None:
        """Log an entry (:mod:`texthash.tracking.mlflow_calls`); during an outage it is kept and sent later."""
        entry = {"op": op, **values}
        if self.unsent:
            return Outbox(Path(self.unsent)).put(self.uri, self.run_id, entry)
        return deliver(self._client, self.run_id, entry)

    def metrics(self, values: Mapping[str, float], step: int = 0, model_id: str | None = None) -> None:
        """Log metrics by name; with ``model_id`` they are also linked to a logged model."""
        numbers = {name: float(value) for name, value in values.items()}
        self.log("metrics", values=numbers, time=_now(), step=step, model=model_id or None)

    def epoch(self, report: EpochReport) -> None:
        """Log an epoch: the terms of the loss, their sum, speed and the validation score."""
        values = {f"train/{name}": value for name, value in report.terms.items()}
        if report.terms:
            values["train/loss"] = sum(report.terms.values())
        values["train/seconds_per_epoch"] = report.seconds
        values["train/documents_per_second"] = report.documents_per_second
        if report.validation is not None:
            values[self.validation] = report.validation
        self.metrics(values, step=report.number)

    def params(self, values: Mapping[str, Any]) -> None:
        """Log parameters; each can be logged only once."""
        self.log("params", values={name: as_text(value) for name, value in values.items()})

    def tags(self, values: Mapping[str, Any]) -> None:
        """Set tags."""
        self.log("tags", values={name: as_text(value) for name, value in values.items()})

    def dataset(self, corpus: PreparedCorpus, contexts: Iterable[str] = ("train", "validation")) -> None:
        """Log the corpus that the run uses, with its digest."""
        manifest = corpus.manifest
        self.log(
            "dataset",
            name=f"{manifest.name}-{manifest.edition}",
            digest=data_digest(corpus),
            source=str(corpus.path),
            profile=json.dumps({"documents": manifest.documents, "labels": len(manifest.label_names)}),
            contexts=list(contexts),
        )

    def artifact(self, path: str | Path, folder: str | None = None) -> None:
        """Log a file, or a directory with its contents, as an artifact of the run."""
        self.log("artifact", path=str(path), folder=folder)

    def text(self, content: str, name: str) -> None:
        """Log a text as an artifact, for instance ``notes/remark.txt``."""
        with tempfile.TemporaryDirectory(prefix="texthash-text-") as scratch:
            file = Path(scratch) / Path(name).name
            file.write_text(content, encoding="utf-8")
            self.artifact(file, Path(name).parent.as_posix() if "/" in name else None)

    def end(self, status: Status = "FINISHED", reason: str | None = None) -> None:
        """End the run with a status and its reason."""
        if reason:
            self.tags({"status_reason": reason[:5000]})
        self.log("status", status=status, time=_now())

    @property
    def status(self) -> str:
        """Status of the run in the store."""
        status: str = self._client.get_run(self.server_id).info.status
        return status

    def read_tags(self) -> dict[str, str]:
        """Return the tags of the run in the store."""
        tags: dict[str, str] = self._client.get_run(self.server_id).data.tags
        return tags

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
        except StoreError as second:  # often has the same cause, such as a full disk; the first error is raised
            log_line(f"the end of run {self.run_id} could not be recorded: {second.problem}")


def _now() -> int:
    """Return milliseconds since 1970, MLflow's unit of time."""
    return int(time.time() * 1000)
