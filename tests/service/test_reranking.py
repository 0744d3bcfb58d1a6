"""Re-ranking over HTTP: the page of the new order, its scores, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from tests.service.conftest import Asked
from texthash.config import LimitsConfig
from texthash.service.coordinator import Coordinator
from texthash.service.http_app import make_app
from texthash.service.reranking import Reranking

TEXT = {"text": "sort the values of an array"}


class ByLength:
    """A re-ranker that prefers the shortest text, whatever the question."""

    name = "by-length"

    def scores(self, question: str, texts: Sequence[str]) -> np.ndarray:
        return np.array([-float(len(text)) for text in texts], np.float32)


@pytest.fixture(scope="module")
def reranked(coordinator: Callable[[LimitsConfig], Coordinator]) -> Asked:
    return Asked(make_app(coordinator(LimitsConfig()), reranking=Reranking(ByLength(), 20)))


@pytest.mark.parametrize("mode", ["semantic", "keyword", "hybrid"])
def test_the_first_hits_are_ordered_by_the_reranker_and_paged(reranked: Asked, mode: str) -> None:
    plain = reranked.search(TEXT, mode=mode, limit=20, fields=["text"]).json()["results"][0]["hits"]
    expected = sorted(plain, key=lambda hit: len(hit["document"]["text"]))
    whole = reranked.search(TEXT, mode=mode, limit=20, rerank=True)
    assert "rerank;dur=" in whole.headers["Server-Timing"]
    hits = whole.json()["results"][0]["hits"]
    assert [hit["id"] for hit in hits] == [hit["id"] for hit in expected]
    assert [hit["rerank_score"] for hit in hits] == [-float(len(hit["document"]["text"])) for hit in expected]
    assert all(set(hit["document"]) == {"title"} for hit in hits)
    page = reranked.search(TEXT, mode=mode, limit=5, offset=3, rerank=True).json()["results"][0]["hits"]
    assert [hit["id"] for hit in page] == [hit["id"] for hit in expected[3:8]]


def test_hits_behind_the_candidates_keep_their_places(reranked: Asked) -> None:
    plain = reranked.search(TEXT, mode="semantic", limit=30).json()["results"][0]["hits"]
    hits = reranked.search(TEXT, mode="semantic", limit=30, rerank=True).json()["results"][0]["hits"]
    assert [hit["id"] for hit in hits[20:]] == [hit["id"] for hit in plain[20:]]
    assert all(hit["rerank_score"] is None for hit in hits[20:])


def test_info_names_the_reranker(reranked: Asked, asked: Asked) -> None:
    assert reranked.get("/v1/info").json()["reranker"] == {"name": "by-length", "candidates": 20}
    assert asked.get("/v1/info").json()["reranker"] is None


def test_what_cannot_be_reranked_is_refused(reranked: Asked, asked: Asked) -> None:
    without = asked.search(TEXT, rerank=True)
    assert without.status_code == 409
    assert without.json()["type"].endswith("no-reranker")
    identity = reranked.search(TEXT).json()["results"][0]["hits"][0]["id"]
    by_id = reranked.search({"id": identity}, rerank=True)
    assert by_id.status_code == 409
    assert by_id.json()["type"].endswith("no-text")


def test_the_candidates_count_for_the_limits(coordinator: Callable[[LimitsConfig], Coordinator]) -> None:
    small = coordinator(LimitsConfig(max_hits=60, max_limit=60))
    asked = Asked(make_app(small, reranking=Reranking(ByLength(), 50)))
    reply = asked.search(TEXT, TEXT, limit=5, rerank=True)
    assert reply.status_code == 422
    assert reply.json()["type"].endswith("limit-too-large")
