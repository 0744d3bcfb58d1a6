"""Every method on a cluster: trained by two workers, tuned over its own search space, served. Minutes; ``-m slow``."""

from __future__ import annotations

import time

import httpx
import numpy as np
import pytest

from tests.methods.test_methods import BITS, ITERATIVE, NAMES
from tests.methods.two_processes import corpus_for, encoder_for, in_two_processes, shape_for
from texthash.cluster import free_port
from texthash.config import Config, MethodConfig, ServiceConfig, TrainingConfig, TuningConfig
from texthash.experiments.experiment import Experiment
from texthash.index.memory.hits import merge
from texthash.index.releases.publish import publish
from texthash.index.releases.release import open_release
from texthash.index.writing.build import build_index
from texthash.methods.registry import build, get_method, hyperparameters
from texthash.models.hasher import Hasher
from texthash.paths import StateDir
from texthash.service.run import serve_release
from texthash.training.loop import fit
from texthash.training.on_ray import train_distributed
from texthash.tuning.spaces import free_space, starting_point

pytestmark = [pytest.mark.ray, pytest.mark.slow]

ALONE = TrainingConfig(epochs=2, batch_size=64, seed=3)
TOGETHER = ALONE.model_copy(update={"workers": 2, "cpus_per_worker": 0.4})
TEXTS = ["sort the values of an array", "plot a figure", "fit a linear model", "merge two tables"]


def setting(name: str) -> MethodConfig:
    """A method at 16 bits, its layers narrow."""
    return MethodConfig(name=name, bits=BITS, params={"hidden": 64} if "hidden" in hyperparameters(name) else {})


def build_of(name: str, corpus):
    method = setting(name)
    return build(name, shape_for(name, corpus), BITS, method.params, ALONE.seed)


@pytest.fixture(scope="module")
def trained(ray_cluster, small_corpus, pair_corpus, encoded_shape, tmp_path_factory):
    """Each method fitted once by two workers."""
    storage, results = tmp_path_factory.mktemp("runs"), {}

    def get(name):
        if name not in results:
            corpus = corpus_for(name, small_corpus)
            results[name] = train_distributed(
                setting(name), corpus.path, TOGETHER, storage=storage, name=name, encoder=encoder_for(name, corpus)
            )
        return results[name]

    return get


def _fit(name, corpus, rank=0, workers=1):
    result = fit(build_of(name, corpus), corpus_for(name, corpus).train, ALONE)
    return result.history, Hasher.of(result.method, corpus).encode_split(corpus.validation)


@pytest.fixture(scope="module")
def without_ray(small_corpus, pair_corpus, encoded_shape, tmp_path_factory):
    return in_two_processes(_fit, ITERATIVE, small_corpus, tmp_path_factory.mktemp("processes"))


@pytest.mark.parametrize("name", ITERATIVE)
def test_two_workers_train_it_as_two_processes_without_ray_do(name, small_corpus, trained, without_ray):
    """Which have the terms of one process: see test_two_workers.py. Noise is drawn worker by worker, so one process
    is only alike, and least in a KL of the first steps: it grows by a factor a step from nearly nothing."""
    found, (history, codes) = trained(name), without_ray[name]
    assert [(r.stage, r.epoch) for r in found.history] == [(r.stage, r.epoch) for r in history]
    for ours, theirs in zip(found.history, history, strict=True):
        assert ours.terms == pytest.approx(theirs.terms, rel=1e-5, abs=1e-6), (ours.stage, ours.epoch)
    bits = np.unpackbits(Hasher.of(found.method, small_corpus).encode_split(small_corpus.validation) ^ codes)
    assert bits.mean() < 1e-3


@pytest.mark.parametrize("name", [name for name in NAMES if get_method(name).search_space])
def test_it_is_tuned_over_its_own_search_space(name, ray_cluster, small_corpus, pair_corpus, encoded_shape, tmp_path):
    corpus = corpus_for(name, small_corpus)
    config = Config(
        corpus=corpus.manifest.config.derive(features=encoder_for(name, corpus)),
        method=setting(name),
        training=TrainingConfig(batch_size=64, seed=3),
        tuning=TuningConfig(trials=2, epochs=1, grace_epochs=1, cpus_per_trial=0.8),
    )
    study = Experiment(config, StateDir(tmp_path), corpus)
    run, found = study.search()
    with run:
        assert [trial.fate for trial in found.trials] == ["completed", "completed"]
        space = free_space(config)
        assert found.params.keys() == space.keys()
        assert any(trial.params == starting_point(config.method, space) for trial in found.trials)


@pytest.fixture(scope="module")
def service() -> ServiceConfig:
    return ServiceConfig(port=free_port(), route_prefix="/every")


@pytest.fixture(scope="module")
def served(ray_cluster, service, tmp_path_factory):
    """Publishes a model over the corpus under a running service, and gives a client of that."""
    from ray import serve

    home, url = StateDir(tmp_path_factory.mktemp("served")), None

    def publish_model(hasher, name, corpus):
        nonlocal url
        saved = hasher.save(home.root / "models" / name)
        publish(home, saved, build_index(saved, corpus.path, home, shards=2), model_version=name)
        url = url or serve_release(home, service)
        wanted, end = open_release(home), time.monotonic() + 60
        with httpx.Client(base_url=url, timeout=30.0) as client:
            while client.get("/v1/info").json()["release"]["name"] != wanted.release.name:
                assert time.monotonic() < end, f"the service did not take up {wanted.release.name}"
                time.sleep(0.2)
            body = {"queries": [{"text": text} for text in TEXTS], "limit": 10}
            return wanted, client.post("/v1/search", json=body).json()

    yield publish_model
    serve.shutdown()


@pytest.mark.parametrize("name", NAMES)
def test_it_is_served(name, small_corpus, served, trained):
    method = (
        trained(name).method
        if name in ITERATIVE
        else fit(build_of(name, small_corpus), small_corpus.train, ALONE).method
    )
    release, reply = served(Hasher.of(method, small_corpus), name, small_corpus)
    assert reply["release"] == release.release.name
    codes = release.hasher.encode(TEXTS, role="query")
    hits, _ = merge([shard.search(codes, 10) for shard in release.shards], 10)
    found = [[hit["distance"] for hit in result["hits"]] for result in reply["results"]]
    assert found == [distances.tolist() for distances in hits.distances]
