"""Trial of a sweep: trains in a process of its own, and reports each epoch to Ray Tune and to its tracking run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from texthash.config import Config, TrainingConfig
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.errors import TexthashError
from texthash.methods.base import GradientStage, HashMethod
from texthash.methods.registry import resolved, untrained
from texthash.tracking import Run, Tracker
from texthash.training.checkpoints import LocalCheckpointer, State
from texthash.training.loop import EpochReport, fit
from texthash.tuning.population import Lineage, numbers
from texthash.tuning.spaces import merged

METRIC = "best_validation"


@dataclass(frozen=True)
class TrialSetting:
    """Settings that all trials of a sweep share; pickled for their processes.

    Attributes:
        config: Configuration of the sweep.
        corpus: Directory of the prepared corpus.
        tracker: Tracker that records the trials.
        study: Run in which the trials are nested.
        sweep: Name of the sweep.
        states: Directory in which each trial keeps the state from which it resumes after its process died.
        validate: Score on the validation split.
    """

    config: Config
    corpus: Path
    tracker: Tracker
    study: Run
    sweep: str
    states: Path
    validate: Callable[[HashMethod], float]

    def training(self) -> TrainingConfig:
        """Return the training configuration of a trial: its number of epochs, each validated."""
        epochs = self.config.tuning.epochs or self.config.training.epochs
        return self.config.training.derive(epochs=epochs, validate_every=1, resume=True)

    def key(self, trial_id: str) -> str:
        """Return the key by which a restarted trial and the driver find the trial's run."""
        return f"{self.sweep}/{trial_id}"

    def run(self, trial_id: str, params: Mapping[str, Any]) -> Run:
        """Start the trial's run, nested in the study's, or resume it if the trial was restarted."""
        known = self.tracker.find(self.key(trial_id), self.study.validation)
        if known:
            return known
        method = merged(self.config.method, params)
        config = resolved(self.config.derive(method=method, training=self.training()))
        return self.tracker.start(
            f"trial-{trial_id}",
            parent=self.study,
            params=config.flat(),
            tags={
                "kind": "trial",
                "method": method.name,
                "bits": method.bits,
                "seed": config.training.seed,
                "corpus": self.config.corpus.name,
                "edition": self.config.corpus.edition.name,
                "sweep": self.sweep,
            },
            note=f"{method.name}, {method.bits} bits: " + ", ".join(f"{k}={_short(v)}" for k, v in params.items()),
            key=self.key(trial_id),
            validation=self.study.validation,
        )


def planned_epochs(method: HashMethod, training: TrainingConfig) -> int:
    """Return the number of epochs in which the method is trained; 1 for a method in closed form."""
    return _epochs(method, training, judged=False)


def judged_epochs(method: HashMethod, training: TrainingConfig) -> int:
    """Return the number of epochs that are validated, by which trials can be compared; 1 for a method in closed form.

    Pretraining is not validated.
    """
    return _epochs(method, training, judged=True)


def _epochs(method: HashMethod, training: TrainingConfig, judged: bool) -> int:
    stages = [stage for stage in method.stages() if isinstance(stage, GradientStage)]
    return sum(training.epochs or stage.epochs for stage in stages if stage.selected or not judged) or 1


def epochs_done(history: Sequence[EpochReport]) -> int:
    """Return the number of validated epochs in a history; stages in closed form report no terms."""
    return sum(bool(report.terms) and report.validation is not None for report in history) or 1


def run_trial(params: dict[str, Any], setting: TrialSetting) -> None:
    """Run a trial; called by Ray Tune in the trial's process."""
    from ray import tune

    torch.set_num_threads(max(1, int(setting.config.tuning.cpus_per_trial)))
    trial_id = tune.get_context().get_trial_id()
    run = setting.run(trial_id, params)
    lineage, every = None, 0
    if setting.config.tuning.scheduler == "pbt":
        lineage, every = Lineage(setting.states, trial_id), setting.config.tuning.perturb_epochs
        source = lineage.take_over(tune.get_checkpoint())
        if source:
            run.tags({"copied_from": f"trial {source.trial}, epoch {source.epoch}"})
        if source or not lineage.begun:
            run.metrics(numbers(params), step=source.epoch if source else 0)
    training = setting.training()
    corpus = PreparedCorpus.open(setting.corpus)
    run.dataset(corpus)
    chosen = merged(setting.config.method, params)
    try:
        method, learned = untrained(corpus, chosen, training, setting.config.corpus.features)
        planned = judged_epochs(method, training)
        result = fit(
            method,
            learned.train,
            training,
            validate=setting.validate,
            on_epoch=run.epoch,
            checkpointer=_TuneCheckpointer(setting.states / trial_id, planned, lineage, every),
        )
    except TexthashError as error:
        # A retry would fail in the same way, so for Ray Tune this is an outcome, not a failure.
        tune.report({METRIC: 0.0, "epoch": 0, "planned": 0, "failed": error.problem})
        return
    done = epochs_done(result.history)
    if result.best_validation is None:
        # The state was copied from a trial that was complete, so these values have not been trained with.
        tune.report({METRIC: 0.0, "epoch": done, "planned": planned, "failed": "it copied a trial that was complete"})
        return
    tune.report({METRIC: result.best_validation, "epoch": done, "planned": planned, "trained": True})


class _TuneCheckpointer(LocalCheckpointer):
    """Checkpointer that also reports the validation score to Ray Tune, which may stop the trial there.

    Ray Tune gets no checkpoint, because it deletes old ones, and after a crash of the driver its records can name one
    that is deleted. In a population it gets the name of a state every ``every`` epochs, for other trials to copy.
    """

    def __init__(self, directory: Path, planned: int, lineage: Lineage | None, every: int) -> None:
        super().__init__(directory)
        self.planned, self.lineage, self.every = planned, lineage, every

    def save(self, state: State, metrics: dict[str, float]) -> None:
        from ray import tune

        super().save(state, metrics)
        if state["best"] is None:
            return  # pretraining, which has no validation score
        done = epochs_done([EpochReport(**report) for report in state["history"]])
        metrics_so_far = {METRIC: state["best"], "epoch": done, "planned": self.planned}
        if self.lineage and done % self.every == 0 and done < self.planned:  # a complete trial is not copied
            with self.lineage.named(done) as name:
                tune.report(metrics_so_far, checkpoint=name)
        else:
            tune.report(metrics_so_far)


def outcome_of(last: Mapping[str, Any], error: str | None) -> tuple[str, bool]:
    """Return the outcome of a trial in words, from its last report, and whether its validation score counts."""
    if error is not None:
        return f"failed: {error}", False
    if last.get("failed"):
        return f"failed: {last['failed']}", False
    if "epoch" not in last:
        return "failed: ended without a report", False
    if last.get("trained") or last["epoch"] >= last["planned"]:
        return "completed", True
    return f"stopped by ASHA after epoch {last['epoch']} of {last['planned']}", True


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
