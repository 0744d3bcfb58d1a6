"""Training loop on Ray Train: one or more workers, a checkpoint per epoch, and recovery from the death of a worker."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from texthash.config import ClusterConfig, MethodConfig, TrainingConfig
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.errors import CorpusError, TexthashError
from texthash.executor import RayExecutor
from texthash.io.atomic import remove_directory
from texthash.io.records import is_record
from texthash.methods.base import HashMethod
from texthash.methods.registry import untrained
from texthash.models.graphs import ensure_views
from texthash.nodes import wait_for
from texthash.progress import log_line
from texthash.training.checkpoints import State, read_state, write_state
from texthash.training.loop import EpochReport, TrainingResult, fit

if TYPE_CHECKING:
    from ray.train import ScalingConfig

_STATE, _RESULT = "checkpoint.pt", "result.pt"
_LIST = "checkpoint_manager_snapshot.json"  # of Ray Train
# Longest time that workers wait for another one, which may be fitting a teacher or validating. The death of a worker
# ends the wait of the others at once, so this only bounds a hang.
_SILENCE_S = 4 * 3600


@dataclass(frozen=True)
class _Job:
    """Arguments of every worker."""

    method: MethodConfig
    corpus: Path
    training: TrainingConfig
    validate: Callable[[HashMethod], float] | None
    on_epoch: Callable[[EpochReport], None] | None
    encoder: str | None


class _RayCheckpointer:
    """Checkpointer that reports the state to Ray Train, which gives it to the workers after a restart."""

    def load(self) -> State | None:
        return _read_latest(_STATE)

    def save(self, state: State, metrics: dict[str, float]) -> None:
        _report(metrics, _STATE, state)


def train_distributed(
    method: MethodConfig,
    corpus: Path,
    training: TrainingConfig,
    *,
    storage: Path,
    name: str,
    validate: Callable[[HashMethod], float] | None = None,
    on_epoch: Callable[[EpochReport], None] | None = None,
    encoder: str | None = None,
    cluster: ClusterConfig | None = None,
) -> TrainingResult:
    """Fit a method on the Ray cluster of this process.

    Each worker maps the prepared corpus from its path and reads its share of every global batch, so that N workers see
    the same batches as one. If the name is that of an interrupted run, training resumes after its last epoch; if that
    run was complete, its result is returned. The caller removes the checkpoints, ``storage / name``, once it has stored
    the result.

    Args:
        method: Name, width and hyper-parameters of the method.
        corpus: Directory of a prepared corpus, visible from every node.
        training: Configuration of the loop and of its workers.
        storage: Directory or object-store path for checkpoints, visible from every node.
        name: Name of the run, unique within ``storage``.
        validate: Score on the validation split, computed by the first worker; must be picklable.
        on_epoch: Callback of the first worker after each epoch; must be picklable. An epoch that is repeated after the
            death of a worker is reported again.
        encoder: Source of the vectors that the method learns from, if any.
        cluster: Waiting for nodes, and placement of the workers on them; None takes the defaults.

    Returns:
        The fitted method, in this process, with the history of the run.

    Raises:
        TexthashError: Training failed more often than ``max_failures``, a loss term is not finite, or the corpus is
            missing.
    """
    from ray.train import CheckpointConfig, FailureConfig, LoggingConfig, RunConfig
    from ray.train.torch import TorchConfig, TorchTrainer
    from ray.train.v2.api.exceptions import TrainingFailedError

    cluster = cluster or ClusterConfig()
    wait_for(partial(_missing_resources, training), cluster.wait_s, [_resources(training)] * training.workers)
    place = storage.absolute() / name
    if place.exists() and not (training.resume and _is_whole(place)):
        remove_directory(place)
    # All checkpoints are of this run by now, so workers that restart after a death resume from them in any case.
    resuming = training.derive(resume=True)
    corpus = corpus.absolute()
    _make_views(method, corpus, training, encoder)
    trainer = TorchTrainer(
        _work,
        train_loop_config={"job": _Job(method, corpus, resuming, validate, on_epoch, encoder)},
        scaling_config=scaling_of(training, cluster),
        torch_config=TorchConfig(backend="nccl" if training.use_gpu else "gloo", timeout_s=_SILENCE_S),
        run_config=RunConfig(
            name=name,
            storage_path=str(storage.absolute()),
            failure_config=FailureConfig(max_failures=training.max_failures),
            checkpoint_config=CheckpointConfig(num_to_keep=2),
            logging_config=LoggingConfig(log_level="WARNING"),  # type: ignore[call-arg]  # typed as Train V1
        ),
    )
    try:
        outcome = trainer.fit()
    except TrainingFailedError as error:
        raise _reason(error, name, training.max_failures) from error
    if outcome.checkpoint is None:
        raise TexthashError(f"the run {name} left no result in {place}.", "delete that directory and train again.")
    with outcome.checkpoint.as_directory() as directory:
        return _rebuild(method, corpus, training, encoder, read_state(Path(directory) / _RESULT))


def _is_whole(place: Path) -> bool:
    """Return whether Ray Train can read its list of a run's checkpoints, which it writes in place; log if it cannot."""
    listed = place / _LIST
    if not listed.exists() or is_record(listed):
        return True
    log_line(f"train: {listed} is broken, as a full disk leaves it: the training begins anew")
    return False


def scaling_of(training: TrainingConfig, cluster: ClusterConfig) -> ScalingConfig:
    """Return number, resources and placement of the workers in the form of Ray Train."""
    from ray.train import ScalingConfig

    most = training.max_workers
    return ScalingConfig(  # type: ignore[call-arg]  # typed as Train V1
        num_workers=training.workers if most is None else (training.workers, most),  # type: ignore[arg-type]
        use_gpu=training.use_gpu,
        resources_per_worker=_resources(training),
        placement_strategy=cluster.placement_strategy,
        label_selector=cluster.label_selector or None,
        accelerator_type=cluster.accelerator_type,
    )


