"""Trained models on disk, with their records, and reports on them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, make_dataclass, replace
from functools import cache, partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from texthash.config import Config, parse_section
from texthash.errors import TexthashError, UsageError
from texthash.io.atomic import is_local, side_by_side, write_text
from texthash.io.copies import bring
from texthash.io.folders import is_published, published_in
from texthash.io.listing import matching
from texthash.io.records import read_all, read_typed
from texthash.models.files import TRAINED, age_of, read_hasher_record
from texthash.paths import StateDir, keeps_copies
from texthash.progress import log_line
from texthash.tracking import Run

if TYPE_CHECKING:
    from texthash.reporting.report import Report
    from texthash.training.loop import EpochReport

_RECORD = "run.json"
# Members of the record that are kept as they are, with their types, and those that earlier versions did not write.
_PLAIN: dict[str, Any] = {
    "model_id": str,
    "validation": float | None,
    "seconds": float,
    "data": str,
    "commit": str,
    "number": int,
    "created": str,
}
_LATER = {"number": 0, "created": ""}
_REMEDY = "restore it, or train the model again."


@dataclass(frozen=True)
class TrainedModel:
    """Record of a trained model in its directory.

    Attributes:
        directory: Directory of the saved hasher (``hasher/``), the evaluations by split and the report.
        config: Resolved configuration, including every hyper-parameter and the seed.
        run: Tracking run of the training.
        model_id: Id of the model logged to the run.
        validation: Selection metric on validation; None if the corpus allows no evaluation.
        seconds: Training time.
        history: Reports of the epochs.
        data: Digest of the data.
        commit: Git commit of the code.
        number: Place among the trained models of the state directory, from 1; 0 in records of earlier versions.
        created: Time of the record, in ISO 8601; empty in records of earlier versions.
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
    number: int = 0
    created: str = ""

    @property
    def hasher(self) -> Path:
        """Directory of the saved hasher."""
        return self.directory / TRAINED

    @property
    def name(self) -> str:
        """Name of the directory, by which :func:`find_model` finds the model."""
        return self.directory.name

    @property
    def edition(self) -> tuple[str, str]:
        """Corpus and edition of the training data; with ``corpus.limit`` the edition is not the configured one."""
        record = read_hasher_record(self.hasher)
        return record.corpus, record.edition.name

    def write(self) -> None:
        """Write the record."""
        record = {
            **{key: getattr(self, key) for key in _PLAIN},
            "config": self.config.model_dump(mode="json"),
            "run": asdict(self.run),
            "history": [asdict(report) for report in self.history],
        }
        write_text(self.directory / _RECORD, json.dumps(record, indent=1))

    @classmethod
    def read(cls, directory: str | Path) -> TrainedModel:
        """Read a record written by :meth:`write`.

        A record of an earlier version holds only the hyper-parameters that were configured; the others are read from
        the saved model, which was built with them.

        Raises:
            UsageError: The directory holds no trained model.
            TexthashError: The record is damaged, or of another version.
        """
        directory = Path(directory).absolute()
        path = directory / _RECORD
        if not path.is_file():
            raise UsageError(f"{directory} is no trained model: it has no {_RECORD}.", "give a directory under runs/.")
        record = read_typed(_record_type(), path, _REMEDY)
        config = parse_section(Config, record.config, f"{path} is broken: its config")
        own = {"directory": directory, "run": _moved(record.run, directory)}
        return cls(**{**vars(record), **own, "config": _completed(config, directory / TRAINED)})


def readable_models(directories: Iterable[Path]) -> Iterator[TrainedModel]:
    """Yield the trained models of some directories; those with a broken record are logged instead."""
    return read_all(directories, TrainedModel.read, broken="log")


def _moved(run: Run, directory: Path) -> Run:
    """Return a run in the store of the state directory of its model, which may have been copied or moved since.

    What a node keeps of a state directory in an object store is no copy: the run stays with the node that trained it.
    """
    runs = next((folder for folder in directory.parents if folder.name == "runs"), None)
    if runs is None or not run.unsent or keeps_copies(runs.parent):
        return run
    recorded, own = (StateDir(path.parent) for path in (Path(run.unsent).parent, runs))
    return replace(
        run,
        uri=own.tracking_uri if run.uri == recorded.tracking_uri else run.uri,
        unsent=str(runs / Path(run.unsent).name),
    )


def _completed(config: Config, saved: Path) -> Config:
    """Return the configuration with missing hyper-parameters filled in from the saved model."""
    params = read_hasher_record(saved).params if saved.is_dir() else {}
    return config.derive(method={"params": {**params, **config.method.params}})


