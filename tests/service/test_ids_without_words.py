"""Searches by the id of a document without a known word, and by awkward ids, over HTTP and gRPC."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.index.test_unknown_words import UNKNOWN, put_in
from tests.service.conftest import SHARDS, Asked, LocalEncoder
from tests.service.test_document_ids import AWKWARD
from tests.service.test_rpc import call
from texthash.config import LimitsConfig
from texthash.index.releases.release import read_release
from texthash.index.writing.writer import IndexDocument, IndexWriter
from texthash.paths import StateDir
from texthash.service.coordinator import Coordinator
from texthash.service.http_app import make_app
from texthash.service.replicas.shard import ShardServer

KNOWN = "kernel density estimation"


@pytest.fixture
def serve(home: StateDir) -> Callable[[], Coordinator]:
    """Serves the current release of a state directory that a test may change."""

    def current() -> Coordinator:
        root, release = str(home.root), read_release(home)
        shards = [ShardServer(root, release.name, number) for number in range(SHARDS)]
        return Coordinator(release, LimitsConfig(), LocalEncoder(root, release.name), shards)

    return current


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"mode": "semantic"},
        {"radius": 32},
        {"params": {"plan": "mih"}},
        {"filter": {"labels": ["odd"]}},
        {"rescore": {"kind": "asymmetric"}},
    ],
)
def test_a_document_without_known_words_has_no_neighbours(
    home: StateDir, serve: Callable[[], Coordinator], members: dict[str, Any]
) -> None:
    put_in(home, odd=UNKNOWN, even=KNOWN)
    asked = Asked(make_app(serve()))
    reply = asked.post("/v1/search", {"queries": [{"id": "odd"}, {"id": "even"}], **members})
    assert reply.status_code == 200, reply.text
    odd, even = reply.json()["results"]
    assert (odd["known_words"], odd["hits"], even["known_words"]) == (False, [], True)
    assert (odd["total_within_radius"], odd["plan"]) == (0 if "radius" in members else None, None)
    found = [hit["id"] for hit in even["hits"]]
    assert "even" in found
    assert "odd" not in found
    assert asked.get("/v1/documents?id=odd").json()["known_words"] is False
    (text,) = asked.search({"text": UNKNOWN}).json()["results"]
    assert (text["known_words"], text["hits"]) == (False, [])


def test_awkward_ids_are_found_over_grpc(home: StateDir, serve: Callable[[], Coordinator]) -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 256, (len(AWKWARD), 4), np.uint8)
    with IndexWriter.open(home) as writer:
        writer.upsert([IndexDocument(id_, "sort an array", repr(id_)) for id_ in AWKWARD], codes)
    coordinator = serve()
    found = call(coordinator, "Search", queries=[{"id": id_} for id_ in AWKWARD], radius=0, fields=["title"], limit=50)
    assert len(found.results) == len(AWKWARD)
    for id_, code, result in zip(AWKWARD, codes, found.results, strict=True):
        assert result.code == code.tobytes().hex()
        assert (id_, repr(id_)) in {(hit.id, hit.document.title) for hit in result.hits}
    asked = Asked(make_app(coordinator))
    over_http = asked.search(*({"id": id_} for id_ in AWKWARD), radius=0, limit=50, fields=["title"]).json()
    assert [[hit["id"] for hit in result["hits"]] for result in over_http["results"]] == [
        [hit.id for hit in result.hits] for result in found.results
    ]
