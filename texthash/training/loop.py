"""Training loop of all methods, for one worker or for each of several."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from texthash.config import TrainingConfig
from texthash.corpora.prepared.batches import batches, count_batches
from texthash.corpora.prepared.corpus import Split
from texthash.corpora.prepared.labelled import partly_labelled
from texthash.errors import TexthashError
from texthash.methods.base import ClosedForm, GradientStage, HashMethod, Optimizers, Progress
from texthash.models.encoding import calibrate
from texthash.models.graphs import ensure_views
from texthash.nn.workers import Workers
from texthash.training.checkpoints import Checkpointer, State
from texthash.training.memory import keep_freed_memory


@dataclass(frozen=True)
class EpochReport:
    """Report of one epoch.

    Attributes:
        stage: Name of the stage.
        epoch: Number of the epoch within the stage, from 1.
        epochs: Number of epochs planned for the stage.
        terms: Mean of each loss term over the epoch.
        validation: Validation score, or None if the epoch was not validated.
        seconds: Training time of the epoch, without validation.
        documents_per_second: Throughput of all workers together.
        number: Number of the report over all stages, from 1.
    """

    stage: str
    epoch: int
    epochs: int
    terms: dict[str, float]
    validation: float | None
    seconds: float
    documents_per_second: float
    number: int


@dataclass
class TrainingResult:
    """Fitted method and the history of its training.

    Attributes:
        method: Method with the weights of the best validated epoch of its last stage; without validation, of the last
            epoch.
        history: One report per epoch.
        best_validation: Validation score of these weights; None without validation.
    """

    method: HashMethod
    history: list[EpochReport] = field(default_factory=list)
    best_validation: float | None = None


def fit(
    method: HashMethod,
    train: Split,
    config: TrainingConfig,
    *,
    validate: Callable[[HashMethod], float] | None = None,
    on_epoch: Callable[[EpochReport], None] | None = None,
    checkpointer: Checkpointer | None = None,
) -> TrainingResult:
    """Fit a method through all of its stages.

    Args:
        method: Method as built by the registry.
        train: Training split; the method sees no other split.
        config: Number of epochs, batch size, patience and seed; None selects the method's own value.
        validate: Score on the validation split, higher is better; selects the epoch whose weights are kept.
        on_epoch: Callback of the first worker after each epoch.
        checkpointer: Storage of the state after each epoch, from which an interrupted run resumes.

    Raises:
        TexthashError: A loss term is not finite.
    """
    return _Fit(method, train, config, validate, on_epoch, checkpointer).run()


@dataclass(frozen=True)
class _StageRun:
    """Gradient stage within one call of :func:`fit`.

    Attributes:
        number: Number of the stage, from 0.
        stage: Stage of the method.
        epochs: Number of epochs of the stage.
        batch_size: Number of documents in a global batch.
        steps: Number of batches in an epoch.
        optimizers: Optimizers by name.
        rates: Learning rates of each optimizer's parameter groups, before the schedule.
    """

    number: int
    stage: GradientStage
    epochs: int
    batch_size: int
    steps: int
    optimizers: Optimizers
    rates: dict[str, list[float]]

    def follow_schedule(self, progress: Progress) -> None:
        """Set the learning rates for the next step."""
        factor = self.stage.learning_rate(progress)
        for name, optimizer in self.optimizers.items():
            for group, rate in zip(optimizer.param_groups, self.rates[name], strict=True):
                group["lr"] = rate * factor


class _Fit:
    """State of one call of :func:`fit`."""

    def __init__(
        self,
        method: HashMethod,
        train: Split,
        config: TrainingConfig,
        validate: Callable[[HashMethod], float] | None,
        on_epoch: Callable[[EpochReport], None] | None,
        checkpointer: Checkpointer | None,
    ) -> None:
        self.workers = Workers()
        self.device = _device(config)
        self.method = method.to(self.device)
        self.train, self.config = partly_labelled(train, config.labelled, config.seed), config
        self.validate, self.on_epoch, self.checkpointer = validate, on_epoch, checkpointer
        self.history: list[EpochReport] = []
        self.best: float | None = None
        self.best_weights: State | None = None
        self.stale = 0

    def run(self) -> TrainingResult:
        keep_freed_memory()
        ensure_views(self.method, self.train)
        self.method.setup(self.train)
        saved = self.checkpointer.load() if self.checkpointer and self.config.resume else None
        stages = list(self.method.stages())
        first, epochs_done, optimizer_states = 0, 0, None
        if saved:
            first, epochs_done, optimizer_states = self._restore(saved)
        for number, stage in enumerate(stages[first:], start=first):
            if isinstance(stage, ClosedForm):
                self._closed_form(number, stage)
            else:
                self._gradient_stage(number, stage, epochs_done, optimizer_states)
            epochs_done, optimizer_states = 0, None
        if not stages or isinstance(stages[-1], ClosedForm):
            self._finish_closed_form()
        self.method.eval()
        return TrainingResult(self.method, self.history, self.best)

    # -- stages -----------------------------------------------------------------------------------------------

    def _closed_form(self, number: int, stage: ClosedForm) -> None:
        started = time.perf_counter()
        torch.manual_seed(self._seed(number, 0))
        if self.workers.rank == 0:
            stage.fit(self.train)
        self.workers.broadcast(self.method)
        self._report(EpochReport(stage.name, 1, 1, {}, None, *self._pace(started)))

    def _finish_closed_form(self) -> None:
        started = time.perf_counter()
        calibrate(self.method, self.train)
        self.best = self._validated()
        self._report(EpochReport("thresholds", 1, 1, {}, self.best, *self._pace(started)))

    def _gradient_stage(self, number: int, stage: GradientStage, done: int, states: State | None) -> None:
        run = self._stage_run(number, stage)
        for name, state in (states or {}).items():
            run.optimizers[name].load_state_dict(state)
        if done == 0:
            self.workers.broadcast(self.method)
            self.best, self.best_weights, self.stale = None, None, 0
        for epoch in range(done, run.epochs):
            if self.config.patience and self.stale >= self.config.patience:
                break
            started = time.perf_counter()
            terms = self._epoch(run, epoch)
            pace = self._pace(started)
            last = epoch + 1 == run.epochs
            validation = None
            if stage.selected and (last or (epoch + 1) % self.config.validate_every == 0):
                calibrate(self.method, self.train)
                validation = self._validated()
                self._keep_if_best(validation)
            self._report(EpochReport(stage.name, epoch + 1, run.epochs, terms, validation, *pace))
            self._save(number, epoch + 1, run.optimizers)
        if self.best_weights is not None:
            self.method.load_state_dict(self.best_weights)

    def _stage_run(self, number: int, stage: GradientStage) -> _StageRun:
        optimizers = stage.optimizers()
        batch_size = self.config.batch_size or stage.batch_size
        return _StageRun(
            number=number,
            stage=stage,
            epochs=self.config.epochs or stage.epochs,
            batch_size=batch_size,
            steps=count_batches(self.train, batch_size, self.method.inputs, self.workers.size),
            optimizers=optimizers,
            rates={name: [group["lr"] for group in o.param_groups] for name, o in optimizers.items()},
        )

    def _epoch(self, run: _StageRun, epoch: int) -> dict[str, float]:
        """Make one pass over the training documents, and return the mean of each loss term.

        All randomness is a function of (seed, stage, epoch, worker), so a resumed run repeats an uninterrupted one.
        """
        base = self._seed(run.number, epoch)
        torch.manual_seed(base + 1 + self.workers.rank)
        progress = Progress(
            step=epoch * run.steps,
            total=run.epochs * run.steps,
            epoch=epoch,
            generator=torch.Generator(self.device).manual_seed(base + 1 + self.workers.rank),
            workers=self.workers,
        )
        self.method.train()
        sums: dict[str, torch.Tensor] = {}
        steps: Counter[str] = Counter()
        for batch in batches(
            self.train,
            run.batch_size,
            self.method.inputs,
            shuffle_seed=base,
            rank=self.workers.rank,
            workers=self.workers.size,
        ):
            run.follow_schedule(progress)
            with self._precision():
                terms = run.stage.step(batch.to(self.device), progress, run.optimizers)
            for name, value in terms.items():
                sums[name] = sums.get(name, 0) + value.detach()
                steps[name] += 1
            progress.step += 1
        # A term that only some steps have is averaged over those steps.
        means = {name: float(self.workers.mean(total)) / steps[name] for name, total in sums.items()}
        _check_finite(means, run.stage.name, epoch + 1)
        return means

    # -- bookkeeping ------------------------------------------------------------------------------------------

    def _seed(self, stage: int, epoch: int) -> int:
        """Return the seed of an epoch; worker i adds i to it."""
        return (self.config.seed * 1_000_003 + stage * 10_007 + epoch) * 1_009

    def _precision(self) -> AbstractContextManager[Any]:
        if self.config.autocast == "bf16":
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return nullcontext()

    def _validated(self) -> float | None:
        """Return the validation score, which the first worker computes and sends to the others."""
        if self.validate is None:
            return None
        return self.workers.share_number(self.validate(self.method) if self.workers.rank == 0 else None)

    def _keep_if_best(self, validation: float | None) -> None:
        if validation is None:
            return
        if self.best is None or validation > self.best:
            self.best, self.stale = validation, 0
            self.best_weights = {k: v.detach().to("cpu", copy=True) for k, v in self.method.state_dict().items()}
        else:
            self.stale += 1

    def _pace(self, started: float) -> tuple[float, float, int]:
        """Return seconds since ``started``, documents per second over all workers, and the next report's number."""
        seconds = time.perf_counter() - started
        return seconds, len(self.train) / max(seconds, 1e-9), len(self.history) + 1

    def _report(self, report: EpochReport) -> None:
        self.history.append(report)
        if self.on_epoch and self.workers.rank == 0:
            self.on_epoch(report)

    def _save(self, stage: int, epoch: int, optimizers: Optimizers) -> None:
        if self.checkpointer is None:
            return
        state = {
            "stage": stage,
            "epoch": epoch,
            "method": self.method.state_dict(),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in optimizers.items()},
            "best": self.best,
            "best_weights": self.best_weights,
            "stale": self.stale,
            "history": [asdict(report) for report in self.history],
        }
        last = self.history[-1]
        metrics = {**last.terms, "epoch": float(epoch)}
        if self.best is not None:
            metrics["best_validation"] = self.best
        self.checkpointer.save(state, metrics)

    def _restore(self, saved: State) -> tuple[int, int, State]:
        self.method.load_state_dict(saved["method"])
        self.best, self.best_weights, self.stale = saved["best"], saved["best_weights"], saved["stale"]
        self.history = [EpochReport(**report) for report in saved["history"]]
        return saved["stage"], saved["epoch"], saved["optimizers"]


def _device(config: TrainingConfig) -> torch.device:
    if not config.use_gpu:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise TexthashError(
            "training.use_gpu=true, but torch finds no CUDA device.",
            "set training.use_gpu=false, or install a build of torch with CUDA.",
        )
    return torch.device("cuda", torch.cuda.current_device())


def _check_finite(terms: dict[str, float], stage: str, epoch: int) -> None:
    for name, value in terms.items():
        if not torch.isfinite(torch.tensor(value)):
            raise TexthashError(
                f"the loss term {name!r} is {value} in epoch {epoch} of stage {stage!r}.",
                "lower the learning rate or the weight of that term.",
            )
