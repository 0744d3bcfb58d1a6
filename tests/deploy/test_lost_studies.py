"""kill -9 of a node while a study or a population of trials runs, with the state in a bucket: the work goes on."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml

from tests.deploy.nodes import ROOT, Cluster, nodes
from texthash.experiments.grid.folder import StudyFolder
from texthash.experiments.grid.run import status
from texthash.paths import as_path, resolve_home

EDITION = {"name": "random60", "vocabulary_size": 2000}

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def raw(two_nodes: Cluster, small_rows: Path) -> str:
    """The small corpus in the bucket."""
    path = as_path(f"{two_nodes.home}-raw") / "small.jsonl"
    path.write_bytes(small_rows.read_bytes())
    return str(path)


def test_a_study_goes_on_by_the_same_command_when_its_node_is_lost(cluster: Cluster, raw: str, tmp_path: Path) -> None:
    file = tmp_path / "grid.yaml"
    values = {
        "name": "grid",
        "corpora": [{"corpus": {"name": "small", "path": raw, "shards": 2, "edition": EDITION}}],
        "bits": [8, 16],
        "methods": {"lsh": {}, "itq": {}},
        "settings": {"evaluation": {"k": 20, "curve": [1, 20]}, "tracking": {"uri": cluster.tracking}},
    }
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    words = [sys.executable, "-m", "texthash", "study", "run", str(file), "--json", "--address", "auto"]
    with cluster.lost(2, name="/cell.json", count=2):
        done = nodes("run", "2", *words, env=cluster.environment, cwd=ROOT, timeout=600, check=False)
    assert done.returncode != 0
    summary = json.loads(cluster.run(1, *words, timeout=600))
    assert summary["skipped"] >= 1, "the first cell was finished"
    assert summary["done"] + summary["skipped"] == len(summary["cells"])
    home = resolve_home(cluster.home)
    rows = status(StudyFolder.open(home, "grid"))
    assert {row["state"] for row in rows} == {"done"}
    trained = [path.name for path in (home.state / "runs" / "models").iterdir()]
    assert len(trained) == 4, "each of two methods and two widths was trained once"


def test_a_population_of_trials_goes_on_when_a_node_is_lost(cluster: Cluster, raw: str) -> None:
    corpus = ("corpus.name=small", f"corpus.path={raw}", "corpus.edition.name=random60", "corpus.shards=2")
    words = [
        *(sys.executable, str(ROOT / "pipelines" / "full.py"), "--no-serve", "--json", *corpus),
        *("corpus.edition.vocabulary_size=2000", f"tracking.uri={cluster.tracking}", "method.name=nash"),
        *("method.bits=16", "method.params={hidden: 16, kl_weight: 0.1, batch_size: 256}", "training.epochs=2"),
        *("evaluation.k=10", "tuning.scheduler=pbt", "tuning.perturb_epochs=2", "tuning.trials=3", "tuning.epochs=8"),
        "cluster.wait_s=60",
    ]
    with cluster.lost(2, name=".states/", count=12):
        done = nodes("run", "1", *words, env=cluster.environment, cwd=ROOT, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-6000:]
    summary = json.loads(done.stdout)
    assert [(trial["fate"], trial["epochs"]) for trial in summary["trials"]] == [("completed", 8)] * 3
    sweeps = resolve_home(cluster.home).state / "runs" / "sweeps"
    assert len(list(sweeps.glob("nash-*-16b-*/sweep.json"))) == 1, "the sweep went on, no other one was started"
    assert not list(sweeps.glob(".*.states/*")), "the states are gone when the sweep is done"
