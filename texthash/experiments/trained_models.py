"""Trained models on disk, with all that is known of each, and the page about them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from texthash.config import Config, parse_config
from texthash.errors import TexthashError, UsageError
from texthash.io.atomic import write_text
from texthash.paths import StateDir
from texthash.progress import log_line
from texthash.tracking import Run

if TYPE_CHECKING:
    from texthash.reporting.report import Report
    from texthash.training.loop import EpochReport

_RECORD = "run.json"


@dataclass(frozen=True)
class TrainedModel:
    """A trained model with all that is known of it; its directory outlives the process.

    Attributes:
        directory: Holds the saved hasher (``hasher/``), evaluations by split and the report.
        config: The resolved configuration, every hyper-parameter and the seed included.
        run: Its tracking run.
        model_id: Of the model logged there.
        validation: The figure that it was chosen by; None where nothing could be measured.
        seconds: Training time.
        history: Reports of the epochs.
        data: Digest of the data.
        commit: Of the code.
    """

    directory: Path
    config: Config
    run: Run
    model_id: str
    validation: float | None
    seconds: float
    history: list[EpochReport]
    data: str
    commit: str

    @property
    def hasher(self) -> Path:
        """Directory of the saved hasher."""
        return self.directory / "hasher"

    @property
    def name(self) -> str:
        return self.directory.name

    @property
    def edition(self) -> tuple[str, str]:
        """Corpus and edition that it was trained on; with ``corpus.limit`` the edition is another than the
        configuration's."""
        record = json.loads((self.hasher / "hasher.json").read_text(encoding="utf-8"))
        return record["corpus"], record["edition"]["name"]

    def write(self) -> None:
        record = {
            **{key: getattr(self, key) for key in ("model_id", "validation", "seconds", "data", "commit")},
            "config": self.config.model_dump(mode="json"),
            "run": asdict(self.run),
            "history": [asdict(report) for report in self.history],
        }
        write_text(self.directory / _RECORD, json.dumps(record, indent=1))

    @classmethod
    def read(cls, directory: str | Path) -> TrainedModel:
        """Read what :meth:`write` left.

        A record of an earlier version names only the hyper-parameters that its configuration gave; the others are
        those of the saved model beside it, which was built with them.

        Raises:
            UsageError: the directory is none of these.
            TexthashError: its record is damaged, or of another version.
        """
        from texthash.training.loop import EpochReport

        directory = Path(directory).absolute()
        path = directory / _RECORD
        if not path.is_file():
            raise UsageError(f"{directory} is no trained model: it has no {_RECORD}.", "name a directory under runs/.")
        try:
            record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return cls(
                **{
                    **record,
                    "directory": directory,
                    "config": _completed(parse_config(record["config"]), directory / "hasher" / "hasher.json"),
                    "run": Run(**record["run"]),
                    "history": [EpochReport(**report) for report in record["history"]],
                }
            )
        except (ValueError, TypeError, KeyError) as error:
            raise TexthashError(f"{path} is damaged: {error!r}", "restore it, or train the model again.") from error


def _completed(config: Config, saved: Path) -> Config:
    """The configuration with the hyper-parameters that it leaves out, as the saved model has them."""
    params = json.loads(saved.read_text(encoding="utf-8"))["params"] if saved.is_file() else {}
    return config.derive(method={"params": {**params, **config.method.params}})


def is_model(directory: Path) -> bool:
    """Whether a directory holds a trained model that is complete."""
    return (directory / _RECORD).is_file()


@dataclass(frozen=True)
class EpochNotes:
    """Told of each epoch wherever it happens: logs it to the run, and says it."""

    run: Run
    label: str

    def __call__(self, report: EpochReport) -> None:
        self.run.epoch(report)
        loss = f", loss {sum(report.terms.values()):.4f}" if report.terms else ""
        figure = "" if report.validation is None else f", {self.run.validation} {report.validation:.4f}"
        log_line(f"{self.label}: {report.stage} {report.epoch}/{report.epochs}{loss}{figure} ({report.seconds:.1f} s)")


def best_of(models: Sequence[TrainedModel]) -> TrainedModel:
    """The model with the best validation figure; the first one where there are no figures."""
    return max(models, key=lambda model: -1.0 if model.validation is None else model.validation)


def make_report(
    models: Sequence[TrainedModel], label_names: Sequence[str] = (), title: str = "texthash: evaluation"
) -> Report:
    """One page about evaluated models.

    Raises:
        UsageError: one of them has not been evaluated, or cannot be, for want of labels.
    """
    from texthash.evaluation.results import Evaluation
    from texthash.reporting.report import ReportedRun, report

    runs = []
    for model in models:
        if model.validation is None:
            raise UsageError(
                f"{model.name} was trained on documents that have neither labels nor two known words, so there are no "
                "figures to report.",
                f"texthash evaluate {model.name} describes its codes.",
            )
        splits = [split for split in ("test", "validation") if (model.directory / split).is_dir()]
        if not splits:
            raise UsageError(f"{model.name} has not been evaluated.", f"run texthash evaluate {model.directory}.")
        for split in splits:
            runs.append(
                ReportedRun(
                    method=model.config.method.name,
                    evaluation=Evaluation.load(model.directory / split),
                    config=model.config,
                    commit=model.commit,
                    seconds=model.seconds,
                    history=model.history,
                    label_names=label_names,
                )
            )
    return report(runs, title)


def find_model(home: StateDir, name: str) -> TrainedModel:
    """A trained model by directory, by name under ``runs/models``, or the newest one (``latest``)."""
    root = home.runs / "models"
    if Path(name).is_dir():
        return TrainedModel.read(name)
    found = sorted(root.glob(f"*/{_RECORD}"), key=lambda path: path.stat().st_mtime)
    if name == "latest" and found:
        return TrainedModel.read(found[-1].parent)
    if (root / name).is_dir():
        return TrainedModel.read(root / name)
    names = ", ".join(path.parent.name for path in found[-5:]) or "none"
    raise TexthashError(f"there is no trained model {name!r} in {root} (newest: {names}).", "train one, or name one.")
