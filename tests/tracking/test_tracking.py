"""Runs, the model registry and its champion, in a real MLflow store."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest

from tests.permissions import closed
from tests.tracking.at_once import log_many, register_and_fetch, warm_processes
from texthash.config import TrackingConfig
from texthash.deployment.model_refs import saved_hasher
from texthash.errors import TexthashError
from texthash.hamming.codes import to_hex
from texthash.methods.registry import build
from texthash.models.hasher import Hasher
from texthash.paths import StateDir
from texthash.tracking import Run, Tracker, check_store, data_digest
from texthash.tracking.failures import StoreError
from texthash.tracking.store import _client_of
from texthash.training.loop import EpochReport

NAME = "texthash-small-random60-16"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return StateDir(tmp_path_factory.mktemp("tracking"))


@pytest.fixture(scope="module")
def tracker(home):
    return Tracker(TrackingConfig(), home, "texthash-small-random60")


@pytest.fixture(scope="module")
def client(tracker):
    from mlflow import MlflowClient

    return MlflowClient(tracker.uri)


@pytest.fixture(scope="module")
def hasher(small_corpus):
    method = build("lsh", small_corpus.shape, 16)
    for stage in method.stages():
        stage.fit(small_corpus.train)
    return Hasher.of(method, small_corpus)


@pytest.fixture(scope="module")
def saved(hasher, tmp_path_factory):
    return hasher.save(tmp_path_factory.mktemp("model") / "hasher")


def test_runs_nest_and_carry_params_curves_tags_and_data(tracker, client, small_corpus):
    with (
        tracker.start("study", params={"method.bits": 16, "method.params": None}) as study,
        tracker.start("child", parent=study, note="a summary", validation="val/p_at_100") as run,
    ):
        for number in (1, 2):
            terms = {"kl": 1.0, "rec": 2.0}
            run.epoch(EpochReport("variational", number, 2, terms, 0.1 * number, 0.5, 100.0, number))
        run.dataset(small_corpus)
        run.text("hello", "notes/hello.txt")
    found = client.get_run(run.run_id)
    assert found.data.tags["mlflow.parentRunId"] == study.run_id
    assert found.data.tags["mlflow.note.content"] == "a summary"
    assert found.info.status == "FINISHED"
    assert {"git.commit", "host", "version.torch", "version.ray"} <= set(found.data.tags)
    assert client.get_run(study.run_id).data.params == {"method.bits": "16", "method.params": "null"}
    assert [(m.step, m.value) for m in client.get_metric_history(run.run_id, "val/p_at_100")] == [(1, 0.1), (2, 0.2)]
    assert found.data.metrics["train/loss"] == 3.0
    assert found.data.metrics["train/kl"] == 1.0
    assert {item.dataset.digest for item in found.inputs.dataset_inputs} == {data_digest(small_corpus)}
    assert [entry.path for entry in client.list_artifacts(run.run_id, "notes")] == ["notes/hello.txt"]


def test_artifacts_lie_under_the_state_directory_whatever_the_working_directory(tracker, client, home):
    place = client.get_experiment(tracker.experiment_id).artifact_location
    assert place == (home.artifacts / "texthash-small-random60").as_uri()


def test_a_run_that_breaks_is_failed_and_says_why(tracker, client):
    with pytest.raises(ZeroDivisionError), tracker.start("breaks") as run:
        _ = 1 / 0
    found = client.get_run(run.run_id)
    assert found.info.status == "FAILED"
    assert found.data.tags["status_reason"] == "ZeroDivisionError: division by zero"


def test_a_run_is_found_again_by_its_key(tracker):
    run = tracker.start("keyed", key="sweep/one")
    run.end()
    again = tracker.find("sweep/one")
    assert again is not None
    assert again.run_id == run.run_id
    assert again.status == "RUNNING"
    assert tracker.find("sweep/two") is None


def test_several_processes_write_to_one_store(tracker, client):
    run = tracker.start("shared")
    context = warm_processes()
    processes = [context.Process(target=log_many, args=(run, worker)) for worker in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
        assert process.exitcode == 0
    for worker in range(3):
        assert len(client.get_metric_history(run.run_id, f"m/{worker}")) == 20


def test_several_processes_register_and_fetch_at_once(tracker, saved):
    """Each model has one version, and the first is fetched by all of them at once."""
    name = "texthash-crowd"
    run = tracker.start("crowd", validation="val/p_at_100")
    models = [tracker.log_model(saved, run, name, ["x"]) for _ in range(3)]
    assert tracker.registry.register(name, models[0], run, method="lsh", score=0.5, data="d") == "1"
    context = warm_processes()
    found = context.Queue()
    processes = [
        context.Process(target=register_and_fetch, args=(tracker.registry, name, model, run, found)) for model in models
    ]
    for process in processes:
        process.start()
    answers = [found.get(timeout=180) for _ in processes]
    for process in processes:
        process.join(300)
        assert process.exitcode == 0
    assert sorted(version for version, *_ in answers) == ["1", "2", "3"]
    assert len({first for *_, first in answers}) == 1
    for _, own, first in answers:
        assert Hasher.load(own).vocabulary_hash == Hasher.load(first).vocabulary_hash


def test_a_version_without_files_is_named(tracker, client, tmp_path):
    client.create_registered_model("emptied")
    for source in (tmp_path / "nothing", (tmp_path / "nothing").as_uri()):
        version = str(client.create_model_version("emptied", str(source)).version)
        with pytest.raises(TexthashError, match=f"version {version} of emptied has no files: .*nothing does not exist"):
            tracker.registry.fetch("emptied", version)


def test_a_registered_model_takes_raw_text_and_gives_the_hashers_codes(tracker, client, hasher, saved):
    import mlflow

    run = tracker.start("registers", validation="val/p_at_100")
    model_id = tracker.log_model(saved, run, NAME, ["a text", "another"])
    run.metrics({"test/p_at_100": 0.5}, model_id=model_id)
    version = tracker.registry.register(NAME, model_id, run, method="lsh", score=0.5, data="d")
    assert client.get_model_version(NAME, version).tags["method"] == "lsh"
    assert tracker.registry.is_better(NAME, version)[0], "without a champion any model is better"
    tracker.registry.promote(NAME, version)

    mlflow.set_tracking_uri(tracker.uri)
    model = mlflow.pyfunc.load_model(f"models:/{NAME}@champion")
    texts = ["linear regression of an array", "plot a figure", ""]
    expected = to_hex(hasher.encode(texts))
    assert list(model.predict(pd.DataFrame({"text": texts}))) == expected
    assert list(model.predict(texts)) == expected
    assert model.metadata.signature.inputs.input_types()[0].name == "string"
    assert [(m.key, m.value) for m in client.get_logged_model(model_id).metrics] == [("test/p_at_100", 0.5)]

    assert tracker.registry.register(NAME, model_id, run, method="lsh", score=0.5, data="d") == version, (
        "registered once"
    )
    assert tracker.registry.is_better(NAME, version) == (False, f"version {version} is the champion already")

    local, champion = tracker.registry.champion(NAME)
    assert champion == version
    np.testing.assert_array_equal(Hasher.load(local).encode(texts), hasher.encode(texts))


def test_a_model_is_read_from_a_store_that_cannot_be_written(home, tracker, saved, hasher):
    name = "texthash-closed"
    run = tracker.start("registers", validation="val/p_at_100")
    model_id = tracker.log_model(saved, run, name, ["a text"])
    version = tracker.registry.register(name, model_id, run, method="lsh", score=0.5, data="d")
    _client_of.cache_clear()  # connects anew, as another process does
    with closed(home.root, 0o555):
        found = saved_hasher(home, f"{name}/{version}")
        with pytest.raises(StoreError, match=f"Permission denied: '{home.root}'") as refused:
            check_store(TrackingConfig(), home)
    np.testing.assert_array_equal(Hasher.load(found).encode(["an array"]), hasher.encode(["an array"]))
    assert refused.value.remedy.startswith("grant access to the file of the store")


def test_only_a_better_model_on_the_same_data_beats_the_champion(tracker, saved):
    name = "texthash-rivals"
    run = tracker.start("rivals", validation="val/p_at_100")

    def candidate(score, data="d"):
        return tracker.registry.register(
            name, tracker.log_model(saved, run, name, ["x"]), run, method="lsh", score=score, data=data
        )

    tracker.registry.promote(name, candidate(0.4))
    assert tracker.registry.is_better(name, candidate(0.5))[0]
    assert not tracker.registry.is_better(name, candidate(0.4))[0]
    assert not tracker.registry.is_better(name, candidate(0.3))[0]
    better, why = tracker.registry.is_better(name, candidate(0.9, data="other"))
    assert not better
    assert "not comparable" in why


def test_a_name_without_champion_is_an_error_that_names_it(tracker):
    with pytest.raises(TexthashError, match="nobody has no champion"):
        tracker.registry.champion("nobody")


@pytest.mark.parametrize(
    "uri",
    ["http://127.0.0.1:9", "sqlite:////proc/nowhere/mlflow.db", "gopher://nowhere", "oracle+nodriver://nowhere/x"],
)
def test_a_store_that_cannot_be_reached_is_an_error_at_the_start(home, uri):
    with pytest.raises(TexthashError, match=r"MLflow store .* cannot be used") as raised:
        check_store(TrackingConfig(uri=uri), home)
    assert "\n" not in raised.value.problem
    assert ("start the server" in raised.value.remedy) == uri.startswith("http"), "only such a store has a server"


def test_what_the_store_refuses_names_store_and_call_in_one_line(tracker):
    with pytest.raises(StoreError, match=r"the MLflow store .*mlflow\.db failed in log_batch: .*nobody") as raised:
        Run(tracker.uri, "nobody").metrics({"a": 1.0})
    assert "\n" not in raised.value.problem
    assert raised.value.remedy
    travelled = pickle.loads(pickle.dumps(raised.value))
    assert (str(travelled), travelled.code) == (str(raised.value), "RESOURCE_DOES_NOT_EXIST")


def test_a_failure_is_raised_though_its_record_cannot_be_made(tracker, capsys):
    with pytest.raises(KeyError, match="the first"), Run(tracker.uri, "nobody"):
        raise KeyError("the first")
    assert "the end of run nobody could not be recorded" in capsys.readouterr().err
