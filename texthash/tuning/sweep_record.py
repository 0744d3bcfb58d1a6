"""Record of a sweep: what identifies it, its tracking run, and the result of its trials, from which it goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from texthash.config import Config
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.errors import UsageError
from texthash.io.atomic import InUseError
from texthash.io.claims import claim
from texthash.io.listing import matching
from texthash.io.places import ABSENT, Version, swap, version_of
from texthash.io.records import read_all, read_typed
from texthash.methods.registry import decisive
from texthash.paths import StateDir
from texthash.progress import log_line
from texthash.tracking import data_digest

# What decides where trials run, not what they result in.
_PLACEMENT = {"concurrent", "cpus_per_trial", "gpus_per_trial", "seeds", "resume"}
_RECORD = "sweep.json"
_OTHERWISE = "wait until it ends, or start another sweep with tuning.resume=false."


@dataclass(frozen=True)
class TrialRecord:
    """Record of a trial: its hyper-parameters, best validation score, number of epochs, and outcome."""

    trial: str
    params: dict[str, Any]
    validation: float | None
    epochs: int
    fate: str


@dataclass(frozen=True)
class SweepResult:
    """Result of a sweep.

    Attributes:
        params: Hyper-parameters of the best trial.
        validation: Validation score of the best trial.
        trials: All trials, best first, failed ones last.
        directory: Directory in which Ray Tune keeps the trials.
    """

    params: dict[str, Any]
    validation: float
    trials: list[TrialRecord]
    directory: Path


@dataclass
class Sweep:
    """Files of one sweep, and the run to which it belongs.

    Attributes:
        directory: Ray Tune's experiment directory, in the state that the nodes share.
        identity: Digest of everything that determines the results of the trials.
        study: Id of the tracking run in which the trials are nested; None until it is started.
        found: Result of the trials as plain values, once all have ended.
        finished: True if the final models are trained too, so that there is nothing to resume.
        created: Time at which it was started, in ISO 8601.
        number: Place among the sweeps of the method, corpus and width, from 1; 0 in records of earlier versions.
        version: Version of the record that this process has read or written.
    """

    directory: Path
    identity: str
    study: str | None = None
    found: dict[str, Any] | None = None
    finished: bool = False
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    number: int = 0
    version: Version = field(default=ABSENT, compare=False, repr=False)

    @property
    def states(self) -> Path:
        """Directory of the trials' states; not below ``directory``, which belongs to Ray Tune."""
        return self.directory.with_name(f".{self.directory.name}.states")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Claim the sweep while its trials run.

        Raises:
            InUseError: Another process runs the sweep.
        """
        lock = self.directory.with_name(f".{self.directory.name}.lock")
        with claim(lock, f"the sweep {self.directory.name}", _OTHERWISE):
            yield

    def write(self) -> None:
        """Write the record over the version that was read, so that nobody else's result is replaced.

        Raises:
            InUseError: Another process has gone on with the sweep meanwhile.
        """
        path = self.directory / _RECORD
        record = {member.name: getattr(self, member.name) for member in fields(_SweepRecord)}
        if not swap(path, {**record, "directory": str(self.directory)}, self.version):
            raise InUseError(f"another process has gone on with the sweep {self.directory.name} meanwhile.", _OTHERWISE)
        self.version = version_of(path)

    @property
    def result(self) -> SweepResult | None:
        """Return the result of the trials, or None until all have ended."""
        if self.found is None:
            return None
        trials = [TrialRecord(**trial) for trial in self.found["trials"]]
        return SweepResult(self.found["params"], self.found["validation"], trials, self.directory)

    @classmethod
    def read(cls, directory: Path) -> Sweep:
        """Read the record of a sweep.

        Raises:
            TexthashError: The record is broken.
        """
        path, remedy = directory / _RECORD, "restore it, or delete the directory to give the sweep up."
        version = version_of(path)
        record = read_typed(_SweepRecord, path, remedy, leave_out=["directory"])
        found = None if record.found is None else asdict(record.found)
        return cls(**{**vars(record), "directory": directory, "found": found, "version": version})


@dataclass(frozen=True)
class _Found:
    params: dict[str, Any]
    validation: float
    trials: list[TrialRecord]


@dataclass(frozen=True)
class _SweepRecord:
    """Content of ``sweep.json``."""

    identity: str
    created: str
    study: str | None = None
    found: _Found | None = None
    finished: bool = False
    number: int = 0


def _known(root: Path, stem: str) -> list[Sweep]:
    """Return the sweeps whose names begin with ``stem``; those with a broken record are logged instead."""
    return list(read_all(matching(root, f"{stem}-*/{_RECORD}"), lambda path: Sweep.read(path.parent), broken="log"))


def open_sweep(config: Config, corpus: PreparedCorpus, home: StateDir) -> Sweep:
    """Return the latest unfinished sweep of the same configuration, or a new one, as ``tuning.resume`` says.

    Raises:
        UsageError: With ``tuning.resume=true``, there is no unfinished sweep.
    """
    root = home.shared(home.runs / "sweeps")
    identity = _identity(config, corpus)
    stem = f"{config.method.name}-{config.corpus.name}-{config.corpus.edition.name}-{config.method.bits}b"
    known = _known(root, stem)
    same = (sweep for sweep in known if not sweep.finished and sweep.identity == identity)
    unfinished = sorted(same, key=lambda sweep: (sweep.number, sweep.created))
    if unfinished and config.tuning.resume:
        log_line(f"tune: {unfinished[-1].directory.name} is unfinished and goes on; tuning.resume=false starts another")
        return unfinished[-1]
    if config.tuning.resume is True:
        others = [s.directory.name for s in known if not s.finished]
        hint = f"; unfinished with another configuration: {', '.join(others)}" if others else ""
        raise UsageError(
            f"there is no unfinished sweep of this configuration in {root}{hint}.",
            "set tuning.resume=false to start one.",
        )
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")[:-3]
    number = max((sweep.number for sweep in known), default=0) + 1
    return Sweep(root / f"{stem}-{stamp}", identity, number=number)


def close_sweep(directory: Path) -> None:
    """Mark a sweep as finished once its final models are trained, so that it is not resumed."""
    sweep = Sweep.read(directory)
    sweep.finished = True
    sweep.write()


def _identity(config: Config, corpus: PreparedCorpus) -> str:
    """Return a digest of what determines the results of the trials, not of how many run at a time, or where."""
    training = config.training
    decides = {
        "data": data_digest(corpus),
        "features": config.corpus.features,
        "method": decisive(config.method),
        "fixed": sorted(config.method.params),
        "training": {
            **training.model_dump(include={"epochs", "batch_size", "patience", "seed", "documents"}),
            **({"labelled": training.labelled} if training.labelled < 1 else {}),
        },
        "tuning": config.tuning.model_dump(mode="json", exclude=_PLACEMENT),
        "judged_by": [config.evaluation.k, config.evaluation.selection_metric],
    }
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]
