"""Rescoring by stored vectors over HTTP, in this process: the answers of the library, ids, writes, refusals."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.service.conftest import SHARDS, Asked, LocalWriter
from tests.service.test_rescoring_http import expected, hits
from texthash.client import Client
from texthash.config import LimitsConfig
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.hamming.codes import from_hex
from texthash.index.releases.publish import publish
from texthash.index.releases.release import OpenRelease, open_release
from texthash.index.writing.build import build_index
from texthash.paths import StateDir
from texthash.service.coordinator import Coordinator
from texthash.service.http_app import make_app
from texthash.service.index_writes import IndexWriteService
from texthash.service.replicas.encoder import LocalEncoder
from texthash.service.replicas.shard import ShardServer

TEXTS = ("sort the values of an array", "plot a figure")


def by_cosine(oversample: int = 4) -> dict[str, object]:
    return {"kind": "float", "oversample": oversample}


@pytest.fixture(scope="module")
def home(small_corpus: PreparedCorpus, small_hasher: Path, tmp_path_factory: pytest.TempPathFactory) -> StateDir:
    found = StateDir(tmp_path_factory.mktemp("vectors"))
    model = Path(shutil.copytree(small_hasher, found.root / "models" / "itq"))
    publish(found, model, build_index(model, small_corpus.path, found, shards=SHARDS, vectors="activations"))
    return found


@pytest.fixture(scope="module")
def opened_with(home: StateDir) -> OpenRelease:
    return open_release(home)


@pytest.fixture(scope="module")
def with_vectors(home: StateDir, opened_with: OpenRelease) -> Asked:
    """The service over an index that keeps vectors; it takes writes."""
    root, name = str(home.root), opened_with.release.name
    shards = [ShardServer(root, name, number) for number in range(SHARDS)]
    coordinator = Coordinator(opened_with.release, LimitsConfig(), LocalEncoder(root, name), shards)
    return Asked(
        make_app(coordinator, index_writes=IndexWriteService(home, coordinator, LocalWriter(root, "http://test")))
    )


@pytest.mark.parametrize("more", [{}, {"radius": 10}, {"offset": 3}])
@pytest.mark.parametrize(("limit", "oversample"), [(5, 4), (40, 3)])
def test_answers_are_those_of_the_library(
    with_vectors: Asked, opened_with: OpenRelease, limit: int, oversample: int, more: dict[str, int]
) -> None:
    read = opened_with.hasher.read(TEXTS, role="query", vectors="activations")
    assert read.vectors is not None
    reply = with_vectors.search(*({"text": t} for t in TEXTS), limit=limit, rescore=by_cosine(oversample), **more)
    assert reply.status_code == 200, reply.text
    codes = opened_with.hasher.binarize(read.values)
    how = {"limit": limit, "oversample": oversample, "kind": "float", **more}
    assert [hits(result) for result in reply.json()["results"]] == expected(opened_with, codes, read.vectors, **how)
    for result in reply.json()["results"]:
        scores = [hit["score"] for hit in result["hits"]]
        assert scores == sorted(scores, reverse=True)
        assert scores[0] <= 1.001


def test_a_document_is_nearest_to_itself_and_its_vector_is_the_stored_one(
    with_vectors: Asked, opened_with: OpenRelease
) -> None:
    shard = opened_with.shards[1]
    number = shard.numbers[3:4]
    (found,) = shard.documents(number, ["code"])
    reply = with_vectors.search({"id": found["id"]}, limit=5, rescore=by_cosine(20)).json()["results"][0]
    assert reply["hits"][0]["id"] == found["id"]
    assert reply["hits"][0]["score"] == pytest.approx(1, abs=1e-3)
    codes, vectors = from_hex([found["code"].hex()]), shard.vectors(number).astype(np.float32)
    assert [hits(reply)] == expected(opened_with, codes, vectors, limit=5, oversample=20, kind="float")


def test_kinds_share_a_batch_and_are_answered_apart(with_vectors: Asked) -> None:
    kinds = [{"kind": kind, "oversample": 4} for kind in ("none", "asymmetric", "float")]
    answers = [with_vectors.search({"text": TEXTS[0]}, rescore=kind).json()["results"][0] for kind in kinds]
    scores = [[hit["score"] for hit in answer["hits"] if "score" in hit] for answer in answers]
    assert [len(found) for found in scores] == [0, 10, 10]
    assert scores[1] != scores[2]


def test_what_has_no_vector_is_refused(with_vectors: Asked, asked: Asked, opened: OpenRelease) -> None:
    code = "00" * (opened.release.bits // 8)
    reply = with_vectors.search({"text": "x"}, {"code": code}, rescore=by_cosine())
    assert (reply.status_code, reply.json()["type"]) == (409, "/problems/no-vectors")
    assert reply.json()["errors"][0]["loc"] == ["body", "queries", 1, "code"]
    for query in ({"text": TEXTS[0]}, {"id": "nobody"}):
        reply = asked.search(query, rescore=by_cosine())
        assert (reply.status_code, reply.json()["type"]) == (409, "/problems/no-vectors")
    reply = with_vectors.search({"id": "nobody"}, rescore=by_cosine())
    assert (reply.status_code, reply.json()["type"]) == (404, "/problems/unknown-document")


def test_info_says_what_is_kept(with_vectors: Asked, asked: Asked) -> None:
    assert with_vectors.get("/v1/info").json()["index"]["vectors"] == {"kind": "activations", "width": 32}
    assert asked.get("/v1/info").json()["index"]["vectors"] is None


def test_the_client_and_the_command_line_ask_for_it(
    with_vectors: Asked, home: StateDir, monkeypatch: pytest.MonkeyPatch, run_cli: Any
) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        sent = with_vectors.post(request.url.path, content=request.content, headers=dict(request.headers))
        return httpx.Response(sent.status_code, content=sent.content, headers=sent.headers)

    with Client("http://test", transport=httpx.MockTransport(answer)) as client:
        found = client.search(TEXTS[0], mode="semantic", rescore="float", oversample=8, limit=7).results[0]
    direct = with_vectors.search({"text": TEXTS[0]}, limit=7, rescore=by_cosine(8)).json()["results"][0]
    assert [(hit.id, hit.distance, hit.score) for hit in found.hits] == hits(direct)

    monkeypatch.setenv("TEXTHASH_HOME", str(home.root))
    options = ("--rescore", "float", "--oversample", "8", "--limit", "7")
    status, out, _ = run_cli("search", TEXTS[0], "--mode", "semantic", *options, "--json")
    assert (status, hits(json.loads(out))) == (0, hits(direct))


def test_the_command_line_says_what_is_missing(
    released: StateDir, monkeypatch: pytest.MonkeyPatch, run_cli: Any
) -> None:
    monkeypatch.setenv("TEXTHASH_HOME", str(released.root))
    status, _, err = run_cli("search", TEXTS[0], "--rescore", "float")
    assert status == 1
    assert "stores no vectors" in err
    assert "index.vectors=activations" in err


def test_a_document_put_in_over_http_has_its_vector(with_vectors: Asked) -> None:
    text = "eigenvalues of a sparse matrix"
    documents = [{"id": "mine", "text": text}, {"id": "other", "text": "histogram of an array"}]
    reply = asyncio.run(with_vectors.send("PUT", "/v1/documents?wait=true", json={"documents": documents}))
    assert reply.status_code == 200, reply.text
    found = with_vectors.search({"text": text}, limit=1, rescore=by_cosine(20)).json()["results"][0]["hits"][0]
    assert (found["id"], found["distance"]) == ("mine", 0)
    assert found["score"] == pytest.approx(1, abs=1e-3)
