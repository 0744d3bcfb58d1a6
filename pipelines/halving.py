"""Successive halving in this process: settings train to the same number of epochs, and the best third goes on.

For searches whose trials are shorter than the start of a cluster, and have to be alike for many methods: settings are
drawn by a seed, all of them train for a ninth of their epochs, the best third for a third, and the best third of those
to the end; settings that are known already can be kept to the end. :mod:`texthash.tuning.sweep` searches on a cluster.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from texthash.config import MethodConfig, TrainingConfig
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.errors import TexthashError, UsageError
from texthash.methods.base import HashMethod
from texthash.methods.registry import untrained
from texthash.nn.spaces import Choice, IntUniform, LogUniform, SearchSpace, Space, Uniform
from texthash.progress import log_line
from texthash.training.checkpoints import LocalCheckpointer, State
from texthash.training.loop import EpochReport, fit
from texthash.tuning.trial import epochs_done, judged_epochs

REDUCTION = 3
RUNGS = 3
_FIRST = 2  # epochs before a trial may be stopped
_DIGITS = 3  # of a number that is drawn: settings are printed, and have to be the same when they are read again


@dataclass(frozen=True)
class HalvingTrial:
    """A setting and how far it has come.

    Attributes:
        number: Number of the trial, from 0.
        origin: Where the setting comes from: ``sampled``, or the name under which it was given.
        params: Hyper-parameters that differ from the defaults.
        rung: Number of rungs reached, 0 before the first; the last one for a trial whose training has ended.
        epochs: Number of epochs trained.
        validation: Best validation score so far; None before the first rung, and for one that failed.
        failure: Reason why training failed; empty for others.
    """

    number: int
    origin: str
    params: Mapping[str, Any]
    rung: int = 0
    epochs: int = 0
    validation: float | None = None
    failure: str = ""

    @property
    def outcome(self) -> str:
        """Number, origin and score of the trial, in words."""
        score = self.failure or f"{self.validation or 0:.4f} after {self.epochs} epochs"
        return f"trial {self.number} ({self.origin}): {score}"


def draw(space: SearchSpace, count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Return random settings of a space, each different if the space has as many; the same for the same arguments."""
    rng = np.random.default_rng(seed)
    drawn: list[dict[str, Any]] = []
    tries = 0
    while len(drawn) < count:
        setting = {name: _value(space[name], rng) for name in sorted(space)}
        tries += 1
        if setting not in drawn or tries > 100 * count:
            drawn.append(setting)
    return drawn


def first_trials(
    space: SearchSpace, given: Mapping[str, Mapping[str, Any]], count: int, seed: int = 0
) -> list[HalvingTrial]:
    """Return the trials of a search: the given settings, by name, and as many random ones as are left of ``count``.

    Raises:
        UsageError: More settings are given than there are trials.
    """
    if len(given) > count:
        raise UsageError(f"{len(given)} settings are given for {count} trials.", "search with more trials.")
    settings = [*given.items(), *(("sampled", params) for params in draw(space, count - len(given), seed))]
    return [HalvingTrial(number, origin, params) for number, (origin, params) in enumerate(settings)]


def halve(
    trials: Sequence[HalvingTrial],
    advance: Callable[[HalvingTrial, int], HalvingTrial],
    record: Callable[[Sequence[HalvingTrial]], None],
    keep: frozenset[str] = frozenset(),
) -> list[HalvingTrial]:
    """Train the trials rung by rung, and return them as they ended, best first.

    Args:
        trials: Trials as they are, some of which may have reached a rung before an interruption.
        advance: Function of a trial and a rung (1 to ``RUNGS``), which trains the trial to that rung.
        record: Function of all trials, called after each one that was trained.
        keep: Origins of trials that train to the end whatever their rank, so that none of them is lost to a slow start.
    """
    current = {trial.number: trial for trial in trials}
    going = list(current)
    for rung in range(1, RUNGS + 1):
        for number in going:
            if current[number].rung < rung and not current[number].failure:
                current[number] = advance(current[number], rung)
                log_line(f"search: {current[number].outcome}")
                record(list(current.values()))
        going = sorted(going, key=lambda number: _rank(current[number]))
        best = math.ceil(len(going) / REDUCTION)
        going = going[:best] + [number for number in going[best:] if current[number].origin in keep]
    # The end of training decides; a trial that was stopped cannot win by the score it was stopped at.
    return sorted(current.values(), key=lambda trial: (-trial.rung, *_rank(trial)))


