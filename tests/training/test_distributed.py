"""Training on Ray: the work of N workers equals that of one, a worker may die, nodes may be several."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from texthash.config import ClusterConfig, EvaluationConfig, MethodConfig, TrainingConfig
from texthash.errors import TexthashError, UsageError
from texthash.evaluation.protocol import EvaluationProtocol
from texthash.methods.registry import build
from texthash.training.loop import EpochReport, fit
from texthash.training.on_ray import scaling_of, train_distributed

pytestmark = pytest.mark.ray

# Without dropout and sampling every number is a function of the documents alone.
PLAIN = MethodConfig(name="nash", bits=16, params={"dropout": 0.0, "hidden": 64, "stochastic": False})
TRAINING = TrainingConfig(epochs=3, batch_size=64, workers=2, cpus_per_worker=0.4, seed=3)


def _die_once(marker: Path, epoch: int):
    """A callback that kills the worker it runs in at the end of an epoch, the first time."""

    def on_epoch(report: EpochReport) -> None:
        if report.epoch == epoch and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    return on_epoch


@pytest.fixture(scope="module")
def alone(small_corpus):
    """What one process makes of the same configuration."""
    validate = EvaluationProtocol(small_corpus, EvaluationConfig()).validator()
    method = build(PLAIN.name, small_corpus.shape, PLAIN.bits, PLAIN.params, TRAINING.seed)
    return fit(method, small_corpus.train, TRAINING, validate=validate)


def _train(corpus, storage, **settings):
    settings = {"validate": EvaluationProtocol(corpus, EvaluationConfig()).validator(), "name": "run"} | settings
    return train_distributed(PLAIN, corpus.path, settings.pop("training", TRAINING), storage=storage, **settings)


def _assert_same(result, alone):
    assert [(r.stage, r.epoch, r.number) for r in result.history] == [
        (r.stage, r.epoch, r.number) for r in alone.history
    ]
    for ours, theirs in zip(result.history, alone.history, strict=True):
        assert ours.terms == pytest.approx(theirs.terms, rel=2e-3, abs=2e-3)
    assert result.best_validation == pytest.approx(alone.best_validation, abs=0.02)
    for name, value in alone.method.state_dict().items():
        torch.testing.assert_close(result.method.state_dict()[name], value, rtol=0.05, atol=0.02)


def test_two_workers_do_what_one_does_though_one_of_them_is_killed(ray_cluster, small_corpus, alone, tmp_path):
    marker = tmp_path / "killed"
    cut_off = tmp_path / "storage" / "run" / "checkpoint_manager_snapshot.json"  # by a full disk
    cut_off.parent.mkdir(parents=True)
    cut_off.write_text('{"ray_version": "2')
    result = _train(small_corpus, tmp_path / "storage", on_epoch=_die_once(marker, epoch=2))
    assert marker.exists()
    _assert_same(result, alone)

    trained_again = tmp_path / "trained-again"
    kept = _train(small_corpus, tmp_path / "storage", on_epoch=lambda report: trained_again.touch())
    assert not trained_again.exists(), "the result of a run that ended is not computed anew"
    for name, value in result.method.state_dict().items():
        torch.testing.assert_close(kept.method.state_dict()[name], value, rtol=0, atol=0)


def test_a_run_that_does_not_take_up_an_older_one_goes_on_after_a_death_of_its_own(ray_cluster, small_corpus, tmp_path):
    epochs, storage = tmp_path / "epochs", tmp_path / "storage"
    die = _die_once(tmp_path / "killed", epoch=2)

    def note(report: EpochReport) -> None:
        with epochs.open("a") as file:
            file.write(f"{report.stage} {report.epoch}\n")
        deadline = time.monotonic() + 60
        while report.epoch == 2 and not (storage / "run" / "checkpoint_manager_snapshot.json").exists():
            assert time.monotonic() < deadline, "Ray Train did not note the first epoch"
            time.sleep(0.1)
        die(report)

    training = TRAINING.model_copy(update={"workers": 1, "resume": False, "documents": 200})
    result = _train(small_corpus, storage, training=training, on_epoch=note)
    assert epochs.read_text().splitlines().count("train 1") == 1
    assert result.method.shape.documents == 200, "of the sample that it was to learn from"


def test_an_error_of_a_worker_arrives_as_itself(ray_cluster, small_corpus, tmp_path):
    def refuse(method):  # within the test, so that it travels by value
        raise TexthashError("nothing here can be validated", "mend it")

    training = TRAINING.model_copy(update={"workers": 1, "max_failures": 0})
    with pytest.raises(TexthashError, match="nothing here can be validated"):
        train_distributed(PLAIN, small_corpus.path, training, storage=tmp_path, name="run", validate=refuse)


def test_workers_that_are_lost_too_often_are_named(ray_cluster, small_corpus, tmp_path):
    training = TRAINING.model_copy(update={"workers": 1, "max_failures": 0})
    with pytest.raises(TexthashError, match=r"workers were lost.* more often than training\.max_failures=0") as raised:
        _train(small_corpus, tmp_path, training=training, on_epoch=_die_once(tmp_path / "died", 1))
    assert "resumes after the last epoch" in raised.value.remedy


def test_a_corpus_that_is_not_there_is_refused_at_once(ray_cluster, tmp_path):
    with pytest.raises(TexthashError, match="not a prepared corpus"):
        train_distributed(PLAIN, tmp_path / "nowhere", TRAINING, storage=tmp_path, name="run")


def test_more_workers_than_the_cluster_holds_are_refused_at_once(ray_cluster, small_corpus, tmp_path):
    training = TRAINING.model_copy(update={"workers": 50})
    with pytest.raises(TexthashError, match="20 CPUs, the cluster has 2"):
        train_distributed(PLAIN, small_corpus.path, training, storage=tmp_path, name="run")


def test_number_and_placement_of_workers_reach_ray_train():
    made = scaling_of(TrainingConfig(workers=2, use_gpu=True, cpus_per_worker=3), ClusterConfig())
    assert (made.num_workers, made.elasticity_enabled, made.resources_per_worker) == (2, False, {"CPU": 3.0, "GPU": 1})
    cluster = ClusterConfig(placement_strategy="SPREAD", label_selector={"zone": "a"}, accelerator_type="H100")
    made = scaling_of(TrainingConfig(workers=2, max_workers=8), cluster)
    assert (made.min_workers, made.max_workers, made.elasticity_enabled) == (2, 8, True)
    assert (made.placement_strategy, made.label_selector, made.accelerator_type) == ("SPREAD", {"zone": "a"}, "H100")
    with pytest.raises(UsageError, match="max_workers=1 is below workers=2"):
        TrainingConfig(workers=2).derive(max_workers=1)


_TWO_NODES = """
import sys
import time
from pathlib import Path
import ray
from ray.cluster_utils import Cluster
from texthash.config import MethodConfig, TrainingConfig
from texthash.training.on_ray import train_distributed

