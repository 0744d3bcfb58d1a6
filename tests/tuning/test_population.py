"""Population based training: what may change in mid-training, and poor trials that go on from good ones."""

from __future__ import annotations

import json

import pytest
from mlflow import MlflowClient

from texthash.config import parse_config
from texthash.errors import UsageError
from texthash.experiments.experiment import Experiment
from texthash.paths import StateDir
from texthash.tuning.population import changeable, scheduler
from texthash.tuning.spaces import free_space


def _config(corpus, params=None, **tuning):
    fixed = {"hidden": 32, "kl_weight": 0.1, "batch_size": 64, "stochastic": True, **(params or {})}
    return parse_config(
        {
            "corpus": corpus.manifest.config.model_dump(mode="json"),
            "method": {"name": "nash", "bits": 16, "params": fixed},
            "training": {"patience": 60},
            # A trial is replaced only once another's state is known to Ray Tune, so each gets many chances.
            "tuning": {"trials": 4, "epochs": 40, "scheduler": "pbt", "perturb_epochs": 2, **tuning},
        }
    )


def test_what_decides_the_size_of_the_weights_is_not_changed_in_mid_training(small_corpus):
    config = parse_config(
        {"method": {"name": "nash", "bits": 16}, "tuning": {"space": {"hidden": {"choice": [16, 32]}}}}
    )
    space = free_space(config)
    assert "hidden" in space
    assert (
        {"learning_rate", "batch_size"} <= set(changeable(config, space, small_corpus.shape)) == set(space) - {"hidden"}
    )
    with pytest.raises(UsageError, match="none of hidden can be changed while nash trains"):
        scheduler(config, {"hidden": space["hidden"]}, small_corpus.shape)


@pytest.mark.ray
def test_a_poor_trial_goes_on_from_a_good_one(ray_cluster, small_corpus, tmp_path):
    # Two learning rates of which one learns nothing: its trials are the ones to be replaced.
    space = {"learning_rate": {"choice": [1e-9, 1e-2]}, "dropout": {"uniform": [0.0, 0.3]}}
    study = Experiment(_config(small_corpus, space=space, seed=3), StateDir(tmp_path), small_corpus)
    parent, found = study.search()
    assert len(found.trials) == 4
    assert {trial.fate for trial in found.trials} == {"completed"}
    assert found.validation == max(trial.validation for trial in found.trials)
    client = MlflowClient(study.tracker.uri)
    runs = client.search_runs([study.tracker.experiment_id], f"tags.`mlflow.parentRunId` = '{parent.run_id}'")
    copied = [run for run in runs if "copied_from" in run.data.tags]
    assert copied, [run.data.metrics for run in runs]
    for run in copied:
        source, epoch = run.data.tags["copied_from"].removeprefix("trial ").split(", epoch ")
        assert source != run.data.tags["mlflow.runName"].removeprefix("trial-")
        assert int(epoch) % 2 == 0
        rates = client.get_metric_history(run.info.run_id, "tuned/learning_rate")
        assert len(rates) >= 2, "the values that it goes on with are on its curve"
    assert not list((tmp_path / "runs" / "sweeps").glob(".*.states")), "the states are gone when the sweep is done"
    assert json.loads(client.get_run(parent.run_id).data.tags["best.dropout"]) <= 0.3
