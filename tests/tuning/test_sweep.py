"""Sweeps on Ray Tune: nested runs with their fates, selection on validation, going on after the driver died."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from mlflow import MlflowClient

from texthash.config import Config, parse_config
from texthash.errors import TexthashError, UsageError
from texthash.experiments.experiment import Experiment
from texthash.methods.registry import hyperparameters
from texthash.paths import StateDir
from texthash.tuning.sweep_record import close_sweep, open_sweep
from texthash.tuning.trial import outcome_of

pytestmark = pytest.mark.ray
FIXED = {"hidden": 32, "kl_weight": 0.1, "batch_size": 64, "stochastic": True}


def _config(corpus, **tuning) -> Config:
    return parse_config(
        {
            "corpus": corpus.manifest.config.model_dump(mode="json"),
            "method": {"name": "nash", "bits": 16, "params": FIXED},
            "training": {"patience": 60},  # more than any test's epochs: none ends a trial early
            "tuning": {"trials": 3, "epochs": 4, "grace_epochs": 1, "cpus_per_trial": 0.8, **tuning},
        }
    )


def _trials(study, parent):
    client = MlflowClient(study.tracker.uri)
    query = f"tags.`mlflow.parentRunId` = '{parent.run_id}'"
    return client.search_runs([study.tracker.experiment_id], query)


def test_a_sweep_finds_the_best_trial_and_records_each_ones_fate(ray_cluster, small_corpus, tmp_path):
    config = _config(small_corpus)
    study = Experiment(config, StateDir(tmp_path), small_corpus)
    parent, found = study.search()
    assert len(found.trials) == 3
    figures = [trial.validation for trial in found.trials]
    assert found.validation == max(figures) == figures[0]
    assert set(found.params) == {"learning_rate", "dropout"}
    defaults = {name: hyperparameters("nash")[name] for name in found.params}
    assert any(trial.params == defaults for trial in found.trials), "the defaults are tried"
    runs = _trials(study, parent)
    assert len(runs) == 3
    for run in runs:
        assert run.info.status == "FINISHED"
        assert run.data.tags["fate"].startswith(("completed", "stopped by ASHA after epoch"))
        assert run.data.params["method.params.hidden"] == "32"
        assert "method.params.learning_rate" in run.data.params
        assert MlflowClient(study.tracker.uri).get_metric_history(run.info.run_id, "val/p_at_100")
    assert study.with_params(found.params).config.method.params.items() >= found.params.items()
    again = Experiment(_config(small_corpus, resume=True), StateDir(tmp_path), small_corpus)
    assert again.search() == (parent, found), "until final models are made it is gone on with, without a new trial"
    assert len(_trials(study, parent)) == 3
    close_sweep(found.directory)
    with pytest.raises(UsageError, match="no unfinished sweep"):
        open_sweep(_config(small_corpus, resume=True), small_corpus, StateDir(tmp_path))


def test_a_sweep_without_a_usable_trial_says_why(ray_cluster, small_corpus, tmp_path):
    broken = _config(small_corpus, trials=1)
    broken = broken.derive(method={"params": {**FIXED, "kl_weight": 1e300}})  # more than the arithmetic holds
    study = Experiment(broken, StateDir(tmp_path), small_corpus)
    with pytest.raises(TexthashError, match=r"none of the 1 trials.*failed: the loss term"):
        study.search()


def test_pretraining_is_not_judged(ray_cluster, small_corpus, tmp_path):
    method = {"name": "stacked_rbm", "bits": 16, "params": {"hidden": 16, "words": 500, "pretraining_epochs": 1}}
    config = parse_config({**_config(small_corpus, trials=1, epochs=3).model_dump(mode="json"), "method": method})
    run, found = Experiment(config, StateDir(tmp_path), small_corpus).search()
    with run:
        assert all(1 <= trial.epochs <= 3 and trial.validation is not None for trial in found.trials)
        assert all(trial.fate.startswith(("completed", "stopped by ASHA after epoch")) for trial in found.trials)
        assert any((trial.epochs, trial.fate) == (3, "completed") for trial in found.trials)


def test_a_trial_that_fits_on_no_node_is_refused(ray_cluster, small_corpus, tmp_path):
    study = Experiment(_config(small_corpus, cpus_per_trial=64), StateDir(tmp_path), small_corpus)
    with pytest.raises(TexthashError, match="needs 64 CPUs"):
        study.search()


_DRIVER = """
import json
import sys
import ray
from texthash.config import parse_config, load_config
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.paths import StateDir
from texthash.methods.registry import hyperparameters
from texthash.experiments.experiment import Experiment

