"""Wrong clocks and copied files: the newest model, run and sweep are told by what was written when they were made."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from texthash.config import Config, parse_config
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.experiments.experiment import Experiment
from texthash.experiments.trained_models import TrainedModel, find_model, oldest_first
from texthash.paths import StateDir
from texthash.tuning.cost_estimate import cost
from texthash.tuning.sweep_record import open_sweep

_DAY_S = 86_400


@pytest.fixture
def config(small_corpus: PreparedCorpus) -> Config:
    return parse_config(
        {
            "corpus": small_corpus.manifest.config.model_dump(mode="json"),
            "method": {"name": "nash", "bits": 16, "params": {"hidden": 16}},
            "training": {"epochs": 2, "batch_size": 256},
            "tuning": {"trials": 2, "resume": False},
        }
    )


def test_the_newest_model_is_the_one_that_was_trained_last(
    config: Config, small_corpus: PreparedCorpus, tmp_path: Path
) -> None:
    study = Experiment(config, StateDir(tmp_path / "home"), small_corpus)
    models = [study.train(seed) for seed in (2, 0, 1)]
    assert [model.number for model in models] == [1, 2, 3]
    _set_times([model.directory for model in reversed(models)])  # as a clock that is set back between them leaves them
    assert find_model(study.home, "latest") == models[2]
    assert oldest_first(study.home) == [model.name for model in models]
    estimate = cost(config, study.home)
    assert estimate["measured_on"] == models[2].name

    copied = StateDir(tmp_path / "copied")
    shutil.copytree(study.home.root, copied.root, copy_function=shutil.copyfile)
    _set_times([copied.runs / "models" / model.name for model in models], at_once=True)
    assert find_model(copied, "latest").name == models[2].name

    _make_old(models[0], models[2])  # as an earlier version wrote them
    assert oldest_first(study.home) == [models[2].name, models[0].name, models[1].name], "by the times of their files"
    assert study.train(3).number == 3
    (models[1].directory / "run.json").write_text("{")
    assert find_model(study.home, "latest").config.training.seed == 3, "a broken record is left out"


def test_a_training_goes_on_in_its_own_run_and_replaces_no_finished_model(
    config: Config, small_corpus: PreparedCorpus, tmp_path: Path, interrupted: Callable[[Experiment], Path]
) -> None:
    study = Experiment(config, StateDir(tmp_path / "home"), small_corpus)
    first = study.train(0)
    with sqlite3.connect(study.home.root / "mlflow.db") as store:  # the clock was ahead at the time
        store.execute("UPDATE runs SET start_time = start_time + ?", [1000 * _DAY_S])
    store.close()
    interrupted(study)
    second = study.train(0)
    assert second.run != first.run
    assert TrainedModel.read(first.directory) == first
    assert first.run.status == second.run.status == "FINISHED"
    assert [report.terms for report in second.history] == [report.terms for report in first.history]


def test_a_training_without_the_server_replaces_no_finished_model(
    config: Config, small_corpus: PreparedCorpus, tmp_path: Path, interrupted: Callable[[Experiment], Path]
) -> None:
    away = config.derive(tracking={"uri": "http://127.0.0.1:9"})
    study = Experiment(away, StateDir(tmp_path / "home"), small_corpus)
    first = study.train(0)
    interrupted(study)
    second = study.train(0)
    assert second.directory != first.directory
    assert TrainedModel.read(first.directory) == first
    assert len(study.tracker.outbox.pending()) == 2, "the second run began once"


def test_the_sweep_that_was_started_last_goes_on(config: Config, small_corpus: PreparedCorpus, tmp_path: Path) -> None:
    home = StateDir(tmp_path / "home")
    made = []
    for created in ("2026-01-02T00:00:00+00:00", "2026-01-01T00:00:00+00:00"):  # the clock is set back between them
        sweep = open_sweep(config, small_corpus, home)
        sweep.created = created
        sweep.write()
        made.append(sweep)
        time.sleep(0.002)  # their names hold milliseconds
    assert open_sweep(config.derive(tuning={"resume": True}), small_corpus, home) == made[1]


def _set_times(directories: list[Path], at_once: bool = False) -> None:
    for number, directory in enumerate(directories):
        for path in (directory, directory / "run.json"):
            os.utime(path, (_DAY_S,) * 2 if at_once else (_DAY_S * (number + 1),) * 2)


def _make_old(*models: TrainedModel) -> None:
    for number, model in enumerate(reversed(models)):
        path = model.directory / "run.json"
        record = json.loads(path.read_text())
        del record["number"], record["created"]
        path.write_text(json.dumps(record))
        os.utime(path, (_DAY_S * (number + 1),) * 2)
