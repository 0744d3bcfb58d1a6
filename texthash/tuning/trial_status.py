"""Outcome of each trial, which the driver of a sweep logs and records in the tracking store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ray.tune import Callback

from texthash.progress import log_line
from texthash.tuning.trial import METRIC, TrialSetting, outcome_of

if TYPE_CHECKING:
    from ray.tune.experiment import Trial


class OutcomeRecorder(Callback):
    """Callback of Ray Tune that ends the run of each trial; a trial that is stopped, or dies, cannot do so itself.

    Args:
        setting: Settings of the trials.
        trials: Number of trials of the sweep.
    """

    def __init__(self, setting: TrialSetting, trials: int) -> None:
        self.setting, self.trials = setting, trials

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._end(trials, trial, None)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        lines = str(trial.get_error() or "its process died").strip().splitlines()
        self._end(trials, trial, lines[-1] if lines else "its process died")

    def _end(self, trials: list[Trial], trial: Trial, error: str | None) -> None:
        last = trial.last_result or {}
        fate, counts = outcome_of(last, error)
        run = self.setting.run(trial.trial_id, trial.config)
        run.tags({"fate": fate})
        run.end("FINISHED" if counts else "FAILED", None if counts else fate)
        number = 1 + sum(other.is_finished() for other in trials if other is not trial)
        figure = f"{self.setting.study.validation} {last[METRIC]:.4f}, " if counts else ""
        values = ", ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in trial.config.items())
        log_line(f"tune: trial {number}/{self.trials} {figure}{fate} ({values})")