corpus, storage = map(Path, sys.argv[1:])

cluster = Cluster()
try:
    while len(cluster.list_all_nodes()) < 2:
        try:
            cluster.add_node(num_cpus=1, object_store_memory=150_000_000)
        except Exception as error:  # on a loaded machine a node may miss Ray's fixed 30 s; the test's own limit ends it
            print("a node did not start:", error, file=sys.stderr)
            cluster.shutdown()
            cluster = Cluster()
    cluster.wait_for_nodes()
    ray.init(address=cluster.address, log_to_driver=False)
    training = TrainingConfig(epochs=1, batch_size=64, workers=2, cpus_per_worker=0.6, max_failures=0)
    result = train_distributed(MethodConfig(name="nash", bits=8, params={"hidden": 16}), corpus, training,
                               storage=storage, name="two-nodes")
    print("epochs", result.history[-1].epoch, "nodes", len(ray.nodes()))
finally:
    ray.shutdown()
    cluster.shutdown()
"""


@pytest.mark.slow
def test_the_workers_may_be_on_two_nodes(small_corpus, tmp_path):
    """0.6 CPUs a worker on two nodes of one CPU: the workers cannot be on the same node."""
    done = subprocess.run(
        [sys.executable, "-c", _TWO_NODES, small_corpus.path, tmp_path / "storage"],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert "epochs 1 nodes 2" in done.stdout, done.stderr[-3000:]


_ELASTIC = """
import os
import sys
import threading
import time
from pathlib import Path
import ray
from ray.cluster_utils import Cluster
from texthash.config import MethodConfig, TrainingConfig
from texthash.training.on_ray import train_distributed

corpus, storage = map(Path, sys.argv[1:])
sizes = storage.with_name("sizes")
cluster = Cluster()
os.environ["RAY_health_check_period_ms"] = "2000"

def note(report):
    import torch
    own = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
    with sizes.open("a") as file:
        file.write(f"{report.epoch} {own}\\n")
    time.sleep(2)

def lose(node):
    while not sizes.exists() or "3 2" not in sizes.read_text():
        time.sleep(0.2)
    cluster.remove_node(node, allow_graceful=False)

try:
    cluster.add_node(num_cpus=1, object_store_memory=150_000_000)
    second = None
    while second is None:
        try:
            second = cluster.add_node(num_cpus=1, object_store_memory=150_000_000)
        except Exception as error:  # on a loaded machine a node may miss Ray's fixed 30 s; the test's own limit ends it
            print("a node did not start:", error, file=sys.stderr)
    cluster.wait_for_nodes()
    ray.init(address=cluster.address, log_to_driver=False)
    threading.Thread(target=lose, args=[second], daemon=True).start()
    training = TrainingConfig(epochs=5, batch_size=64, workers=1, max_workers=2, cpus_per_worker=0.6, max_failures=3)
    result = train_distributed(MethodConfig(name="nash", bits=8, params={"hidden": 16}), corpus, training,
                               storage=storage, name="elastic", on_epoch=note)
    print("epochs", [report.epoch for report in result.history if report.stage == "train"])
finally:
    ray.shutdown()
    cluster.shutdown()
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_training_goes_on_with_fewer_workers_when_a_node_is_lost(small_corpus, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", _ELASTIC, small_corpus.path, tmp_path / "storage"],
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert "epochs [1, 2, 3, 4, 5]" in done.stdout, done.stderr[-3000:]
    seen = [tuple(map(int, line.split())) for line in (tmp_path / "sizes").read_text().splitlines()]
    assert seen[0] == (1, 2), "training begins with as many workers as the nodes have room for"
    assert seen[-1] == (5, 1), "and ends with those that are left"
    assert (1, 1) not in seen, "it does not begin again"
