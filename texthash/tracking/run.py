"""One run: what it logs, and how it ends."""

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
from texthash.tracking.mlflow_calls import deliver
from texthash.tracking.outbox import Outbox
from texthash.tracking.store import StoreError, as_text, client_of

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from texthash.training.loop import EpochReport

Status = Literal["FINISHED", "FAILED", "KILLED"]


@dataclass(frozen=True)
class Run:
    """One run, known by its id. As a context manager it ends as FINISHED, or as FAILED with the reason.

    Attributes:
        uri: Of the tracking store.
        run_id: Of the run.
        validation: Name under which an epoch's validation figure is logged, for instance ``val/p_at_100``.
        unsent: Directory of the outbox that keeps what is logged while the server is away; empty: what cannot be
            logged is an error.
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
        """The run's id in the store, which is another where the run began while its server was away."""
        return Outbox(Path(self.unsent)).server_id(self.run_id) if self.unsent else self.run_id

    @property
    def model_id(self) -> str | None:
        """Id of the model that was logged while the server was away, once it has been sent."""
        return Outbox(Path(self.unsent)).model_id(self.run_id) if self.unsent else None

    def log(self, op: str, **values: Any) -> str | None:
        """Log an entry (:mod:`texthash.tracking.mlflow_calls`); while the server is away it is kept, and sent later."""
        entry = {"op": op, **values}
        if self.unsent:
            return Outbox(Path(self.unsent)).put(self.uri, self.run_id, entry)
        return deliver(self._client, self.run_id, entry)

    def metrics(self, values: Mapping[str, float], step: int = 0, model_id: str | None = None) -> None:
        """Log figures by name; with ``model_id`` they are linked to a logged model too."""
        found = {name: float(value) for name, value in values.items()}
        self.log("metrics", values=found, time=_now(), step=step, model=model_id or None)

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
        self.log("params", values={name: as_text(value) for name, value in values.items()})

    def tags(self, values: Mapping[str, Any]) -> None:
        self.log("tags", values={name: as_text(value) for name, value in values.items()})

    def dataset(self, corpus: PreparedCorpus, contexts: Iterable[str] = ("train", "validation")) -> None:
        """Name the data that the run uses, with a digest of what it was made from."""
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
        """Keep a file, or a directory with all it holds, with the run."""
        self.log("artifact", path=str(path), folder=folder)

    def text(self, content: str, name: str) -> None:
        """Keep a text, for instance under ``notes/remark.txt``."""
        with tempfile.TemporaryDirectory(prefix="texthash-text-") as scratch:
            file = Path(scratch) / Path(name).name
            file.write_text(content, encoding="utf-8")
            self.artifact(file, Path(name).parent.as_posix() if "/" in name else None)

    def end(self, status: Status = "FINISHED", reason: str | None = None) -> None:
        if reason:
            self.tags({"status_reason": reason[:5000]})
        self.log("status", status=status, time=_now())

    @property
    def status(self) -> str:
        found: str = self._client.get_run(self.server_id).info.status
        return found

    def read_tags(self) -> dict[str, str]:
        found: dict[str, str] = self._client.get_run(self.server_id).data.tags
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
            log_line(f"the end of run {self.run_id} could not be recorded: {second.problem}")


def _now() -> int:
    """Milliseconds since 1970, as MLflow counts them."""
    return int(time.time() * 1000)
