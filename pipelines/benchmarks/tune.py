"""Throughput of a sweep with concurrent trials, beside the same trials one after another.

All engines train the same method for the same epochs, validated after each; only the learning rate differs between
trials, so every trial is the same amount of work, and none is stopped early. ``plain_loop`` is a loop over the trials
in one process without Ray, tracking and checkpoints; ``sweep`` is ``texthash tune`` with a number of trials at a time.
``times_one_by_one`` is the throughput relative to the sweep with one trial at a time.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from benchmarks.reporting import JsonOption, report
from texthash.cluster import cluster
from texthash.config import Config, load_config
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.executor import RayExecutor
from texthash.experiments.corpora import prepare
from texthash.experiments.experiment import Experiment
from texthash.methods.registry import build, hyperparameters
from texthash.paths import StateDir, resolve_home
from texthash.progress import log_line
from texthash.training.loop import fit
from texthash.tuning.spaces import free_space

_SWEEPS = Path(__file__).parents[2] / "configs" / "sweeps"
_SEARCHED = "learning_rate"


def command(
    json: JsonOption = None,
    config: Annotated[Path, typer.Option(help="Sweep to measure.")] = _SWEEPS / "nash.yaml",
    trials: Annotated[int, typer.Option(min=1, help="Number of trials of each sweep.")] = 20,
    epochs: Annotated[int, typer.Option(min=1, help="Number of epochs of a trial.")] = 5,
    concurrent: Annotated[int, typer.Option(min=2, help="Number of trials at a time.")] = 2,
    plain: Annotated[bool, typer.Option(help="Measure the loop without Ray too.")] = True,
) -> None:
    """Measure the throughput of a sweep with concurrent trials, and with one at a time."""
    settings = _settings(config, trials, epochs)
    home = resolve_home()
    rows: list[dict[str, Any]] = []
    with cluster():
        corpus = prepare(settings, home, executor=RayExecutor())
        _sweep(_settings(config, 1, 1), home, corpus, 1)  # starts processes, fills caches
        for at_a_time in (1, concurrent):
            seconds = _sweep(settings, home, corpus, at_a_time)
            rows.append(_row("sweep", settings, at_a_time, 1, seconds))
    if plain:
        for threads in (1, os.cpu_count() or 1):
            rows.append(_row("plain_loop", settings, 1, threads, _loop(settings, corpus, threads)))
    for row in rows:
        row["times_one_by_one"] = round(rows[0]["seconds"] / row["seconds"], 2)
    report(f"{trials} trials of {settings.method.name}, {epochs} epochs each", rows, json)


def _settings(config: Path, trials: int, epochs: int) -> Config:
    """Return the configuration of a sweep of the learning rate alone; all else has its default."""
    given = load_config(config, [f"tuning.trials={trials}", f"tuning.epochs={epochs}", f"tuning.grace_epochs={epochs}"])
    defaults = hyperparameters(given.method.name)
    fixed = {name: defaults[name] for name in free_space(given) if name != _SEARCHED}
    return given.derive(method={"params": {**fixed, **given.method.params}})


def _sweep(settings: Config, home: StateDir, corpus: PreparedCorpus, at_a_time: int) -> float:
    """Return the seconds of a sweep, whose runs are stored in a separate directory."""
    log_line(f"sweep of {settings.tuning.trials} trials, {at_a_time} at a time")
    settings = settings.derive(tuning={"concurrent": at_a_time, "resume": False})
    with tempfile.TemporaryDirectory(prefix="texthash-sweep-") as scratch:
        study = Experiment(settings, StateDir(Path(scratch), str(home.store)), corpus)
        started = time.perf_counter()
        parent, _ = study.search()
        seconds = time.perf_counter() - started
        parent.end()
    return seconds


def _loop(settings: Config, corpus: PreparedCorpus, threads: int) -> float:
    """Return the seconds of the same trials in this process."""
    log_line(f"plain loop over {settings.tuning.trials} trials, {threads} threads")
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    training = settings.training.derive(epochs=settings.tuning.epochs)
    validate = Experiment(settings, resolve_home(), corpus).protocol.validator()
    started = time.perf_counter()
    for trial in range(settings.tuning.trials):
        params = {**settings.method.params, _SEARCHED: 1e-3 * (1 + trial / settings.tuning.trials)}
        method = build(settings.method.name, corpus.shape, settings.method.bits, params)
        fit(method, corpus.train, training, validate=validate)
    seconds = time.perf_counter() - started
    torch.set_num_threads(before)
    return seconds


def _row(engine: str, settings: Config, at_a_time: int, threads: int, seconds: float) -> dict[str, Any]:
    return {
        "engine": engine,
        "method": settings.method.name,
        "trials": settings.tuning.trials,
        "epochs": settings.tuning.epochs,
        "concurrent": at_a_time,
        "threads": threads,
        "seconds": round(seconds, 1),
        "trials_per_minute": round(60 * settings.tuning.trials / seconds, 2),
    }
