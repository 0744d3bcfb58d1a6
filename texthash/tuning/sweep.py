"""Hyper-parameter search: Optuna proposes, Ray Tune runs several trials at a time, and ASHA stops poor ones early.

``tuning.scheduler=pbt`` runs population based training instead (:mod:`texthash.tuning.population`).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from texthash.config import Config
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.errors import TexthashError
from texthash.io.atomic import remove_directory
from texthash.methods.base import HashMethod
from texthash.methods.registry import untrained
from texthash.nodes import wait_for
from texthash.progress import log_line
from texthash.tracking import Run, Tracker
from texthash.tuning import population
from texthash.tuning.ray_state import can_continue
from texthash.tuning.spaces import free_space, starting_point, to_tune
from texthash.tuning.sweep_record import Sweep, SweepResult, TrialRecord
from texthash.tuning.trial import METRIC, TrialSetting, judged_epochs, outcome_of, run_trial
from texthash.tuning.trial_status import OutcomeRecorder

if TYPE_CHECKING:
    from ray.tune import ResultGrid, Tuner
    from ray.tune.schedulers import TrialScheduler
    from ray.tune.search import SearchAlgorithm, Searcher

REDUCTION = 3


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
    remove_directory(sweep.states)
    return SweepResult(best.params, best.validation, records, sweep.directory)


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
    if can_continue(sweep.directory) and tune.Tuner.can_restore(str(sweep.directory)):
        log_line(f"tune: continuing {sweep.directory.name}")
        return tune.Tuner.restore(str(sweep.directory), trainable, resume_unfinished=True, restart_errored=True)
    space = free_space(config)
    starting = starting_point(config.method, space)
    first = [starting] if starting is not None else None
    probe, _ = untrained(corpus, config.method, config.training, config.corpus.features)
    planned, grace = judged_epochs(probe, setting.training()), config.tuning.grace_epochs
    scheduler: TrialScheduler | None = None  # a trial no longer than the grace period cannot be stopped early
    search: SearchAlgorithm | Searcher = OptunaSearch(seed=config.tuning.seed, points_to_evaluate=first)
    concurrent: int | None = config.tuning.concurrent
    stop: dict[str, Any] | None = None
    if config.tuning.scheduler == "pbt":
        # Trials take turns if the cluster cannot run all at once; a limit of concurrent trials would prevent that.
        scheduler, concurrent = population.scheduler(config, space, probe.shape), None
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
