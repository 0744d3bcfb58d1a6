"""The routes, in this process: answers that are exact, and errors that are problems."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Callable

import httpx
import numpy as np
import pytest

from tests.service.conftest import Asked
from texthash.api.problems import KINDS
from texthash.api.requests import SearchRequest
from texthash.config import LimitsConfig
from texthash.corpora.document import SPLITS
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.hamming.codes import from_hex, to_bitstring, to_hex
from texthash.index.releases.release import OpenRelease
from texthash.index.storage.shard_format import shard_of
from texthash.service.coordinator import Coordinator
from texthash.service.http_app import make_app
from texthash.service.problems import Problem
from texthash.service.replicas.encoder import LocalEncoder
from texthash.service.replicas.shard import ShardServer

TEXT = "sort the values of an array"
SMALL = LimitsConfig(max_batch=2, max_text_bytes=50, max_body_bytes=400, max_limit=20)


@pytest.fixture(scope="module")
def limited(coordinator: Callable[[LimitsConfig], Coordinator]) -> Asked:
    """A service with tight limits."""
    return Asked(make_app(coordinator(SMALL)))


@pytest.fixture(scope="module")
def everything(small_corpus: PreparedCorpus, opened: OpenRelease) -> tuple[list[str], np.ndarray, list[list[str]]]:
    """Ids, codes and labels of all documents by number."""
    splits = [small_corpus.split(name) for name in SPLITS]
    ids = [document for split in splits for document in split.ids]
    codes = np.concatenate([opened.hasher.encode_split(split) for split in splits])
    labels = [found for split in splits for table in split.documents() for found in table["labels"].to_pylist()]
    return ids, codes, labels


def nearest(everything, code: np.ndarray, labels: list[str] | None = None) -> list[tuple[str, int]]:
    """All documents by (distance, number), by brute force."""
    ids, codes, own = everything
    distances = np.bitwise_count(codes ^ code).sum(axis=1)
    order = np.lexsort((np.arange(len(ids)), distances))
    return [(ids[i], int(distances[i])) for i in order if labels is None or set(labels) & set(own[i])]


def pairs(result: dict) -> list[tuple[str, int]]:
    return [(hit["id"], hit["distance"]) for hit in result["hits"]]


# -- search -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("limit", "offset"), [(10, 0), (7, 5), (150, 0), (101, 30)])
def test_hits_are_those_of_brute_force(asked: Asked, opened, everything, limit: int, offset: int) -> None:
    reply = asked.search({"text": TEXT}, {"text": "plot a figure"}, limit=limit, offset=offset)
    assert reply.status_code == 200, reply.text
    for text, result in zip((TEXT, "plot a figure"), reply.json()["results"], strict=True):
        code = opened.hasher.encode([text], role="query")
        assert result["code"] == to_hex(code)[0]
        assert pairs(result) == nearest(everything, code[0])[offset : offset + limit]
        assert all(set(hit) == {"id", "distance", "document"} for hit in result["hits"])
        assert all(set(hit["document"]) == {"title"} for hit in result["hits"])


def test_a_query_by_code_and_by_id_agree(asked: Asked, everything) -> None:
    ids, codes, _ = everything
    number = len(ids) - 1
    reply = asked.search({"code": to_hex(codes[[number]])[0].upper()}, {"id": ids[number]}, limit=5)
    by_code, by_id = reply.json()["results"]
    assert by_code == by_id
    assert pairs(by_id) == nearest(everything, codes[number])[:5]


@pytest.mark.parametrize("limit", [10, 500])
def test_a_filter_keeps_documents_with_one_of_the_labels(asked: Asked, everything, opened, limit: int) -> None:
    wanted = sorted({label for labels in everything[2] for label in labels})[:2]
    reply = asked.search({"text": TEXT}, limit=limit, filter={"labels": wanted}, fields=["labels", "text"])
    (result,) = reply.json()["results"]
    code = opened.hasher.encode([TEXT], role="query")[0]
    assert pairs(result) == nearest(everything, code, wanted)[:limit]
    assert all(set(hit["document"]["labels"]) & set(wanted) and hit["document"]["text"] for hit in result["hits"])


def test_an_unknown_label_matches_nothing(asked: Asked) -> None:
    (result,) = asked.search({"text": TEXT}, filter={"labels": ["no such label"]}).json()["results"]
    assert result["hits"] == []


def test_a_radius_cuts_the_hits_and_counts_them_all(asked: Asked, everything, opened) -> None:
    code = opened.hasher.encode([TEXT], role="query")[0]
    (result,) = asked.search({"text": TEXT}, radius=8, limit=3).json()["results"]
    within = [pair for pair in nearest(everything, code) if pair[1] <= 8]
    assert pairs(result) == within[:3]
    assert result["total_within_radius"] == len(within) > 3
    (result,) = asked.search({"text": TEXT}, limit=3).json()["results"]
    assert result["total_within_radius"] is None


def test_codes_come_when_asked_for(asked: Asked, everything) -> None:
    ids, codes, _ = everything
    for limit in (3, 120):
        (result,) = asked.search({"text": TEXT}, limit=limit, include_code=True, fields=[]).json()["results"]
        assert len(result["hits"]) == limit
        for hit in result["hits"]:
            assert hit["code"] == codes[ids.index(hit["id"])].tobytes().hex()
            assert hit["document"] == {}


def test_a_text_of_unknown_words_has_no_hits(asked: Asked) -> None:
    for text in ("", "qqqq zzzz", "é"):
        reply = asked.search({"text": text}, {"text": TEXT}, radius=32, limit=1)
        unknown, known = reply.json()["results"]
        assert (unknown["known_words"], unknown["hits"], unknown["total_within_radius"]) == (False, [], 0)
        assert known["known_words"] is True
        assert len(known["hits"]) == 1


def test_a_page_past_the_end_is_empty(asked: Asked) -> None:
    assert asked.search({"text": TEXT}, offset=9000).json()["results"][0]["hits"] == []


def test_an_answer_names_its_release_and_where_the_time_went(asked: Asked, opened) -> None:
    reply = asked.search({"text": TEXT})
    body = reply.json()
    assert (body["release"], body["index_version"]) == (opened.release.name, opened.release.version)
    assert (body["plan"], body["bits"]) == ("flat", 32)
    names = re.findall(r"(\w+);dur=[\d.]+", reply.headers["server-timing"])
    assert names == ["encode", "filter", "search", "merge", "total"]


def test_requests_that_share_a_batch_are_answered_apart(coordinator, opened) -> None:
    from texthash.api.requests import SearchRequest

    requests = [
        SearchRequest.model_validate(body)
        for body in (
            {"queries": [{"text": TEXT}], "limit": 2},
            {"queries": [{"id": "no such document"}]},
            {"queries": [{"text": TEXT}, {"code": "00000000"}], "limit": 1, "fields": ["labels"]},
        )
    ]
    first, second, third = asyncio.run(coordinator(LimitsConfig()).search(requests))
    assert [len(result["hits"]) for result in first.results] == [2]
    assert isinstance(second, Problem)
    assert second.kind == "unknown-document"
    assert [list(result["hits"][0]["document"]) for result in third.results] == [["labels"], ["labels"]]


# -- encode -------------------------------------------------------------------------------------------------------


def test_codes_in_every_form(asked: Asked, opened) -> None:
    texts = [TEXT, "zzzz"]
    expected = opened.hasher.encode(texts)
    replies = {
        form: asked.post("/v1/encode", {"inputs": texts, "format": form}).json() for form in ("hex", "base64", "bits")
    }
    assert from_hex(replies["hex"]["codes"]).tolist() == expected.tolist()
    assert [list(base64.b64decode(code)) for code in replies["base64"]["codes"]] == expected.tolist()
    assert replies["bits"]["codes"] == to_bitstring(expected)
    assert replies["hex"]["known_words"] == [True, False]
    assert replies["hex"]["bitorder"] == "big"
    assert replies["hex"]["logits"] is None


def test_logits_are_what_the_code_was_cut_from(asked: Asked, opened) -> None:
    body = asked.post("/v1/encode", {"inputs": TEXT, "return_logits": True}).json()
    np.testing.assert_allclose(body["logits"], opened.hasher.read([TEXT]).values.numpy(), rtol=1e-5, atol=1e-6)


def test_no_texts_give_no_codes(asked: Asked) -> None:
    assert asked.post("/v1/encode", {"inputs": []}).json()["codes"] == []


# -- errors -------------------------------------------------------------------------------------------------------


def problem(reply: httpx.Response, kind: str) -> dict:
    assert reply.status_code == KINDS[kind].status, reply.text
    assert reply.headers["content-type"] == "application/problem+json"
    body = reply.json()
    assert body["type"].endswith(f"/problems/{kind}"), body
    assert body["status"] == reply.status_code
    assert body["title"] == KINDS[kind].title
    assert {"detail", "instance", "request_id"} <= set(body)
    return body


QUERY = {"queries": [{"text": TEXT}]}


@pytest.mark.parametrize(
    ("body", "kind", "says"),
    [
        ({"queries": [{"text": "a"}] * 3}, "batch-too-large", "3 members"),
        ({"queries": [{"text": "é" * 26}]}, "text-too-long", "queries.0.text has 52 bytes"),
        ({**QUERY, "limit": 21}, "limit-too-large", "limit=21"),
        ({**QUERY, "offset": 200}, "limit-too-large", "offset=200"),
        ({**QUERY, "radius": 33}, "radius-too-large", "radius=33"),
        ({"queries": [{"code": "00"}]}, "wrong-code-width", "8 bits"),
        ({"queries": [{"code": "00" * 8}]}, "wrong-code-width", "64 bits"),
        ({"queries": [{"code": "0g" * 4}]}, "invalid-field", "hexadecimal"),
        ({"queries": [{"code": "00 00 00 00"}]}, "invalid-field", "hexadecimal"),
        ({"queries": [{"id": "nobody"}]}, "unknown-document", "'nobody'"),
        ({"queries": []}, "invalid-field", "queries"),
        ({"queries": [{}]}, "invalid-field", "exactly one of"),
        ({"queries": [{"text": "a", "id": "b"}]}, "invalid-field", "exactly one of"),
        ({}, "invalid-field", "queries"),
        ([], "invalid-field", "body"),
        ({**QUERY, "limit": 0}, "invalid-field", "limit"),
        ({**QUERY, "limit": "many"}, "invalid-field", "limit"),
        ({**QUERY, "offset": -1}, "invalid-field", "offset"),
        ({**QUERY, "fields": ["colour"]}, "invalid-field", "fields"),
        ({**QUERY, "filter": {"labels": []}}, "invalid-field", "labels"),
        ({**QUERY, "limt": 5}, "invalid-field", "limt"),
        ({**QUERY, "params": {"plan": "hnsw"}}, "invalid-field", "plan"),
    ],
)
def test_what_cannot_be_asked(limited: Asked, body: object, kind: str, says: str) -> None:
    assert says in problem(limited.post("/v1/search", body), kind)["detail"]


def test_a_field_error_names_the_place_and_the_bound(limited: Asked) -> None:
    found = problem(limited.search({"text": TEXT}, limit=21), "limit-too-large")
    assert found["errors"] == [{"loc": ["body", "limit"], "msg": "must be <= 20", "max": 20}]


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"queries": [', b"\xff\xfe", b"nonsense", b"[" * 100, b'{"queries":' * 30]
)
def test_what_is_not_json(limited: Asked, content: bytes) -> None:
    reply = limited.post("/v1/search", content=content, headers={"content-type": "application/json"})
    problem(reply, "malformed-json" if content else "invalid-field")


def test_values_that_json_does_not_have(limited: Asked) -> None:
    for value in ("NaN", "Infinity", "1e999"):
        content = json.dumps(QUERY)[:-1] + f', "limit": {value}}}'
        reply = limited.post("/v1/search", content=content.encode(), headers={"content-type": "application/json"})
        assert reply.status_code in (400, 422)
    lone = b'{"queries": [{"text": "\\ud800"}]}'
    reply = limited.post("/v1/search", content=lone, headers={"content-type": "application/json"})
    assert reply.status_code in (400, 422)


def test_a_body_that_is_too_large_with_and_without_its_length(limited: Asked) -> None:
    async def chunks():
        for _ in range(100):
            yield b" " * 50

    headers = {"content-type": "application/json"}
    problem(limited.post("/v1/search", content=b" " * 401, headers=headers), "body-too-large")
    problem(limited.post("/v1/search", content=chunks(), headers=headers), "body-too-large")


@pytest.mark.parametrize("media", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_a_body_of_another_media_type(limited: Asked, media: str) -> None:
    content = json.dumps(QUERY).encode()
    problem(limited.post("/v1/search", content=content, headers={"content-type": media}), "unsupported-media-type")


def test_paths_and_methods_that_do_not_exist(limited: Asked) -> None:
    problem(limited.get("/v1/nothing"), "not-found")
    problem(limited.get("/problems/nothing"), "not-found")
    reply = limited.get("/v1/search")
    problem(reply, "method-not-allowed")
    assert reply.headers["allow"] == "POST"


def test_encode_has_the_same_limits(limited: Asked) -> None:
    problem(limited.post("/v1/encode", {"inputs": ["a"] * 3}), "batch-too-large")
    problem(limited.post("/v1/encode", {"inputs": "a" * 51}), "text-too-long")
    problem(limited.post("/v1/encode", {"inputs": [1]}), "invalid-field")
    problem(limited.post("/v1/encode", {"inputs": "a", "format": "octal"}), "invalid-field")


def test_a_full_service_says_so_and_still_answers_probes(coordinator) -> None:
    limits = LimitsConfig(max_ongoing_requests=1, max_queued_requests=1)
    held = asyncio.Event()

    async def slowly(request):
        await held.wait()
        raise Problem("timeout", "was only waiting")

    app = Asked(make_app(coordinator(limits), slowly))

    async def crowd() -> list[httpx.Response]:
        waiting = [asyncio.ensure_future(app.send("POST", "/v1/search", json=QUERY)) for _ in range(2)]
        await asyncio.sleep(0.1)
        refused = await app.send("POST", "/v1/search", json=QUERY)
        live = await app.send("GET", "/health/live")
        held.set()
        return [refused, live, *await asyncio.gather(*waiting)]

    refused, live, *admitted = asyncio.run(crowd())
    problem(refused, "overloaded")
    assert refused.headers["retry-after"] == "1"
    assert live.status_code == 200
    assert [reply.status_code for reply in admitted] == [504, 504]


def test_an_answer_that_takes_too_long(coordinator) -> None:
    async def never(request):
        await asyncio.sleep(60)

    app = Asked(make_app(coordinator(LimitsConfig(request_timeout_s=0.1)), never))
    assert "0.1 seconds" in problem(app.search({"text": TEXT}), "timeout")["detail"]


def test_a_failure_nobody_thought_of_shows_no_trace(coordinator) -> None:
    async def broken(request):
        raise ZeroDivisionError("secret")

    reply = Asked(make_app(coordinator(LimitsConfig()), broken)).search({"text": TEXT})
    problem(reply, "internal")
    assert "secret" not in reply.text


def test_a_problem_carries_the_request_id(limited: Asked) -> None:
    for given, kept in (("abc-123", True), ("no good", False)):
        reply = limited.get("/v1/nothing", headers={"x-request-id": given})
        assert (problem(reply, "not-found")["request_id"] == given) is kept


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_problem_has_its_page(limited: Asked, kind: str) -> None:
    reply = limited.get(f"/problems/{kind}")
    assert reply.status_code == 200
    assert str(KINDS[kind].status) in reply.text


# -- about the service --------------------------------------------------------------------------------------------


def test_info_says_what_is_served(limited: Asked, opened, everything) -> None:
    info = limited.get("/v1/info").json()
    assert 0 < info["index"].pop("chance_distance") < opened.release.bits / 2
    assert info["index"] == {
        "kind": "flat+mih",
        "documents": len(everything[0]),
        "shards": 2,
        "vectors": None,
        "keywords": "english",
        "attributes": {},
        "search_defaults": None,
    }
    assert info["model"]["method"] == "itq"
    assert info["model"]["run"] == "0123abcd"
    assert info["model"]["digest"] == opened.release.model_digest
    assert info["limits"] == {**SMALL.model_dump(), "max_window": 200}
    assert info["release"]["commit"] == "c0ffee"


def test_health(asked: Asked) -> None:
    assert asked.get("/health/live").json()["status"] == "ok"
    for path in ("/health", "/health/ready"):
        reply = asked.get(path)
        assert (reply.status_code, reply.json()["shards"]) == (200, {"ready": 2, "total": 2})


class Away:
    """Shard 1, which does not answer."""

    async def away(self, *_: object) -> None:
        raise Problem("shard-unavailable", "shard 1 is away", shard=1)

    ping = search = codes_of = document = keyword_statistics = search_keywords = sample = away


@pytest.fixture
def broken(opened: OpenRelease, encoder: LocalEncoder, shards: list[ShardServer]) -> Coordinator:
    """The way of a request to two shards, of which one is away."""
    return Coordinator(opened.release, LimitsConfig(), encoder, [shards[0], Away()])


@pytest.fixture
def halved(broken: Coordinator) -> Asked:
    return Asked(make_app(broken))


@pytest.mark.parametrize("limit", [10, 150])
def test_partial_answers_are_given_to_those_who_take_them(halved: Asked, asked: Asked, everything, limit: int) -> None:
    ids = everything[0]
    refused = halved.search({"text": TEXT}, limit=limit)
    assert (refused.status_code, refused.json()["shard"]) == (503, 1)
    body = halved.search({"text": TEXT}, {"text": "qqqq"}, limit=limit, radius=16, allow_partial=True).json()
    assert (body["partial"], body["missing_shards"]) == (True, [1])
    whole = asked.search({"text": TEXT}, limit=900, radius=16, allow_partial=True).json()
    assert (whole["partial"], whole["missing_shards"]) == (False, [])
    there = [hit for hit in pairs(whole["results"][0]) if shard_of(hit[0], 2) == 0]
    assert pairs(body["results"][0]) == there[:limit]
    assert body["results"][0]["total_within_radius"] == len(there)

    first, second = (next(id_ for id_ in ids if shard_of(id_, 2) == shard) for shard in (0, 1))
    assert halved.search({"id": first}, allow_partial=True).json()["results"][0]["hits"][0]["distance"] == 0
    unknown = halved.search({"id": second}, allow_partial=True)
    assert (unknown.status_code, unknown.json()["shard"]) == (503, 1), "its code cannot be had"


def test_one_who_takes_a_partial_answer_changes_nothing_for_others(broken: Coordinator) -> None:
    requests = [SearchRequest(queries=[{"text": TEXT}], allow_partial=allow) for allow in (True, False)]
    given, refused = asyncio.run(broken.search(requests))
    assert given.missing == [1]
    assert isinstance(refused, Problem)


def test_readiness_names_what_is_away(halved: Asked) -> None:
    reply = halved.get("/health/ready")
    assert reply.status_code == 503
    assert reply.json() == {
        "status": "unavailable",
        "encoder": True,
        "shards": {"ready": 1, "total": 2},
        "missing": ["shard-1"],
        "writes": None,
        "writes_refused": None,
        "audit": None,
        "audit_failure": None,
        "release": "r000001",
        "lag_s": None,
        "reason": None,
    }


@pytest.mark.parametrize("prefix", ["", "/deep/search"])
def test_documentation_is_right_behind_a_prefix(asked: Asked, prefix: str) -> None:
    behind = Asked(asked.app, root_path=prefix)
    for page, script in (("docs", "swagger-ui-bundle.js"), ("redoc", "redoc.standalone.js")):
        text = behind.get(f"{prefix}/{page}").text
        assert f"{prefix}/openapi.json" in text
        source = re.search(r'src="([^"]+)"', text)
        assert source
        assert source[1] == f"{prefix}/docs/assets/{script}"
        assert behind.get(source[1]).status_code == 200
    document = behind.get(f"{prefix}/openapi.json").json()
    assert document["servers"][0]["url"] == (prefix or "/")
    assert f"curl -s http://test{prefix}/v1/search" in document["info"]["description"]
    missing = behind.get(f"{prefix}/v1/nothing")
    assert missing.json()["type"] == f"{prefix}/problems/not-found"


def test_every_example_of_the_documentation_works(asked: Asked) -> None:
    document = asked.get("/openapi.json").json()
    tried = 0
    for path in ("/v1/search", "/v1/encode"):
        route = document["paths"][path]["post"]
        for example in route["requestBody"]["content"]["application/json"]["examples"].values():
            reply = asked.post(path, example["value"])
            assert reply.status_code == 200, reply.text
            tried += 1
        assert {"400", "413", "415", "422", "429", "500", "503", "504"} <= set(route["responses"])
        assert list(route["responses"]["422"]["content"]) == ["application/problem+json"]
    assert tried == 10


def test_the_page_needs_nothing_from_elsewhere(asked: Asked) -> None:
    page = asked.get("/").text
    outside = re.findall(r'(?:src|href)="(?:https?:)?//[^"]*"|url\(|@import', page)
    assert outside == []
    absolute = re.findall(r'(?:src|href)="/[^"]*"|fetch\("/', page)
    assert absolute == []
    policy = asked.get("/").headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; ")
    assert policy.count("'sha256-") == page.count("<script>") == 2
    assert not re.search(r"\son\w+=", page), "a policy without 'unsafe-inline' would not run it"
    assert asked.get("/favicon.svg").headers["content-type"].startswith("image/svg")


@pytest.mark.parametrize("plan", ["auto", "flat", "mih"])
def test_every_plan_finds_the_same_and_is_named(asked: Asked, plan: str) -> None:
    expected = asked.search({"text": "sort an array"}, limit=20).json()["results"][0]
    body = asked.search({"text": "sort an array"}, limit=20, params={"plan": plan}).json()
    result = body["results"][0]
    assert result["hits"] == expected["hits"]
    assert result["candidates"] > 0
    assert set(body["plan"].split("+")) <= {"flat", "mih"}
    if plan != "auto":
        assert plan in body["plan"]


def test_a_text_without_a_known_word_is_searched_by_no_plan(asked: Asked) -> None:
    body = asked.search({"text": "qqqq"}).json()
    assert (body["plan"], body["results"][0]["plan"], body["results"][0]["candidates"]) == ("none", None, 0)
