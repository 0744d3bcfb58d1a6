"""Rescoring over HTTP, in this process: the answers of the library, pages that follow each other, limits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from functools import partial

import httpx
import numpy as np
import pytest

from tests.service.conftest import Asked
from texthash.api.requests import SearchRequest
from texthash.cli.app import main
from texthash.client import Client
from texthash.config import LimitsConfig
from texthash.hamming.codes import from_hex
from texthash.index.filters.language import Labels
from texthash.index.releases.release import OpenRelease
from texthash.index.rescoring import search_rescored, signs_of
from texthash.models.hasher import Hasher
from texthash.paths import StateDir
from texthash.service.coordinator import Coordinator
from texthash.service.http_app import make_app

TEXTS = ("sort the values of an array", "plot a figure")


def asymmetric(oversample: int) -> dict[str, object]:
    return {"kind": "asymmetric", "oversample": oversample}


def expected(opened: OpenRelease, codes: np.ndarray, margins: np.ndarray, **how: object) -> list[list[tuple]]:
    """(id, distance, score) of the hits of each query, by the library."""
    found = search_rescored(opened.shards, codes, margins, **how)
    answers = []
    for query, numbers in enumerate(found.hits.numbers):
        owners, distances, scores = found.shards[query], found.hits.distances[query], found.scores[query]
        ids = [opened.shards[owner].documents([n], [])[0]["id"] for owner, n in zip(owners, numbers, strict=True)]
        answers.append([(i, int(d), float(s)) for i, d, s in zip(ids, distances, scores, strict=True)])
    return answers


def hits(result: dict) -> list[tuple]:
    return [(hit["id"], hit["distance"], hit["score"]) for hit in result["hits"]]


@pytest.mark.parametrize("more", [{}, {"radius": 10}, {"labels": 2}, {"offset": 3}])
@pytest.mark.parametrize(("limit", "oversample"), [(5, 4), (20, 10)])
def test_answers_are_those_of_the_library(
    asked: Asked, opened: OpenRelease, limit: int, oversample: int, more: dict[str, int]
) -> None:
    values = opened.hasher.read(TEXTS, role="query").values
    how, members = dict(more), dict(more)
    if "labels" in more:
        labels = [f for s in opened.shards for f in s.documents(s.numbers[:1], ["labels"])[0]["labels"]][:2]
        how, members = {"where": Labels(tuple(labels))}, {"filter": {"labels": labels}}
    reply = asked.search(*({"text": t} for t in TEXTS), limit=limit, rescore=asymmetric(oversample), **members)
    assert reply.status_code == 200, reply.text
    wanted = expected(
        opened,
        opened.hasher.binarize(values),
        opened.hasher.query_values(values),
        limit=limit,
        oversample=oversample,
        **how,
    )
    assert [hits(result) for result in reply.json()["results"]] == wanted
    assert all(wanted)


def test_pages_follow_each_other_and_go_on_by_distance(asked: Asked) -> None:
    def page(offset: int) -> list[tuple]:
        reply = asked.search({"text": TEXTS[0]}, limit=5, offset=offset, rescore=asymmetric(4))
        return hits(reply.json()["results"][0])

    listed = [hit for offset in (0, 5, 10, 15) for hit in page(offset)]
    assert len({hit[0] for hit in listed}) == 20
    assert listed == sorted(listed, key=lambda hit: (-hit[2], hit[1], listed.index(hit)))
    near = asked.search({"text": TEXTS[0]}, limit=20).json()["results"][0]["hits"]
    assert {hit[0] for hit in listed} == {hit["id"] for hit in near}
    later = [hit["id"] for hit in asked.search({"text": TEXTS[0]}, limit=5, offset=20).json()["results"][0]["hits"]]
    assert [hit[0] for hit in page(20)] == later


def test_of_a_code_and_an_id_the_order_is_that_of_the_distance(asked: Asked, opened: OpenRelease) -> None:
    shard = opened.shards[0]
    (found,) = shard.documents(shard.numbers[:1], ["code"])
    queries = ({"code": found["code"].hex()}, {"id": found["id"]})
    by_code, by_id = asked.search(*queries, limit=30, rescore=asymmetric(2)).json()["results"]
    assert by_code == by_id
    codes = from_hex([found["code"].hex()])
    assert [hits(by_code)] == expected(opened, codes, signs_of(codes), limit=30, oversample=2)
    plain = asked.search(queries[0], limit=30).json()["results"][0]["hits"]
    assert [hit[:2] for hit in hits(by_code)] == [(hit["id"], hit["distance"]) for hit in plain]
    assert [hit[2] for hit in hits(by_code)] == [opened.release.bits - 2 * hit["distance"] for hit in plain]


def test_requests_that_share_a_batch_are_answered_apart(coordinator: Callable[[LimitsConfig], Coordinator]) -> None:
    requests = [
        SearchRequest.model_validate({"mode": "semantic", "queries": [{"text": TEXTS[0]}], **members})
        for members in (
            {"limit": 20},
            {"limit": 5, "rescore": asymmetric(4)},
            {"limit": 10, "rescore": asymmetric(2)},
            {"limit": 4, "offset": 1, "rescore": {"kind": "none", "oversample": 5}},
        )
    ]
    one = coordinator(LimitsConfig())
    together = [answer.results for answer in asyncio.run(one.search(requests))]
    alone = [asyncio.run(one.search([request]))[0].results for request in requests]
    assert together == alone
    assert ["score" in answer[0]["hits"][0] for answer in together] == [False, True, True, False]
    assert together[1][0]["hits"] == together[2][0]["hits"][:5]


def test_activations_travel_only_when_asked_for(
    coordinator: Callable[[LimitsConfig], Coordinator], released: StateDir, opened: OpenRelease
) -> None:
    one = coordinator(LimitsConfig())
    plain, asked = (asyncio.run(one.encode(TEXTS, "query", margins=margins))[1] for margins in (False, True))
    assert (plain.margins, plain.logits, asked.logits) == (None, None, None)
    hasher = Hasher.load(released.path(opened.release.model_uri))
    expected = hasher.query_values(hasher.read(TEXTS, "query").values)
    np.testing.assert_allclose(asked.margins, expected, rtol=1e-5, atol=1e-6)
    shift = hasher.method.query_shift()
    assert shift is not None
    assert np.array_equal(np.packbits(asked.margins > shift.numpy(), axis=1), asked.codes)


@pytest.mark.parametrize(
    ("members", "most"),
    [
        ({"rescore": asymmetric(9)}, 8),
        ({"rescore": asymmetric(8)}, None),
        ({"limit": 20, "rescore": asymmetric(8)}, None),
        ({"rescore": {"kind": "none", "oversample": 9}}, 8),
    ],
)
def test_oversampling_has_a_limit(
    coordinator: Callable[[LimitsConfig], Coordinator], members: dict[str, object], most: int | None
) -> None:
    small = Asked(make_app(coordinator(LimitsConfig(max_limit=20, max_oversample=8))))
    reply = small.search({"text": TEXTS[0]}, **members)
    assert reply.status_code == (200 if most is None else 422)
    if most is not None:
        (error,) = reply.json()["errors"]
        assert (error["loc"], error["max"]) == (["body", "rescore", "oversample"], most)
    least = Asked(make_app(coordinator(LimitsConfig(max_oversample=1))))
    assert least.search({"text": TEXTS[0]}).status_code == 200
    assert small.get("/v1/info").json()["limits"]["max_oversample"] == 8


def test_as_many_candidates_as_a_window_has(coordinator: Callable[[LimitsConfig], Coordinator]) -> None:
    small = Asked(make_app(coordinator(LimitsConfig(max_limit=20))))
    reply = small.search({"text": TEXTS[0]}, limit=20, rescore=asymmetric(11))
    assert (reply.status_code, reply.json()["errors"][0]["max"]) == (422, 10)
    assert small.search({"text": TEXTS[0]}, limit=20, rescore=asymmetric(10)).status_code == 200


def test_what_is_no_rescoring(asked: Asked) -> None:
    for wrong in ({"kind": "int8"}, {"oversample": 0}, {"kind": "asymmetric", "factor": 2}):
        assert asked.search({"text": TEXTS[0]}, rescore=wrong).json()["type"] == "/problems/invalid-field"


@pytest.fixture
def transport(asked: Asked) -> httpx.MockTransport:
    """From a client to the application in this process."""

    def answer(request: httpx.Request) -> httpx.Response:
        sent = asked.post(request.url.path, content=request.content, headers=dict(request.headers))
        return httpx.Response(sent.status_code, content=sent.content, headers=sent.headers)

    return httpx.MockTransport(answer)


@pytest.mark.parametrize("how", [[], ["--rescore", "asymmetric", "--oversample", "8", "--plan", "mih"]])
@pytest.mark.parametrize("text", [TEXTS[0], "qqqzzz xqxq"])
def test_the_command_line_has_the_same_answer_from_a_service(
    released: StateDir,
    transport: httpx.MockTransport,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    how: list[str],
    text: str,
) -> None:
    monkeypatch.setenv("TEXTHASH_HOME", str(released.root))
    monkeypatch.setattr("texthash.client.Client", partial(Client, transport=transport))

    def run(*more: str) -> tuple[object, str]:
        with pytest.raises(SystemExit) as ended:
            main(["search", text, "--limit", "6", "--json", *how, *more])
        return ended.value.code, capsys.readouterr().out

    (here, answer), (there, same) = run(), run("--service", "http://test")
    assert (here, there) == (0, 0)
    assert json.loads(answer) == json.loads(same)
    assert run("--service", "http://test", "--release", "r000001")[0] == 2


def test_the_client_asks_for_it(asked: Asked, transport: httpx.MockTransport) -> None:
    with Client("http://test", transport=transport) as client:
        plain = client.search(TEXTS[0], mode="semantic", plan="mih").results[0]
        scored = client.search(TEXTS[0], mode="semantic", rescore="asymmetric", oversample=8, limit=7).results[0]
    assert [hit.score for hit in plain.hits] == [None] * 10
    direct = asked.search({"text": TEXTS[0]}, limit=7, rescore=asymmetric(8)).json()["results"][0]
    assert [(hit.id, hit.distance, hit.score) for hit in scored.hits] == hits(direct)