def _resources(training: TrainingConfig) -> dict[str, float]:
    """Return what each worker claims."""
    return {"CPU": training.cpus_per_worker} | ({"GPU": 1} if training.use_gpu else {})


def _make_views(method: MethodConfig, corpus: Path, training: TrainingConfig, encoder: str | None) -> None:
    """Compute neighbour graphs and weak codes on the whole cluster, before the workers need them."""
    probe, learned = untrained(PreparedCorpus.open(corpus), method, training, encoder)
    ensure_views(probe, learned.train, RayExecutor())


def _work(config: dict[str, Any]) -> None:
    """Train as one worker, and report the result."""
    job: _Job = config["job"]
    torch.set_num_threads(1)
    logging.getLogger().setLevel(logging.WARNING)  # Ray Train sets INFO, and logs every report
    finished = _read_latest(_RESULT)
    if finished is not None:  # the worker died between its result and the end of the run
        _report({"finished": 1.0}, _RESULT, finished)
        return
    try:
        corpus = PreparedCorpus.open(job.corpus)
    except CorpusError as error:
        raise CorpusError(
            f"on node {os.uname().nodename}: {error.problem}",
            "set TEXTHASH_HOME to a directory that all nodes share.",
        ) from error
    method, learned = untrained(corpus, job.method, job.training, job.encoder)
    result = fit(
        method,
        learned.train,
        job.training,
        validate=job.validate,
        on_epoch=job.on_epoch,
        checkpointer=_RayCheckpointer(),
    )
    final = {
        "method": {name: tensor.cpu() for name, tensor in result.method.inference_state_dict().items()},
        "history": [asdict(report) for report in result.history],
        "best_validation": result.best_validation,
    }
    _report({"finished": 1.0}, _RESULT, final)


def _report(metrics: dict[str, float], name: str, state: State) -> None:
    """Report to Ray Train as every worker has to; the first worker's state becomes the checkpoint."""
    from ray import train

    if train.get_context().get_world_rank() != 0:
        train.report(metrics)
        return
    with tempfile.TemporaryDirectory(prefix="texthash-checkpoint-") as scratch:
        write_state(state, Path(scratch) / name)
        train.report(metrics, checkpoint=train.Checkpoint.from_directory(scratch))


def _read_latest(name: str) -> State | None:
    from ray import train

    checkpoint = train.get_checkpoint()
    if checkpoint is None:
        return None
    with checkpoint.as_directory() as directory:
        path = Path(directory) / name
        return read_state(path) if path.is_file() else None


def _rebuild(
    method: MethodConfig, corpus: Path, training: TrainingConfig, encoder: str | None, final: State
) -> TrainingResult:
    fitted, _ = untrained(PreparedCorpus.open(corpus), method, training, encoder)
    fitted.load_state_dict(final["method"])
    history = [EpochReport(**report) for report in final["history"]]
    return TrainingResult(fitted.eval(), history, final["best_validation"])


def _missing_resources(training: TrainingConfig) -> TexthashError | None:
    """Return what the cluster has too little of for all workers, which would wait for it without end."""
    import ray

    for resource, wanted, key in (
        ("CPU", training.workers * training.cpus_per_worker, "training.cpus_per_worker"),
        ("GPU", float(training.workers if training.use_gpu else 0), "training.use_gpu=false"),
    ):
        there = ray.cluster_resources().get(resource, 0.0)
        if wanted > there:
            return TexthashError(
                f"training.workers={training.workers} needs {wanted:g} {resource}s, the cluster has {there:g}.",
                f"lower training.workers or set {key}, or add nodes.",
            )
    return None


def _reason(error: Exception, name: str, max_failures: int) -> TexthashError:
    """Return texthash's own error if a worker raised one, otherwise an error with the first failure's last line."""
    failures = getattr(error, "worker_failures", {})
    for failure in failures.values():
        cause: BaseException | None = failure
        while cause is not None:
            if isinstance(cause, TexthashError):
                return type(cause)(cause.problem, cause.remedy)
            cause = getattr(cause, "cause", None) or cause.__cause__
    lost = next((failure for failure in failures.values() if _is_loss(failure)), None)
    if lost is not None:
        return TexthashError(
            f"training {name} failed: workers were lost, with their nodes or processes, more often than "
            f"training.max_failures={max_failures} allows; the last loss: {_line(lost)}",
            "its checkpoints are kept: run the same command again, which resumes after the last epoch; raise "
            "training.max_failures if nodes are unreliable.",
        )
    first = str(next(iter(failures.values()), error)).strip().splitlines()
    return TexthashError(
        f"training {name} failed: {first[-1] if first else error!r}",
        "read the workers' output above; raise training.max_failures if nodes are unreliable.",
    )


def _is_loss(failure: BaseException) -> bool:
    """Return whether a worker failed because its process or node has died, or stopped to answer."""
    from ray.exceptions import NodeDiedError, RayActorError, WorkerCrashedError
    from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError, WorkerHealthCheckTimeoutError

    kinds = (
        NodeDiedError,
        RayActorError,
        WorkerCrashedError,
        WorkerHealthCheckFailedError,
        WorkerHealthCheckTimeoutError,
    )
    return isinstance(failure, kinds)


def _line(failure: BaseException) -> str:
    """Return the first line of an error that says something."""
    return next((line.strip() for line in str(failure).splitlines() if line.strip()), type(failure).__name__)
