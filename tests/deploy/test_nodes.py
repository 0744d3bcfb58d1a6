"""Nodes that share nothing but a bucket and an MLflow server: from raw text to a service, and the loss of a node."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.deploy.nodes import QUERIES, Cluster, answers_of
from tests.deploy.nodes import nodes as nodes_script
from texthash.config import Config
from texthash.deployment import steps
from texthash.index.releases.release import read_release
from texthash.paths import StateDir, resolve_home

_SERVE = """
from texthash.cluster import cluster
from texthash.config import load_config
from texthash.paths import resolve_home
from texthash.service.run import serve_release
with cluster("auto"):
    print(serve_release(resolve_home(), load_config(None, ["service.host=0.0.0.0"]).service))
"""

pytestmark = [pytest.mark.usefixtures("reader"), pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(1500)]


def test_from_raw_text_to_a_service_with_nothing_shared(two_nodes: Cluster, small_rows: Path, tmp_path: Path) -> None:
    words = [
        f"corpus.path={two_nodes.home}-raw/small.jsonl",
        *(
            "corpus.name=small",
            "corpus.edition.vocabulary_size=2000",
            "corpus.edition.name=random60",
            "corpus.shards=2",
        ),
        *("evaluation.k=10", "index.shards=2", "cluster.wait_s=60", "cluster.placement_strategy=SPREAD"),
    ]
    resolve_home(f"{two_nodes.home}-raw").state.joinpath("small.jsonl").write_bytes(small_rows.read_bytes())
    tracking = f"tracking.uri={two_nodes.tracking}"
    prepared = json.loads(two_nodes.texthash("prepare", "--address", "auto", *words))
    assert prepared["path"].startswith(two_nodes.home)
    trained = json.loads(two_nodes.texthash("train", "itq", "--bits", "32", "--address", "auto", tracking, *words))
    released = json.loads(
        two_nodes.texthash("index", "build", "latest", "--address", "auto", tracking, "index.shards=2")
    )
    assert released["name"] == "r000001"

    # The same in one process, with a directory.
    local = StateDir(tmp_path / "local")
    config = Config.model_validate(
        {
            "corpus": {
                "path": str(small_rows),
                "name": "small",
                "shards": 2,
                "edition": {"name": "random60", "vocabulary_size": 2000},
            },
            "method": {"name": "itq", "bits": 32},
            "evaluation": {"k": 10},
            "index": {"shards": 2},
        }
    )
    model = steps.train(config, local).models[0]
    alone = steps.release(local, model.name, config)
    shared = resolve_home(two_nodes.home)
    assert read_release(shared).model_digest == alone.model_digest
    assert [state.checksum for state in read_release(shared).shards] == [state.checksum for state in alone.shards]
    for ours, theirs in zip(answers_of(shared), answers_of(local), strict=True):
        for found, expected in zip(ours, theirs, strict=True):
            assert all((a == b).all() for a, b in zip(found, expected, strict=True))
    assert Path(trained["model"]).name in {path.name for path in (shared.state / "runs" / "models").iterdir()}

    two_nodes.run(1, sys.executable, "-c", _SERVE)
    before = _searched()
    nodes_script("kill", "2")
    after = _searched()
    assert [hit["id"] for hit in after] == [hit["id"] for hit in before]


def _searched() -> list[dict[str, Any]]:
    """Search until there is an answer; a node that has just died may hold replicas."""
    deadline, reason = time.monotonic() + 180, ""
    while time.monotonic() < deadline:
        try:
            answer = httpx.post(
                "http://10.77.0.11:8000/v1/search",
                json={"queries": [{"text": QUERIES[0]}], "mode": "semantic"},
                timeout=40,
            )
            if answer.status_code == 200:
                hits: list[dict[str, Any]] = answer.json()["results"][0]["hits"]
                return hits
            reason = answer.text
        except httpx.HTTPError as error:
            reason = repr(error)
        time.sleep(1)
    raise AssertionError(f"no answer in time: {reason}")
