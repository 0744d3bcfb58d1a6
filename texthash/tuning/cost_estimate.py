"""Estimate of a sweep's cost: epochs from its configuration, seconds from models trained before."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from texthash.config import Config
from texthash.corpora.prepared.corpus import CorpusShape
from texthash.io.listing import matching
from texthash.io.records import read_all, read_typed
from texthash.methods.registry import build, distinct_seeds, resolved
from texthash.models.files import age_of
from texthash.paths import StateDir
from texthash.tuning.sweep import REDUCTION
from texthash.tuning.trial import planned_epochs

# Sizes of a stand-in corpus, since only the stages are needed, which do not depend on them.
_WORDS, _DOCUMENTS = 2_048, 10_000


# Members of a trained model's record that an estimate needs.
@dataclass(frozen=True)
class _Method:
    name: str
    bits: int


@dataclass(frozen=True)
class _Settings:
    method: _Method


@dataclass(frozen=True)
class _Epoch:
    seconds: float
    terms: dict[str, float]


@dataclass(frozen=True)
class _Trained:
    config: _Settings
    history: list[_Epoch]
    number: int = 0
    created: str = ""


def cost(config: Config, home: StateDir) -> dict[str, Any]:
    """Estimate the epochs of a sweep, and its seconds if a model of the method was trained on the corpus before.

    ASHA stops trials early: at least, each runs its grace period, and a third of those that reach a rung continue to
    the next, after three times as many epochs. At most, all run to their end, as those of a population do. The final
    models, one per seed, are added to both.

    Returns:
        Plain values; seconds are null if no trained model has measured the time of an epoch.
    """
    tuning = config.tuning
    shape = CorpusShape(max(_WORDS, 2 * config.method.bits), 10, _DOCUMENTS)
    chosen = resolved(config).method
    method = build(chosen.name, shape, chosen.bits, chosen.params)
    final = planned_epochs(method, config.training)
    epochs = tuning.epochs or final
    most = tuning.trials * epochs
    least, alive, done = 0, tuning.trials, 0
    rung = min(tuning.grace_epochs, epochs)
    while alive and done < epochs:
        least += alive * (rung - done)
        alive = max(1, alive // REDUCTION) if tuning.scheduler == "asha" else alive
        done, rung = rung, min(rung * REDUCTION, epochs)
    finals = final * len(distinct_seeds(chosen.name, config.seeds))
    source, seconds = _seconds_of_an_epoch(config, home)
    side_by_side = max(1, min(tuning.concurrent, tuning.trials))

    def time(of_trials: int) -> float | None:
        return None if seconds is None else round(seconds * (of_trials / side_by_side + finals), 1)

    return {
        "trials": tuning.trials,
        "concurrent": tuning.concurrent,
        "epochs_of_a_trial": epochs,
        "epochs_at_least": least,
        "epochs_at_most": most,
        "epochs_of_final_models": finals,
        "seconds_of_an_epoch": seconds,
        "measured_on": source,
        "seconds_at_least": time(least),
        "seconds_at_most": time(most),
    }


def _seconds_of_an_epoch(config: Config, home: StateDir) -> tuple[str | None, float | None]:
    """Return the newest model of the method on the corpus at the nearest width, and its mean seconds per epoch."""
    pattern = f"{config.method.name}-{config.corpus.name}-{config.corpus.edition.name}-*/run.json"
    found = []

    def dated(path: Path) -> tuple[Path, _Trained, float]:
        return path, read_typed(_Trained, path, "train the model again.", partly=True), path.stat().st_mtime

    for path, record, modified in read_all(matching(home.runs / "models", pattern), dated, broken="log"):
        method = record.config.method
        if method.name != config.method.name:
            continue
        seconds = [report.seconds for report in record.history if report.terms]
        if seconds:
            distance = abs(method.bits - config.method.bits)
            age = age_of(record.number, record.created, modified)
            found.append((-distance, age, path.parent.name, sum(seconds) / len(seconds)))
    if not found:
        return None, None
    _, _, name, mean = max(found)
    return name, round(mean, 3)
