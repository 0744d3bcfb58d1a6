"""Hyper-parameter search: Optuna proposes, Ray Tune runs several trials at a time, and ASHA stops poor ones early.

``tuning.scheduler=pbt`` runs population based training instead (:mod:`texthash.tuning.population`).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from texthash.config import Config
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.errors import TexthashError, UsageError
from texthash.io.atomic import claimed, write_text
from texthash.io.records import read_typed
from texthash.methods.base import HashMethod
from texthash.methods.registry import build, decisive, resolve
from texthash.nodes import wait_for
from texthash.paths import StateDir
from texthash.progress import log_line
from texthash.tracking import Run, Tracker, data_digest
from texthash.tuning import population
from texthash.tuning.spaces import free_space, starting_point, to_tune
from texthash.tuning.trial import METRIC, TrialSetting, judged_epochs, outcome_of, run_trial
from texthash.tuning.trial_status import OutcomeRecorder

if TYPE_CHECKING:
    from ray.tune import ResultGrid, Tuner
    from ray.tune.schedulers import TrialScheduler
    from ray.tune.search import SearchAlgorithm, Searcher

# What decides where trials run, not what they result in.
_PLACEMENT = {"concurrent", "cpus_per_trial", "gpus_per_trial", "seeds", "resume"}
_RECORD = "sweep.json"
REDUCTION = 3


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
        directory: Ray Tune's experiment directory.
        identity: Digest of everything that determines the results of the trials.
        study: Id of the tracking run in which the trials are nested; None until it is started.
        found: Result of the trials as plain values, once all have ended.
        finished: True if the final models are trained too, so that there is nothing to resume.
    """

    directory: Path
    identity: str
    study: str | None = None
    found: dict[str, Any] | None = None
    finished: bool = False
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    @property
    def states(self) -> Path:
        """Directory of the trials' states; not below ``directory``, which belongs to Ray Tune."""
        return self.directory.with_name(f".{self.directory.name}.states")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Lock the sweep while its trials run.

        Raises:
            InUseError: Another process runs the sweep.
        """
        lock = self.directory.with_name(f".{self.directory.name}.lock")
        remedy = "wait until it ends, or start another sweep with tuning.resume=false."
        with claimed(lock, f"the sweep {self.directory.name}", remedy):
            yield

    def write(self) -> None:
        record = {**asdict(self), "directory": str(self.directory)}
        write_text(self.directory / _RECORD, json.dumps(record, indent=1))

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
        record = read_typed(_SweepRecord, path, remedy, leave_out=["directory"])
        found = None if record.found is None else asdict(record.found)
        return cls(**{**vars(record), "directory": directory, "found": found})


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


def _known(root: Path, stem: str) -> Iterator[Sweep]:
    """Yield the sweeps whose names begin with ``stem``; those with a broken record are logged instead."""
    for path in root.glob(f"{stem}-*/{_RECORD}"):
        try:
            yield Sweep.read(path.parent)
        except TexthashError as error:
            log_line(f"warning: {error.problem}")


def open_sweep(config: Config, corpus: PreparedCorpus, home: StateDir) -> Sweep:
    """Return a new sweep, or with ``tuning.resume`` the latest unfinished one of the same configuration.

    Raises:
        UsageError: With ``tuning.resume``, there is no unfinished sweep.
    """
    root = home.runs / "sweeps"
    identity = _identity(config, corpus)
    stem = f"{config.method.name}-{config.corpus.name}-{config.corpus.edition.name}-{config.method.bits}b"
    known = list(_known(root, stem))
    unfinished = sorted((s for s in known if not s.finished and s.identity == identity), key=lambda s: s.created)
    if config.tuning.resume:
        if not unfinished:
            others = [s.directory.name for s in known if not s.finished]
            hint = f"; unfinished with another configuration: {', '.join(others)}" if others else ""
            raise UsageError(
                f"there is no unfinished sweep of this configuration in {root}{hint}.",
                "set tuning.resume=false to start one.",
            )
        return unfinished[-1]
    if unfinished:
        log_line(f"tune: {unfinished[-1].directory.name} is unfinished; tuning.resume=true continues it")
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")[:-3]
    return Sweep(root / f"{stem}-{stamp}", identity)


def run_sweep(
    sweep: Sweep,
    config: Config,
    corpus: PreparedCorpus,
    tracker: Tracker,
    study: Run,
    validate: Callable[[HashMethod], float],
) -> SweepResult:
    """Run the trials of a sweep, or the remaining ones, on the Ray cluster of this process.

    The hyper-parameters of ``method.preset`` are the first trial if they lie in the search space. Each trial trains in
    one process and has a tracking run nested in ``study``; the tag ``fate`` of that run holds the trial's outcome.

    Args:
        sweep: Sweep from :func:`open_sweep`.
        config: Configuration; ``method.params`` are fixed, the rest of the method's space is searched.
        corpus: Prepared corpus, on storage that all nodes share.
        tracker: Tracker that records the trials.
        study: Run in which the trials are nested.
        validate: Score on the validation split, higher is better; must be picklable.

    Raises:
        TexthashError: No trial has a validation score, or a trial needs more CPUs than any node has.
    """
    bundle = {"CPU": config.tuning.cpus_per_trial, "GPU": config.tuning.gpus_per_trial * config.training.use_gpu}
    wait_for(partial(_missing_resources, config), config.cluster.wait_s, [bundle] * config.tuning.concurrent)
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # else an interrupted sweep looks like a finished one
    os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "2")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # only the old output can be silenced
    setting = TrialSetting(config, corpus.path, tracker, study, sweep.directory.name, sweep.states, validate)
    tuner = _tuner(sweep, setting, corpus)
    sweep.study = study.run_id
    sweep.write()
    records = _records(tuner.fit(), setting)
    usable = [record for record in records if record.validation is not None]
    if not usable:
        reason = records[0].fate if records else "no trial was started"
        raise TexthashError(
            f"none of the {len(records)} trials of {sweep.directory.name} has a validation score; the first: {reason}",
            "see the trials' runs in MLflow, and narrow the search space or the fixed parameters.",
        )
    best = usable[0]
    assert best.validation is not None
    sweep.found = {
        "params": best.params,
        "validation": best.validation,
        "trials": [asdict(record) for record in records],
    }
    sweep.write()
    shutil.rmtree(sweep.states, ignore_errors=True)
    return SweepResult(best.params, best.validation, records, sweep.directory)


def close_sweep(found: SweepResult) -> None:
    """Mark a sweep as finished once its final models are trained, so that it is not resumed."""
    sweep = Sweep.read(found.directory)
    sweep.finished = True
    sweep.write()


def _tuner(sweep: Sweep, setting: TrialSetting, corpus: PreparedCorpus) -> Tuner:
    import optuna
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.basic_variant import BasicVariantGenerator
    from ray.tune.search.optuna import OptunaSearch

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    config = setting.config
    resources = {"cpu": config.tuning.cpus_per_trial} | (
        {"gpu": config.tuning.gpus_per_trial} if config.training.use_gpu else {}
    )

    def texthash_trial(params: dict[str, Any]) -> None:
        run_trial(params, setting)

    trainable = tune.with_resources(texthash_trial, resources)
    if tune.Tuner.can_restore(str(sweep.directory)):
        log_line(f"tune: continuing {sweep.directory.name}")
        return tune.Tuner.restore(str(sweep.directory), trainable, resume_unfinished=True, restart_errored=True)
    space = free_space(config)
    starting = starting_point(config.method, space)
    first = [starting] if starting is not None else None
    shape = corpus.shape_with(config.corpus.features)
    method = config.method
    probe = build(method.name, shape, method.bits, resolve(method.name, method.params, method.preset))
    planned, grace = judged_epochs(probe, setting.training()), config.tuning.grace_epochs
    scheduler: TrialScheduler | None = None  # a trial no longer than the grace period cannot be stopped early
    search: SearchAlgorithm | Searcher = OptunaSearch(seed=config.tuning.seed, points_to_evaluate=first)
    concurrent: int | None = config.tuning.concurrent
    stop: dict[str, Any] | None = None
    if config.tuning.scheduler == "pbt":
        # Trials take turns if the cluster cannot run all at once; a limit of concurrent trials would prevent that.
        scheduler, concurrent = population.scheduler(config, space, shape), None
        stop = {"epoch": planned}  # otherwise a trial that is complete could be made to continue from another
        search = BasicVariantGenerator(points_to_evaluate=first, random_state=config.tuning.seed)
    elif planned > grace:
        scheduler = ASHAScheduler(time_attr="epoch", max_t=planned, grace_period=grace, reduction_factor=REDUCTION)
    return tune.Tuner(
        trainable,
        param_space=to_tune(space),
        tune_config=tune.TuneConfig(
            metric=METRIC,
            mode="max",
            num_samples=config.tuning.trials,
            max_concurrent_trials=concurrent,
            scheduler=scheduler,
            search_alg=search,
            reuse_actors=True,  # a trial does not wait for a process to start and import
        ),
        run_config=tune.RunConfig(
            name=sweep.directory.name,
            storage_path=str(sweep.directory.parent),
            stop=stop,
            failure_config=tune.FailureConfig(max_failures=config.training.max_failures),
            callbacks=[OutcomeRecorder(setting, config.tuning.trials)],
            verbose=0,
        ),
    )


def _records(grid: ResultGrid, setting: TrialSetting) -> list[TrialRecord]:
    records = []
    for result in (grid[number] for number in range(len(grid))):
        last = result.metrics or {}
        fate, counts = outcome_of(last, _last_line(result.error) if result.error else None)
        figure = last.get(METRIC) if counts else None
        records.append(
            TrialRecord(last.get("trial_id", "?"), dict(result.config or {}), figure, int(last.get("epoch", 0)), fate)
        )
    return sorted(records, key=lambda r: (r.validation is None, -(r.validation or 0.0)))


def _last_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__


def _identity(config: Config, corpus: PreparedCorpus) -> str:
    """Return a digest of what determines the results of the trials, not of how many run at a time, or where."""
    decides = {
        "data": data_digest(corpus),
        "features": config.corpus.features,
        "method": decisive(config.method),
        "fixed": sorted(config.method.params),
        "training": config.training.model_dump(mode="json", include={"epochs", "batch_size", "patience", "seed"}),
        "tuning": config.tuning.model_dump(mode="json", exclude=_PLACEMENT),
        "judged_by": [config.evaluation.k, config.evaluation.selection_metric],
    }
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]


def _missing_resources(config: Config) -> TexthashError | None:
    """Return what no node has for a trial, which would wait for it without end; None if a node has all."""
    import ray

    wanted = config.tuning.cpus_per_trial
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    largest = max((resources.get("CPU", 0.0) for resources in nodes), default=0.0)
    if wanted > largest:
        return TexthashError(
            f"a trial needs {wanted:g} CPUs, the largest node has {largest:g}.", "lower tuning.cpus_per_trial."
        )
    if not config.training.use_gpu:
        return None
    gpus = max((resources.get("GPU", 0.0) for resources in nodes), default=0.0)
    if not gpus:
        return TexthashError("training.use_gpu=true, but the cluster has no GPU.", "set training.use_gpu=false.")
    if config.tuning.gpus_per_trial > gpus:
        return TexthashError(
            f"a trial needs {config.tuning.gpus_per_trial:g} GPUs, the node with most has {gpus:g}.",
            "lower tuning.gpus_per_trial.",
        )
    return None