@cache
def _record_type() -> Any:
    """Return the type of the content of ``run.json``; its module needs torch, and is imported when a record is read."""
    from texthash.training.loop import EpochReport

    always = [member for member in _PLAIN.items() if member[0] not in _LATER]
    later = [(name, _PLAIN[name], field(default=value)) for name, value in _LATER.items()]
    nested = [("config", dict[str, Any]), ("run", Run), ("history", list[EpochReport])]
    return make_dataclass("TrainedModelRecord", [*always, *nested, *later])


def is_model(directory: Path) -> bool:
    """Return True if a directory holds a complete trained model."""
    return (directory / _RECORD).is_file()


def model_directories(home: StateDir, pattern: str) -> Iterator[Path]:
    """Yield the directories of the complete trained models whose names match a pattern, as copies of this node."""
    root = home.runs / "models"
    if is_local(home.state):
        yield from filter(is_model, matching(root, pattern))
        return
    for name, _ in published_in(home.shared(root), pattern):
        yield bring(home, root / name)


@dataclass(frozen=True)
class EpochLogger:
    """Callback that reports each epoch to the tracking run and to the log, from any process.

    Attributes:
        run: Tracking run.
        label: Prefix of the log lines.
    """

    run: Run
    label: str

    def __call__(self, report: EpochReport) -> None:
        self.run.epoch(report)
        loss = f", loss {sum(report.terms.values()):.4f}" if report.terms else ""
        figure = "" if report.validation is None else f", {self.run.validation} {report.validation:.4f}"
        log_line(f"{self.label}: {report.stage} {report.epoch}/{report.epochs}{loss}{figure} ({report.seconds:.1f} s)")


def best_of(models: Sequence[TrainedModel]) -> TrainedModel:
    """Return the model with the best validation score; the first one if there are no scores."""
    return max(models, key=lambda model: -1.0 if model.validation is None else model.validation)


def make_report(models: Sequence[TrainedModel], label_names: Sequence[str] = ()) -> Report:
    """Return a report on evaluated models.

    Raises:
        UsageError: A model has not been evaluated, or cannot be, because its corpus allows no evaluation.
    """
    from texthash.evaluation.results import Evaluation
    from texthash.reporting.report import ReportedRun, report

    runs = []
    for model in {model.directory: model for model in models}.values():
        if model.validation is None:
            raise UsageError(
                f"{model.name} was trained on documents that have neither labels nor two known words, so it has no "
                "metrics to report.",
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
    return report(runs)


def find_model(home: StateDir, name: str) -> TrainedModel:
    """Return a trained model by directory, by name under ``runs/models``, or the newest one (``latest``).

    Raises:
        TexthashError: The model does not exist.
    """
    root = home.runs / "models"
    if Path(name).is_dir():
        return TrainedModel.read(name)
    wanted = _newest(home) or name if name == "latest" else name
    place = home.shared(root / wanted)
    if (root / wanted).is_dir() if is_local(place) else is_published(place):
        return TrainedModel.read(bring(home, root / wanted))
    raise _no_model(name, home.shared(root), oldest_first(home))


@dataclass(frozen=True)
class _Place:
    """Members of a record that tell the order in which models were trained."""

    number: int = 0
    created: str = ""


def oldest_first(home: StateDir) -> list[str]:
    """Return the names of the trained models in the order in which they were trained; broken ones are logged instead.

    The order is that of the numbers in their records, which stay the same when files are copied, or a clock is wrong.
    Models of earlier versions have none; they precede all others, in the order of their files.
    """
    return [name for _, name in sorted(_places(home))]


def next_number(home: StateDir) -> int:
    """Return the number of a model that is trained now. Two that end at the same time may get the same one."""
    return max((number for (number, _, _), _ in _places(home)), default=0) + 1


def _newest(home: StateDir) -> str | None:
    """Return the name of the newest model; None if there is none. Raises the error of a broken one if all are."""
    names = oldest_first(home) or [name for _, name in _places(home, broken="raise")]
    return names[-1] if names else None


def _places(home: StateDir, broken: Literal["raise", "log"] = "log") -> Iterator[tuple[tuple[int, str, float], str]]:
    """Yield the names of the models, each with what tells its place among them."""
    root = home.shared(home.runs / "models")
    if is_local(root):
        written = {path.parent.name: path.stat().st_mtime for path in matching(root, f"*/{_RECORD}")}
    else:
        written = dict(published_in(root))
    read = partial(read_all, read=lambda path: (path, read_typed(_Place, path, _REMEDY, partly=True)), broken=broken)
    for path, place in chain.from_iterable(side_by_side(lambda name: list(read([root / name / _RECORD])), [*written])):
        name = path.parent.name
        yield age_of(place.number, place.created, written[name]), name


def _no_model(name: str, root: Path, names: Sequence[str]) -> TexthashError:
    return TexthashError(
        f"there is no trained model {name!r} in {root} (newest: {', '.join(names[-5:]) or 'none'}).",
        "train a model, or give the name of an existing one.",
    )
