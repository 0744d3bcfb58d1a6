"""The whole way as a person runs it, on a small corpus of their own, without a cluster."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipelines.programs import program, run
from texthash.experiments.trained_models import TrainedModel
from texthash.index.releases.release import open_release
from texthash.paths import StateDir
from texthash.tracking import Tracker

pytestmark = pytest.mark.ray
ROOT = Path(__file__).parents[2]


def _run(program, *arguments, home, **variables):
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    environment |= {"TEXTHASH_HOME": str(home), "OMP_NUM_THREADS": "2"} | variables
    return subprocess.run(
        [sys.executable, ROOT / "pipelines" / program, *arguments],
        capture_output=True,
        text=True,
        timeout=280,
        env=environment,
        cwd=home,
    )


@pytest.fixture(scope="module")
def settings(small_rows):
    return [
        "corpus.name=small",
        f"corpus.path={small_rows}",
        "corpus.edition.vocabulary_size=2000",
        "method.name=nash",
        "method.bits=16",
        "method.params.hidden=32",
        "training.epochs=2",
        "tuning.trials=2",
        "tuning.epochs=1",
    ]


@pytest.fixture(scope="module")
def done(settings, tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    result = _run("full.py", "--no-serve", "--json", "--mlflow-port", "5999", *settings, home=home)
    assert result.returncode == 0, result.stderr[-4000:]
    return home, json.loads(result.stdout), result.stderr


def test_the_summary_names_what_was_made(done):
    _, summary, progress = done
    assert {"prepare", "search", "train, evaluate, release"} <= {
        line[3:].split(":")[0] for line in progress.splitlines() if line.startswith("== ")
    }
    assert len(summary["trials"]) == 2
    assert summary["registered"] == {"name": "texthash-small-random60-16", "version": "1"}
    model = TrainedModel.read(summary["models"][0]["directory"])
    assert model.hasher.is_dir()
    assert Path(summary["report"]).read_text().startswith("<!")
    assert summary["runs"].startswith("http://127.0.0.1:5999/#/experiments/")
    assert summary["models"][0]["test"]["p_at_100"] > 0.13, "eight labels: chance is an eighth"


def test_the_summary_for_people_is_some_lines_with_the_figures_and_where_things_are(done, monkeypatch):
    _, summary, _ = done
    lines = dict(line.split(maxsplit=1) for line in program("full", monkeypatch).short(summary))
    assert len(lines) < 15
    assert lines["test"].startswith(f"p_at_100 {summary['models'][0]['test']['p_at_100']:.4f}")
    assert "itq 16" in lines["beside"]
    assert lines["search"].startswith("2 trials; chosen: ")
    named = [part.split()[0] for part in lines["search"].removeprefix("2 trials; chosen: ").split(", ")]
    assert set(named) == summary["trials"][0]["params"].keys(), "only what was searched was chosen"
    assert lines["runs"].endswith("/runs?workflowType=machine_learning")
    assert lines["report"] == summary["report"]


def test_the_release_answers_and_its_model_is_the_champion(done):
    home, summary, _ = done
    opened = open_release(StateDir(home))
    assert opened.release.name == summary["release"]["name"]
    assert sum(len(shard) for shard in opened.shards) == summary["release"]["documents"]
    code = opened.hasher.encode(["fit a linear model"], role="query")
    assert opened.shards[0].search(code, 3).distances[0].shape == (3,)
    tracker = Tracker(TrainedModel.read(summary["models"][0]["directory"]).config.tracking, StateDir(home))
    assert tracker.registry.champion("texthash-small-random60-16")[1] == "1"


def test_runs_nest_and_test_figures_stand_there_once(done):
    from mlflow import MlflowClient

    _, summary, _ = done
    client = MlflowClient(summary["tracking_uri"])
    study = client.get_run(summary["run"])
    children = client.search_runs([study.info.experiment_id], f"tags.`mlflow.parentRunId` = '{study.info.run_id}'")
    assert sorted(run.data.tags["kind"] for run in children) == ["model", "trial", "trial"]
    assert {run.info.status for run in [study, *children]} == {"FINISHED"}
    model = next(run for run in children if run.data.tags["kind"] == "model")
    assert len(client.get_metric_history(model.info.run_id, "test/p_at_100")) == 1
    assert "codes/bit_balance" in model.data.metrics
    assert {"report.html", "plots"} <= {entry.path for entry in client.list_artifacts(study.info.run_id)}


def test_wrong_use_ends_with_2_and_one_line(settings, tmp_path):
    result = run("full", *settings, "method.bitz=8", home=tmp_path)
    assert result.returncode == 2
    assert "did you mean 'bits'?" in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_a_taken_port_is_told_before_the_work(settings, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run("full", *settings, f"service.port={port}", home=tmp_path)
    assert result.returncode == 1
    assert f"127.0.0.1:{port} cannot be listened on" in result.stderr
    assert "== prepare" not in result.stderr
    assert "started a local cluster" not in result.stderr
    assert not list(tmp_path.iterdir()), "nothing is made"


def test_a_job_refuses_a_relative_state_directory(settings, tmp_path):
    result = run("prepare", *settings, home=tmp_path, TEXTHASH_HOME="state", RAY_JOB_CONFIG_JSON_ENV_VAR="{}")
    assert result.returncode == 2
    assert "TEXTHASH_HOME=state is relative" in result.stderr


def test_a_dry_run_prints_the_space(settings, tmp_path):
    result = run("tune", "--dry-run", *settings, home=tmp_path)
    assert {row["parameter"] for row in json.loads(result.stdout)["space"]} >= {"learning_rate"}
    assert not list(tmp_path.iterdir()), "nothing is made"
