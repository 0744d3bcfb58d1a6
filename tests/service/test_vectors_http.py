"""A model of the user's own vectors behind HTTP: queries and documents bring theirs, and answers are exact."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest

from tests.conftest import VECTORS
from tests.service.conftest import SHARDS, Asked, LocalWriter
from tests.service.test_rpc import call
from texthash.client import Client
from texthash.config import LimitsConfig, TrainingConfig
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.corpora.prepared.embeddings import http_embedder
from texthash.deployment.promote import promote
from texthash.errors import ModelMismatchError, UsageError
from texthash.hamming.codes import unpack
from texthash.index.releases.publish import publish
from texthash.index.releases.release import open_release, read_release
from texthash.index.releases.verify import verify
from texthash.index.writing.build import build_index
from texthash.methods.registry import build
from texthash.models.hasher import Hasher
from texthash.paths import StateDir
from texthash.service.coordinator import Coordinator
from texthash.service.http_app import make_app
from texthash.service.index_writes import IndexWriteService
from texthash.service.replicas.encoder import LocalEncoder
from texthash.service.replicas.shard import ShardServer
from texthash.training.loop import fit

WIDTH = 24
_TEI = "tei--http--127.0.0.1--1"


def release_of(home: StateDir, corpus: PreparedCorpus, saved: Path, **how: Any) -> Path:
    model = Path(shutil.copytree(saved, home.root / "models" / "model"))
    publish(home, model, build_index(model, corpus.path, home, shards=SHARDS, **how))
    return model


def coordinator_of(home: StateDir) -> Coordinator:
    root, release = str(home.root), read_release(home)
    shards = [ShardServer(root, release.name, number) for number in range(SHARDS)]
    return Coordinator(release, LimitsConfig(), LocalEncoder(root, release.name), shards)


def served(home: StateDir) -> Asked:
    coordinator = coordinator_of(home)
    writes = IndexWriteService(home, coordinator, LocalWriter(str(home.root), "http://test"))
    return Asked(make_app(coordinator, index_writes=writes))


def put(service: Asked, *documents: dict[str, Any]) -> httpx.Response:
    return asyncio.run(service.send("PUT", "/v1/documents?wait=true", json={"documents": list(documents)}))


@pytest.fixture(scope="module")
def with_vectors(
    vector_corpus: PreparedCorpus, vector_hasher: Path, tmp_path_factory: pytest.TempPathFactory
) -> StateDir:
    """A release of a model of vectors, which keeps them."""
    found = StateDir(tmp_path_factory.mktemp("with-vectors"))
    release_of(found, vector_corpus, vector_hasher, vectors="features")
    return found


@pytest.fixture
def home(with_vectors: StateDir, tmp_path: Path) -> StateDir:
    return StateDir(Path(shutil.copytree(with_vectors.root, tmp_path / "home")))


@pytest.fixture
def service(home: StateDir) -> Asked:
    return served(home)


def everything(corpus: PreparedCorpus) -> tuple[list[str], np.ndarray]:
    """Ids and vectors of all documents, in the order of their numbers."""
    splits = [corpus.split(name) for name in ("train", "validation", "test")]
    return [id_ for split in splits for id_ in split.ids], np.concatenate([split.dense(VECTORS) for split in splits])


@pytest.mark.parametrize("kind", ["none", "asymmetric", "float"])
def test_a_search_by_vector_is_brute_force(
    service: Asked, vector_corpus: PreparedCorpus, vector_hasher: Path, kind: str
) -> None:
    hasher, (ids, vectors) = Hasher.load(vector_hasher), everything(vector_corpus)
    queries = vectors[[3, 700, 1400]] + np.float32(0.1)
    reply = service.search(
        *({"vector": row.tolist()} for row in queries), limit=10, rescore={"kind": kind, "oversample": 5}
    )
    assert reply.status_code == 200, reply.text
    bits = unpack(hasher.encode_vectors(vectors)).astype(int)
    unit = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16).astype(np.float64)
    for row, result in zip(queries, reply.json()["results"], strict=True):
        code = unpack(hasher.encode_vectors(row[None]))[0]
        distances = (bits != code).sum(axis=1)
        assert result["known_words"] is True
        assert result["code"] == hasher.encode_vectors(row[None])[0].tobytes().hex()
        near = np.argsort(distances, kind="stable")
        if kind == "none":
            expected = near[:10]
        else:
            near = near[:50]
            margins = hasher.query_values(hasher.read([""], features=row[None]).values)[0].astype(np.float64)
            scores = unit[near] @ (row / np.linalg.norm(row)) if kind == "float" else (2 * bits[near] - 1) @ margins
            expected = near[np.lexsort((near, distances[near], -np.round(scores, 9)))][:10]
        assert [hit["id"] for hit in result["hits"]] == [ids[number] for number in expected]


def test_documents_bring_their_vectors_and_are_found_by_them(service: Asked, home: StateDir) -> None:
    vector = np.linspace(-3, 3, WIDTH) ** 3
    reply = put(
        service,
        {"id": "new/1", "text": "a text to show", "vector": vector.tolist(), "labels": ["mine"]},
        {"id": "new/2", "vector": (-vector).tolist()},
    )
    assert reply.status_code == 200, reply.text
    assert (reply.json()["new"], reply.json()["without_known_words"]) == (2, 0)
    for query in ({"vector": (7 * vector).tolist()}, {"id": "new/1"}):
        (result,) = service.search(query, limit=1, rescore={"kind": "float"}, fields=["text"]).json()["results"]
        assert (result["hits"][0]["id"], result["hits"][0]["document"]["text"]) == ("new/1", "a text to show")
        assert result["hits"][0]["score"] == pytest.approx(1, abs=1e-3)
    by_cosine = {"kind": "float", "oversample": 20}
    (result,) = service.search({"vector": (-vector).tolist()}, limit=1, rescore=by_cosine).json()["results"]
    assert (result["hits"][0]["id"], result["hits"][0]["distance"]) == ("new/2", 0)
    assert [finding for finding in verify(home) if not finding.ok] == []


def test_vectors_and_codes_share_a_request_and_a_query_is_one_of_them(asked: Asked, service: Asked) -> None:
    vector = [1.0] * WIDTH
    reply = service.search({"vector": vector}, {"code": "0000"}, {"vector": vector})
    first, _, again = reply.json()["results"]
    assert reply.status_code == 200
    assert first == again
    for wrong in ({"vector": vector, "text": "a"}, {"vector": vector, "code": "0000"}, {}):
        reply = service.search(wrong)
        assert (reply.status_code, reply.json()["type"]) == (422, "/problems/invalid-field")
        assert "exactly one of text, code, id and vector" in reply.json()["detail"]
    reply = asked.search({"vector": vector})
    assert (reply.status_code, reply.json()["type"]) == (409, "/problems/vector-mismatch")
    assert "has not learned from vectors" in reply.json()["detail"]


@pytest.mark.parametrize(
    ("vector", "status", "message"),
    [
        ([1.0] * 23, 409, "vectors of 23 numbers, the model has learned from vectors of 24"),
        ([0.0] * 24, 409, "is zero"),
        ([1e-50] * 24, 409, "is zero"),
        ([1.0] * 23 + [1e39], 409, "has inf at position 23"),
        ([], 422, "at least 1 item"),
        ([1.0] * 23 + ["1"], 422, "valid number"),
        ([1.0] * 23 + [None], 422, "valid number"),
        ([1.0] * 20_000, 422, "at most 16384 items"),
    ],
)
def test_a_wrong_vector_is_refused_and_nothing_is_written(
    service: Asked, home: StateDir, vector: list[Any], status: int, message: str
) -> None:
    before = read_release(home).name
    good = {"id": "good", "vector": [1.0] * 24}
    for reply in (
        service.search({"vector": vector}),
        put(service, {"id": "x", "text": "a text", "vector": vector}),
    ):
        assert reply.status_code == status, reply.text
        assert message in reply.json()["detail"]
    assert put(service, good, {"id": "x", "vector": vector}).status_code == status
    assert read_release(home).name == before
    raw = json.dumps({"queries": [{"vector": [1.0] * 24}]}).replace("1.0]", "NaN]")
    reply = asyncio.run(service.send("POST", "/v1/search", content=raw, headers={"content-type": "application/json"}))
    assert reply.status_code in (400, 422), reply.text


def test_a_text_that_cannot_be_encoded_is_refused_and_others_of_the_pass_are_answered(service: Asked) -> None:
    reply = service.search({"text": "sort an array"})
    assert (reply.status_code, reply.json()["type"]) == (409, "/problems/vector-mismatch")
    assert "vectors of your own (column:embedding)" in reply.json()["detail"]
    reply = put(service, {"id": "x", "text": "only a text"})
    assert (reply.status_code, reply.json()["type"]) == (409, "/problems/vector-mismatch")
    reply = put(service, {"id": "x", "text": "a", "vector": [1.0] * 24}, {"id": "y", "text": "only a text"})
    assert reply.status_code == 409
    assert "'y' has no vector" in reply.json()["detail"]
    reply = put(service, {"id": "x"})
    assert (reply.status_code, reply.json()["type"]) == (422, "/problems/invalid-field")
    assert "documents.0.text is missing" in reply.json()["detail"]
    assert reply.json()["errors"][0]["loc"] == ["body", "documents", 0, "text"]
    reply = service.post("/v1/encode", {"inputs": "a text"})
    assert (reply.status_code, reply.json()["type"]) == (409, "/problems/vector-mismatch")


def test_another_model_of_the_same_vectors_is_promoted_with_what_was_written(
    service: Asked, home: StateDir, vector_corpus: PreparedCorpus, tmp_path: Path
) -> None:
    vector = np.linspace(-3, 3, WIDTH) ** 3
    assert put(service, {"id": "new/1", "vector": vector.tolist()}).status_code == 200
    method = build("lsh", vector_corpus.shape_with(VECTORS), 16, {"input": "features"}, seed=3)
    other = Hasher.of(fit(method, vector_corpus.train, TrainingConfig()).method, vector_corpus)
    release = promote(home, other.save(home.root / "models" / "other"))
    assert (release.method, release.vectors and release.vectors.kind) == ("lsh", "features")
    by_cosine = {"kind": "float", "oversample": 20}
    (result,) = served(home).search({"vector": vector.tolist()}, limit=1, rescore=by_cosine).json()["results"]
    assert (result["hits"][0]["id"], result["hits"][0]["distance"]) == ("new/1", 0)
    assert result["code"] == other.encode_vectors(vector[None])[0].tobytes().hex()
    ids, vectors = everything(vector_corpus)
    stored = {
        id_: code for shard in open_release(home).shards for id_, (code, _) in shard.codes_of([*ids, "new/1"]).items()
    }
    codes = other.encode_vectors(vectors)
    differing = sum(stored[id_] != code.tobytes() for id_, code in zip(ids, codes, strict=True))
    assert differing < 0.05 * len(ids)  # half precision moves few bits over their cut


def test_vectors_that_were_not_kept_cannot_be_encoded_again(
    vector_corpus: PreparedCorpus, vector_hasher: Path, tmp_path: Path
) -> None:
    home = StateDir(tmp_path / "bare")
    release_of(home, vector_corpus, vector_hasher)
    assert [finding for finding in verify(home) if not finding.ok] == []
    method = build("lsh", vector_corpus.shape_with(VECTORS), 16, {"input": "features"}, seed=3)
    other = Hasher.of(fit(method, vector_corpus.train, TrainingConfig()).method, vector_corpus)
    with pytest.raises(ModelMismatchError, match="the index stores none of that width") as error:
        promote(home, other.save(home.root / "models" / "other"))
    assert "index.vectors=features" in error.value.remedy


def test_the_client_sends_vectors_of_any_kind(service: Asked) -> None:
    vector = np.linspace(-3, 3, WIDTH).astype(np.float32)
    transport = httpx.ASGITransport(service.app)

    class Sync(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            async def answer() -> httpx.Response:
                async with httpx.AsyncClient(transport=transport) as client:
                    return await client.request(
                        request.method, request.url, content=request.read(), headers=request.headers
                    )

            reply = asyncio.run(answer())
            return httpx.Response(reply.status_code, content=reply.content, headers=reply.headers)

    with Client("http://test", transport=Sync()) as client:
        assert client.upsert([{"id": "c", "vector": vector}], wait=True).new == 1
        for given in (vector, vector.tolist(), tuple(vector), vector.astype(np.float64)):
            (result,) = client.search(vector=given, limit=1, rescore="float", oversample=20).results
            assert result.hits[0].id == "c"
        assert len(client.search(vector=np.stack([vector, vector])).results) == 2
        assert len(client.search([{"vector": vector}, {"id": "c"}], vector=[vector, vector]).results) == 4
        for wrong in ("abc", [[1.0], ["a"]], [1.0, float("nan")], [True], 3):
            with pytest.raises(UsageError, match=r"^vector"):
                client.search(vector=wrong)


def test_grpc_takes_vectors_too(service: Asked, home: StateDir) -> None:
    vector = np.linspace(-3, 3, WIDTH).tolist()
    found = call(coordinator_of(home), "Search", queries=[{"vector": vector}], limit=5)
    (wanted,) = service.search({"vector": vector}, limit=5).json()["results"]
    assert [(hit.id, hit.distance) for hit in found.results[0].hits] == [
        (hit["id"], hit["distance"]) for hit in wanted["hits"]
    ]
    with pytest.raises(grpc.aio.AioRpcError, match="vectors of 3 numbers"):
        call(coordinator_of(home), "Search", queries=[{"vector": [1, 2, 3]}])


def test_an_embedder_that_does_not_answer_is_a_problem_of_the_texts_alone(
    vector_corpus: PreparedCorpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_embedder, "_FIRST_WAIT_S", 0.001)
    name = "tei:http://127.0.0.1:1"
    # The vectors that this embedder once gave.
    stored, copied = vector_corpus.cache / "features" / "column--embedding", vector_corpus.cache / "features" / _TEI
    shutil.copytree(stored, copied)
    (copied / "encoder.json").write_text(json.dumps({"encoder": name, "width": WIDTH}))
    hasher = Hasher.of(build("lsh", vector_corpus.shape_with(name), 16, {"input": "features"}), vector_corpus)
    home = StateDir(tmp_path / "home")
    release_of(home, vector_corpus, hasher.save(tmp_path / "lsh"), vectors="features")
    service = served(home)
    reply = service.search({"text": "sort an array"}, mode="semantic")
    assert (reply.status_code, reply.json()["type"]) == (503, "/problems/encoder-unavailable")
    assert "the embedder at http://127.0.0.1:1/embed did not answer" in reply.json()["detail"]
    assert service.search({"vector": [1.0] * WIDTH}).status_code == 200
    assert service.search({"text": "sort an array"}, mode="keyword").status_code == 200
    assert put(service, {"id": "x", "text": "a text", "vector": [1.0] * WIDTH}).status_code == 200
    assert put(service, {"id": "y", "text": "a text"}).status_code == 503
    assert [finding for finding in verify(home) if not finding.ok] == []