address, home, corpus, config = sys.argv[1:]
ray.init(address=address, log_to_driver=False)
study = Experiment(load_config(config), StateDir(__import__("pathlib").Path(home)), PreparedCorpus.open(corpus))
run, found = study.search()
with run:
    trials = [{"params": trial.params, "fate": trial.fate, "validation": trial.validation} for trial in found.trials]
    print(json.dumps({"run": run.run_id, "params": found.params, "trials": trials}))
"""


def _start(address, home, corpus, config):
    command = [sys.executable, "-c", _DRIVER, address, str(home.root), str(corpus.path), str(config)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_two_sweeps_at_once_in_a_fresh_state_directory_keep_their_records_apart(ray_cluster, small_corpus, tmp_path):
    """Each makes the schema of the tracking store, its experiment, and the directories of its trials."""
    home, address = StateDir(tmp_path / "home"), ray_cluster.get_runtime_context().gcs_address
    widths = (8, 24)
    drivers = []
    try:
        for bits in widths:
            config = _config(small_corpus, trials=2, epochs=2).derive(method={"bits": bits})
            path = tmp_path / f"{bits}.yaml"
            path.write_text(config.to_yaml())
            drivers.append(_start(address, home, small_corpus, path))
        ends = [driver.communicate() for driver in drivers]
    finally:
        for driver in drivers:
            driver.kill()
            driver.communicate()
    assert [driver.returncode for driver in drivers] == [0, 0], [said[-3000:] for _, said in ends]
    found = [json.loads(printed.splitlines()[-1]) for printed, _ in ends]
    assert found[0]["run"] != found[1]["run"]
    for bits, sweep in zip(widths, found, strict=True):
        config = _config(small_corpus, trials=2, epochs=2).derive(method={"bits": bits})
        client = MlflowClient(Experiment(config, home, small_corpus).tracker.uri)
        parent = client.get_run(sweep["run"])
        assert (parent.info.status, parent.data.params["method.bits"]) == ("FINISHED", str(bits))
        runs = client.search_runs([parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{sweep['run']}'")
        assert [run.data.params["method.bits"] for run in runs] == [str(bits)] * 2
        rates = {f"{trial['params']['learning_rate']:.6g}" for trial in sweep["trials"]}
        assert {f"{float(run.data.params['method.params.learning_rate']):.6g}" for run in runs} == rates
        best = max(trial["validation"] for trial in sweep["trials"])
        recorded = [client.get_metric_history(run.info.run_id, "val/p_at_100") for run in runs]
        assert any(abs(metric.value - best) < 1e-9 for history in recorded for metric in history)


def test_a_sweep_whose_driver_was_killed_goes_on(ray_cluster, small_corpus, tmp_path):
    config = _config(small_corpus, trials=2, epochs=60, grace_epochs=60)
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    home = StateDir(tmp_path / "home")
    address = ray_cluster.get_runtime_context().gcs_address
    driver = _start(address, home, small_corpus, tmp_path / "config.yaml")
    try:
        deadline = time.monotonic() + 120
        while not list(home.runs.glob("sweeps/.*.states/*/checkpoint.pt")):
            assert driver.poll() is None, driver.stderr.read()[-3000:]
            assert time.monotonic() < deadline, "no trial reported an epoch"
            time.sleep(0.2)
        time.sleep(3)  # Ray Tune notes the state of its trials every two seconds
    finally:
        os.kill(driver.pid, signal.SIGKILL)
        driver.communicate()
    study = Experiment(_config(small_corpus, trials=2, epochs=60, grace_epochs=60, resume=True), home, small_corpus)
    parent, found = study.search()
    assert [trial.fate for trial in found.trials] == ["completed", "completed"]
    runs = _trials(study, parent)
    assert len(runs) == 2, "a trial goes on in its own run"
    for run in runs:
        steps = [m.step for m in MlflowClient(study.tracker.uri).get_metric_history(run.info.run_id, "val/p_at_100")]
        assert max(steps) >= max(trial.epochs for trial in found.trials) == 60
        assert len(steps) < 1.6 * max(steps), "epochs done before are not done again"


@pytest.mark.parametrize(
    ("last", "error", "fate", "counts"),
    [
        ({"epoch": 3, "planned": 9}, None, "stopped by ASHA after epoch 3 of 9", True),
        ({"epoch": 9, "planned": 9}, None, "completed", True),
        ({"epoch": 4, "planned": 9, "trained": True}, None, "completed", True),
        ({"epoch": 4, "planned": 9}, "killed", "failed: killed", False),
        ({"epoch": 0, "planned": 0, "failed": "not finite"}, None, "failed: not finite", False),
        ({}, None, "failed: ended without a report", False),
    ],
)
def test_the_fate_of_a_trial(last, error, fate, counts):
    assert outcome_of(last, error) == (fate, counts)