def rung_epochs(rung: int, planned: int) -> int:
    """Return the number of epochs of a rung: 1/9, 1/3 and all of the planned ones, and two at least."""
    return min(planned, max(_FIRST, math.ceil(planned / REDUCTION ** (RUNGS - rung))))


@dataclass(frozen=True)
class HalvingSetting:
    """Settings that all trials of a search share, and where their states are kept.

    Attributes:
        method: Name of the method.
        bits: Length of the code.
        corpus: Prepared corpus.
        encoder: Name of the encoder whose vectors are features; None for none.
        training: Configuration of training; its seed is that of each trial.
        validate: Score on the validation split.
        states: Directory of the states from which trials go on.
    """

    method: str
    bits: int
    corpus: PreparedCorpus
    encoder: str | None
    training: TrainingConfig
    validate: Callable[[HashMethod], float]
    states: Path

    def advance(self, trial: HalvingTrial, rung: int) -> HalvingTrial:
        """Train a trial to a rung; it goes on from its state, or from the start if that is gone."""
        directory = self.states / f"trial-{trial.number}"
        try:
            chosen = MethodConfig(name=self.method, bits=self.bits, params=dict(trial.params))
            method, learned = untrained(self.corpus, chosen, self.training, self.encoder)
            planned = judged_epochs(method, self.training)
            pause = _Pause(directory, rung_epochs(rung, planned))
            result = fit(method, learned.train, self.training, validate=self.validate, checkpointer=pause)
        except _PausedError as paused:
            return replace(trial, rung=rung, epochs=epochs_done(paused.history), validation=paused.best)
        except TexthashError as error:
            return replace(trial, rung=0, validation=None, failure=error.problem)
        # At the last rung, in closed form, or out of patience: there is nothing to go on with.
        shutil.rmtree(directory, ignore_errors=True)
        return replace(trial, rung=RUNGS, epochs=epochs_done(result.history), validation=result.best_validation)


class _PausedError(Exception):
    """Raised in place of going on when a trial has reached its rung."""

    def __init__(self, state: State) -> None:
        super().__init__()
        self.best: float = state["best"]
        self.history = _history(state)


class _Pause(LocalCheckpointer):
    """Checkpointer that keeps the state of one epoch, after which training pauses, unless it is the last."""

    def __init__(self, directory: Path, epochs: int) -> None:
        super().__init__(directory)
        self.epochs = epochs

    def load(self) -> State | None:
        state = super().load()
        if state is not None and self._reached(state):
            raise _PausedError(state)  # reached by a process that ended before it could say so
        return state

    def save(self, state: State, metrics: dict[str, float]) -> None:
        if state["best"] is None:
            return  # pretraining, which has no validation score
        if self._reached(state):
            super().save(state, metrics)
            raise _PausedError(state)

    def _reached(self, state: State) -> bool:
        history = _history(state)
        return epochs_done(history) >= self.epochs and history[-1].epoch < history[-1].epochs


def _history(state: State) -> list[EpochReport]:
    return [EpochReport(**report) for report in state["history"]]


def _rank(trial: HalvingTrial) -> tuple[float, int]:
    return -(trial.validation if trial.validation is not None else -1.0), trial.number


def _value(space: Space, rng: np.random.Generator) -> Any:
    match space:
        case Uniform(low, high):
            return _rounded(rng.uniform(low, high))
        case LogUniform(low, high):
            return _rounded(math.exp(rng.uniform(math.log(low), math.log(high))))
        case IntUniform(low, high):
            return int(rng.integers(low, high + 1))
        case Choice(options):
            return options[int(rng.integers(len(options)))]


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
