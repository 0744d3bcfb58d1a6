"""The whole pipeline, as a job of a cluster that shares nothing but a bucket: the models and answers of one node."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.deploy.nodes import HEAD, ROOT, Cluster, answers_of
from texthash.index.releases.release import read_release
from texthash.paths import as_path, resolve_home

URL = f"http://{HEAD}:8000"
# Two trials of equal length, so that the search finds the same wherever they run.
SETTINGS = (
    *("corpus.name=small", "corpus.edition.name=random60", "corpus.edition.vocabulary_size=2000", "corpus.shards=2"),
    *("method.name=nash", "method.bits=16", "method.params={hidden: 16, kl_weight: 0.1, batch_size: 256}"),
    *("training.epochs=3", "tuning.trials=2", "tuning.epochs=2", "tuning.grace_epochs=2", "evaluation.k=10"),
    *("index.shards=2", "cluster.wait_s=60", "cluster.placement_strategy=SPREAD"),
)

pytestmark = [pytest.mark.usefixtures("reader"), pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(1500)]


def _full(path: str, *words: str) -> list[str]:
    return [str(ROOT / "pipelines" / "full.py"), "--json", f"corpus.path={path}", *SETTINGS, *words]


def test_a_job_goes_from_raw_text_in_a_bucket_to_a_writable_service_as_on_one_node(
    two_nodes: Cluster, small_rows: Path, tmp_path: Path
) -> None:
    raw = as_path(f"{two_nodes.home}-raw") / "small.jsonl"
    raw.write_bytes(small_rows.read_bytes())
    words = _full(str(raw), f"tracking.uri={two_nodes.tracking}", "service.host=0.0.0.0")
    job = two_nodes.run(1, "ray", "job", "submit", "--", sys.executable, *words, timeout=900)
    summary = json.loads(job[job.index("\n{") : job.rindex("\n}") + 2])
    assert summary["release"]["name"] == "r000001"
    assert len(summary["trials"]) == 2

    local = tmp_path / "local"
    done = subprocess.run(
        [sys.executable, *_full(str(small_rows), "--no-serve")],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TEXTHASH_HOME": str(local), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    alone = json.loads(done.stdout)
    assert [t["validation"] for t in alone["trials"]] == [t["validation"] for t in summary["trials"]]
    assert alone["params"] == summary["params"]

    shared, here = resolve_home(two_nodes.home), resolve_home(local)
    assert read_release(shared).model_digest == read_release(here).model_digest
    assert [shard.checksum for shard in read_release(shared).shards] == [
        shard.checksum for shard in read_release(here).shards
    ]
    for ours, theirs in zip(answers_of(shared), answers_of(here), strict=True):
        for found, expected in zip(ours, theirs, strict=True):
            assert all((a == b).all() for a, b in zip(found, expected, strict=True))

    documents = [{"id": "mine/1", "text": "sort the values of an array of zebras", "labels": ["mine"]}]
    written = httpx.put(f"{URL}/v1/documents?wait=true", json={"documents": documents}, timeout=60)
    assert written.status_code == 200, written.text
    query = {"queries": [{"text": documents[0]["text"]}], "mode": "semantic", "filter": {"labels": ["mine"]}}
    found = httpx.post(f"{URL}/v1/search", json=query, timeout=60)
    assert [hit["id"] for hit in found.json()["results"][0]["hits"]] == ["mine/1"], found.text
