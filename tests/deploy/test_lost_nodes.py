"""kill -9 of a node that shares nothing with the others: the command goes on, or the same command on another node."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from tests.deploy.nodes import ROOT, Cluster, nodes
from texthash.config import CorpusConfig, Edition
from texthash.corpora.document import SPLITS
from texthash.corpora.preparation.steps import prepare_corpus
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.experiments.trained_models import find_model
from texthash.index.releases.release import read_release
from texthash.index.storage.shard_format import read_index
from texthash.index.writing.build import build_index
from texthash.paths import StateDir, as_path, resolve_home

DRIVER_LOST, WORKER_LOST = 2, 1  # number of the node on which the command runs; node 2 is lost
SHARDS = 4
EDITION = ("corpus.edition.name=random60", "corpus.edition.vocabulary_size=2000", f"corpus.shards={SHARDS}")

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def raw(two_nodes: Cluster, small_rows: Path) -> str:
    """Prefix of six files of the small corpus in the bucket."""
    prefix = f"{two_nodes.home}-raw"
    lines = small_rows.read_bytes().splitlines(keepends=True)
    for number in range(6):
        (as_path(prefix) / f"{number}.jsonl").write_bytes(b"".join(lines[number::6]))
    return prefix


def _goes_on(cluster: Cluster, driver: int, words: list[str], **lost: Any) -> str:
    """Run a command of Python in which node 2 is lost, again if it was the command's own node; return its output."""
    with cluster.lost(2, **lost):
        done = nodes(
            "run", str(driver), sys.executable, *words, env=cluster.environment, cwd=ROOT, timeout=600, check=False
        )
    if driver == WORKER_LOST:
        assert done.returncode == 0, done.stderr[-6000:]
        return done.stdout
    assert done.returncode != 0
    return cluster.run(1, sys.executable, *words, timeout=600)


def _texthash(*words: str) -> list[str]:
    return ["-m", "texthash", *words, "--address", "auto"]


@pytest.mark.parametrize("driver", [WORKER_LOST, DRIVER_LOST])
def test_a_node_is_lost_while_a_corpus_is_prepared(cluster: Cluster, raw: str, tmp_path: Path, driver: int) -> None:
    name = f"prepared{driver}"
    words = _texthash("prepare", f"corpus.name={name}", f"corpus.path={raw}", *EDITION)
    printed = _goes_on(cluster, driver, words, name=f"/{name}/.random60", count=8)
    found = PreparedCorpus.open(json.loads(printed)["path"])
    assert cluster.written(f"/{name}/random60/manifest.json") == 1, "it was published once"

    (tmp_path / "raw").mkdir()
    for path in as_path(raw).iterdir():
        (tmp_path / "raw" / path.name).write_bytes(path.read_bytes())
    edition = Edition(name="random60", vocabulary_size=2000)
    config = CorpusConfig(name=name, path=str(tmp_path / "raw"), edition=edition, shards=SHARDS)
    alone = PreparedCorpus.open(prepare_corpus(config, StateDir(tmp_path / "alone")))
    assert found.manifest.source_checksum == alone.manifest.source_checksum
    for split in SPLITS:
        ours, theirs = (sorted(corpus.split(split).shards, key=str) for corpus in (found, alone))
        assert [path.read_bytes() for path in ours] == [path.read_bytes() for path in theirs]


@pytest.mark.parametrize("driver", [WORKER_LOST, DRIVER_LOST])
@pytest.mark.parametrize(("name", "count"), [("/.codes/", 3), ("/shard-0001/", 2)])
def test_a_node_is_lost_while_an_index_is_built(
    cluster: Cluster, raw: str, tmp_path: Path, driver: int, name: str, count: int
) -> None:
    corpus = ("corpus.name=small", f"corpus.path={raw}", *EDITION, f"tracking.uri={cluster.tracking}")
    home = resolve_home(cluster.home)
    if not (home.state / "runs" / "models").exists():
        cluster.run(1, sys.executable, *_texthash("train", "itq", "--bits", "32", "evaluation.k=10", *corpus))
    before = sum(1 for _ in (home.state / "releases").glob("r*.json"))
    shards = 3 + before  # another index each time
    words = _texthash("index", "build", "latest", f"tracking.uri={cluster.tracking}", f"index.shards={shards}")
    released = json.loads(_goes_on(cluster, driver, words, name=name, count=count))
    assert released["name"] == f"r{before + 1:06d}"
    assert cluster.written(f"/releases/{released['name']}.json") == 1, "it was released once"
    for number in range(shards):
        assert cluster.written(f"/shard-{number:04d}/manifest.json") == 1, "each shard was written once"
    model = find_model(home, "latest")
    corpus_path = home.corpus("small", "random60")
    alone = build_index(model.hasher, corpus_path, StateDir(tmp_path / "alone"), shards=shards)
    assert [s.checksum for s in read_release(home).shards] == [m.checksum for m in read_index(alone)]


def test_a_node_is_lost_while_hyper_parameters_are_searched(cluster: Cluster, raw: str) -> None:
    bits = 16
    words = [
        *(str(ROOT / "pipelines" / "full.py"), "--no-serve", "--json", "corpus.name=small", f"corpus.path={raw}"),
        *(*EDITION, f"tracking.uri={cluster.tracking}", "method.name=nash", f"method.bits={bits}"),
        *("method.params={hidden: 16, kl_weight: 0.1, batch_size: 256}", "training.epochs=2", "evaluation.k=10"),
        *("tuning.trials=2", "tuning.epochs=10", "tuning.grace_epochs=10", "cluster.wait_s=60"),
    ]
    summary = json.loads(_goes_on(cluster, WORKER_LOST, words, name=".states/", count=7))
    trials = summary["trials"]
    assert [(trial["fate"], trial["epochs"]) for trial in trials] == [("completed", 10)] * 2
    sweeps = list((resolve_home(cluster.home).state / "runs" / "sweeps").glob(f"nash-*-{bits}b-*/sweep.json"))
    assert len(sweeps) == 1, "the sweep went on, no other one was started"
    client = MlflowClient(cluster.tracking)
    runs = client.search_runs([summary["experiment_id"]], f"tags.`mlflow.parentRunId` = '{summary['run']}'")
    assert sum(run.data.tags["kind"] == "trial" for run in runs) == 2, "each trial went on in its own run"
    undisturbed = json.loads(cluster.run(1, sys.executable, *words, "tuning.resume=false", timeout=600))
    assert [trial["validation"] for trial in undisturbed["trials"]] == [trial["validation"] for trial in trials]
    assert undisturbed["params"] == summary["params"]
