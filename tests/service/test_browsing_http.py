"""Facets and pages of documents over HTTP and gRPC, by the client and on the command line."""

from __future__ import annotations

import asyncio
import base64
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import grpc
import httpx
import pytest

from tests.service.conftest import Asked
from tests.service.live import listening
from tests.service.test_attributes_http import DOCUMENTS, RECENT, put, stored, writing
from tests.service.test_rpc import call
from texthash.client import AsyncClient, Client, ServiceError
from texthash.errors import UsageError
from texthash.index.releases.publish import prune
from texthash.paths import StateDir
from texthash.service.coordinator import Coordinator

__all__ = ["stored", "writing"]  # fixtures
OWN = {"labels": ["own"]}


@pytest.fixture
def url(stored: Asked) -> Iterator[str]:
    with listening(stored.app) as url:
        yield url


def pages(asked: Asked, **members: Any) -> list[dict[str, Any]]:
    """All pages of a scroll."""
    found, cursor = [], None
    while True:
        reply = asked.post("/v1/documents/scroll", {**members, **({"cursor": cursor} if cursor else {})})
        assert reply.status_code == 200, reply.text
        found.append(reply.json())
        cursor = found[-1]["cursor"]
        if cursor is None:
            return found


def ids(found: list[dict[str, Any]]) -> list[str]:
    return [document["id"] for page in found for document in page["documents"]]


def test_facets_count_all_documents_of_a_filter(stored: Asked) -> None:
    body = {"facets": {"labels": {}, "lang": {}, "free": {}, "year": {"ranges": 2}, "day": {"limit": 1}}}
    reply = stored.post("/v1/facets", {**body, "filter": RECENT}).json()
    assert reply["documents"] == 6
    counts = reply["counts"]
    assert counts["labels"]["values"] == [{"value": "own", "count": 6}]
    assert counts["lang"] == {
        "type": "string",
        "documents": 6,
        "missing": 0,
        "distinct": 2,
        "rest": 0,
        "values": [{"value": "de", "count": 5}, {"value": "en", "count": 1}],
    }
    assert (counts["free"]["missing"], counts["free"]["values"]) == (2, [{"value": True, "count": 4}])
    assert (counts["year"]["min"], counts["year"]["max"]) == (2004, 2009)
    assert counts["year"]["ranges"] == [
        {"range": {"gte": 2004, "lt": 2007}, "count": 3},
        {"range": {"gte": 2007, "lte": 2009}, "count": 3},
    ]
    assert (counts["day"]["values"], counts["day"]["rest"]) == ([{"value": {"date": "2024-05-05"}, "count": 1}], 3)
    everything = stored.post("/v1/facets", {"facets": {"labels": {"limit": 1000}}}).json()
    assert everything["documents"] == stored.get("/v1/info").json()["index"]["documents"]


def test_facets_of_a_search_are_those_of_what_it_matches(stored: Asked) -> None:
    members = {"facets": {"labels": {}, "lang": {}}, "filter": OWN, "limit": 1}
    for mode, count in (("hybrid", 10), ("semantic", 10), ("keyword", 5)):
        result = stored.search({"text": "csv"}, mode=mode, **members).json()["results"][0]
        assert result["facets"]["documents"] == count
        assert result["facets"]["counts"]["labels"]["values"] == [{"value": "own", "count": count}]
    two = stored.search({"text": "csv"}, {"text": "qqqq"}, mode="keyword", **members).json()["results"]
    assert [result["facets"]["documents"] for result in two] == [5, 0]
    near = stored.search({"text": "read a csv file"}, {"text": "qqqq"}, radius=0, **members).json()["results"]
    assert [result["facets"]["documents"] for result in near] == [near[0]["total_within_radius"], 0]
    assert near[0]["total_within_radius"] >= 5
    assert "facets" not in stored.search({"text": "csv"}).json()["results"][0]


@pytest.mark.parametrize("sort", [None, ("year", "asc"), ("day", "desc"), ("lang", "desc"), ("free", "asc")])
@pytest.mark.parametrize("limit", [1, 3, 100])
def test_pages_have_every_document_once_in_order(stored: Asked, sort: tuple[str, str] | None, limit: int) -> None:
    members: dict[str, Any] = {"filter": OWN, "limit": limit, "fields": ["attributes"]}
    if sort:
        members["sort"] = {"attribute": sort[0], "order": sort[1]}
    found = pages(stored, **members)
    expected = [document["id"] for document in DOCUMENTS]
    if sort:
        values = {own["id"]: json.dumps(own["attributes"].get(sort[0])) for own in DOCUMENTS}
        have = [id_ for id_ in expected if values[id_] != "null"]
        have.sort(key=lambda id_: values[id_], reverse=sort[1] == "desc")
        expected = have + [id_ for id_ in expected if values[id_] == "null"]
    assert ids(found) == expected
    assert {page["total"] for page in found} == {10}
    by_id = {own["id"]: own["attributes"] for own in DOCUMENTS}
    for page in found:
        for document in page["documents"]:
            assert document["document"] == {"attributes": by_id[document["id"]]}


def test_all_documents_come_with_their_codes(asked: Asked) -> None:
    found = pages(asked, limit=1000, include_code=True, fields=["title"])
    assert len(set(ids(found))) == len(ids(found)) == asked.get("/v1/info").json()["index"]["documents"]
    first = found[0]["documents"][0]
    assert first["code"] == asked.get("/v1/documents", params={"id": first["id"]}).json()["code"]


def test_a_cursor_stays_with_its_release_while_documents_are_written(stored: Asked) -> None:
    members = {"filter": OWN, "sort": {"attribute": "year"}, "limit": 4}
    first = stored.post("/v1/documents/scroll", members).json()
    changed = [{**DOCUMENTS[0], "attributes": {"year": 2100}}, {**DOCUMENTS[1], "id": "own/new"}]
    put(stored, changed, "?wait=true")
    stored.post("/v1/documents/delete?wait=true", {"ids": ["own/7"]})
    second = stored.post("/v1/documents/scroll", {**members, "limit": 100, "cursor": first["cursor"]}).json()
    assert ids([first, second]) == [document["id"] for document in DOCUMENTS]
    assert {first["release"]} == {second["release"]} != {stored.get("/v1/info").json()["release"]["name"]}
    assert "own/new" in ids(pages(stored, **members))


def scrolled(asked: Asked, **members: Any) -> httpx.Response:
    return asked.post("/v1/documents/scroll", members)


def test_a_cursor_of_another_request_or_server_is_refused_by_name(
    stored: Asked, asked: Asked, home: StateDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    cursor = scrolled(stored, filter=OWN, limit=1).json()["cursor"]
    for other in ({}, {"filter": {"labels": ["other"]}}, {"filter": OWN, "sort": {"attribute": "year"}}):
        reply = scrolled(stored, cursor=cursor, **other)
        assert (reply.status_code, reply.json()["errors"][0]["loc"]) == (422, ["body", "cursor"])
        assert "belongs to another filter or sort" in reply.json()["detail"]
    raw = bytearray(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    raw[-2] ^= 1
    flipped = base64.urlsafe_b64encode(bytes(raw)).decode()
    for damaged in (cursor[:-3], "x", "é", cursor + "AAAA", flipped, "A" * 5000):
        reply = scrolled(stored, filter=OWN, cursor=damaged)
        assert (reply.status_code, "cursor is damaged" in reply.json()["detail"]) == (422, True), reply.text
    reply = scrolled(asked, filter=OWN, cursor=cursor)  # a server of another release
    assert (reply.status_code, reply.json()["type"].rpartition("/")[2]) == (409, "cursor-expired")
    assert "the cursor belongs to release r000003" in reply.json()["detail"]
    assert "current release is r000001" in reply.json()["detail"]


def test_a_cursor_whose_release_was_dropped_has_expired(stored: Asked, home: StateDir) -> None:
    cursor = scrolled(stored, filter=OWN, limit=1).json()["cursor"]
    for number in range(6):  # more than stay open
        put(stored, [{"id": f"more/{number}", "text": "sort"}], "?wait=true")
        assert stored.search({"text": "sort"}).status_code == 200
    prune(home, (), keep=1, age_s=0)
    reply = scrolled(stored, filter=OWN, cursor=cursor)
    assert (reply.status_code, reply.json()["type"].rpartition("/")[2]) == (409, "cursor-expired")
    assert "there is no release 'r000003'" in reply.json()["detail"]


@pytest.mark.parametrize(
    ("path", "body", "status", "detail"),
    [
        ("/v1/facets", {"facets": {"yaer": {}}}, 409, "facets.yaer: no document of the index has had an attribute"),
        ("/v1/facets", {"facets": {"lang": {"ranges": 3}}}, 409, "facets.lang.ranges: the attribute lang is a string"),
        ("/v1/facets", {"facets": {"year": {"edges": ["a"]}}}, 409, "year is a number, not the string 'a'"),
        ("/v1/facets", {"facets": {"year": {"edges": [2, 1]}}}, 422, "edges does not ascend"),
        ("/v1/facets", {"facets": {}}, 422, "body.facets"),
        ("/v1/facets", {}, 422, "body.facets"),
        ("/v1/facets", {"facets": {"year": {"size": 3}}}, 422, "body.facets.year.size"),
        ("/v1/facets", {"facets": {"labels": {}}, "filter": {"attributes": {"no": {"eq": 1}}}}, 409, "'no'"),
        ("/v1/documents/scroll", {"sort": {"attribute": "labels"}}, 409, "cannot be sorted by their labels"),
        ("/v1/documents/scroll", {"sort": {"attribute": "yaer"}}, 409, "sort.attribute: no document"),
        ("/v1/documents/scroll", {"sort": {"attribute": "year", "order": "down"}}, 422, "sort.order"),
        ("/v1/documents/scroll", {"limit": 100_000}, 422, "limit=100000, this server allows at most"),
        ("/v1/documents/scroll", {"limit": 0}, 422, "limit"),
        ("/v1/documents/scroll", {"fields": ["body"]}, 422, "fields"),
        ("/v1/search", {"queries": [{"text": "x"}], "facets": {"yaer": {}}}, 409, "facets.yaer: no document"),
    ],
)
def test_what_does_not_fit_is_named(stored: Asked, path: str, body: dict[str, Any], status: int, detail: str) -> None:
    reply = stored.post(path, body)
    assert (reply.status_code, detail in reply.json()["detail"]) == (status, True), reply.text


def test_the_clients_count_and_list(url: str) -> None:
    with Client(url) as client:
        counted = client.facets({"year": {"edges": [2004]}, "lang": {}}, labels="own")
        assert [part.count for part in counted.counts["year"].ranges or ()] == [4, 6]
        assert client.facets("labels").counts["labels"].distinct > 1
        found = client.search("csv", mode="keyword", labels="own", facets=["lang"]).results[0].facets
        assert found is not None
        assert found.documents == 5
        listed = list(client.scroll_all(labels="own", sort="year", descending=True, limit=3, fields="text"))
        assert [one.id for one in listed] == [own["id"] for own in reversed(DOCUMENTS)]
        assert listed[0].document == {"text": DOCUMENTS[-1]["text"]}
        assert client.scroll(filter=RECENT, limit=2).total == 6
        with pytest.raises(ServiceError, match="cannot be sorted by their labels"):
            client.scroll(sort="labels")
        with pytest.raises(UsageError, match="facets is 7"):
            client.facets(7)  # type: ignore[arg-type]

    async def run() -> list[str]:
        async with AsyncClient(url) as client:
            assert (await client.facets("lang", filter=RECENT)).documents == 6
            return [one.id async for one in client.scroll_all(labels="own", limit=4)]

    assert asyncio.run(run()) == [own["id"] for own in DOCUMENTS]


def test_the_command_counts_and_lists(url: str, run_cli: Any, home: StateDir) -> None:
    here: list[str] = []
    for service in ([], ["--service", url]):
        status, out, err = run_cli(
            "index", "facets", "labels", 'year={"ranges": 2}', "--label", "own", "--json", *service
        )
        assert status == 0, err
        counts = json.loads(out)["counts"]
        assert counts["labels"]["values"] == [{"value": "own", "count": 10}]
        assert [part["count"] for part in counts["year"]["ranges"]] == [5, 5]
        status, out, err = run_cli("index", "scroll", "--label", "own", "--sort", "day:desc", "--limit", "9", *service)
        assert status == 0, err
        listed = [json.loads(line) for line in out.splitlines()]
        assert [one["id"] for one in listed] == [f"own/{n}" for n in (7, 6, 5, 4, 3, 2, 1, 0, 8)]
        assert listed[0]["attributes"] == DOCUMENTS[7]["attributes"]
        here.append(out)
    assert here[0] == here[1]
    status, out, _ = run_cli("index", "facets", "year", "free", "--label", "own")
    assert [line.split() for line in out.splitlines() if "none" in line] == [["free", "(none)", "2"]]
    for words, says in (
        (["facets", "yaer"], "no document of the index has had an attribute 'yaer'"),
        (["facets", "year={"], "the options of the facet year are not JSON"),
        (["facets", "year=[]"], "are [], not an object"),
        (["scroll", "--sort", "labels"], "--sort: documents cannot be sorted by their labels"),
        (["scroll", "--sort", "year:down"], "'down' is no direction"),
        (["scroll", "--field", "titel"], "did you mean 'title'?"),
    ):
        status, _, err = run_cli("index", *words)
        assert (status != 0, says in err) == (True, True), err


def test_grpc_counts_and_lists(coordinator: Any, asked: Asked) -> None:
    from texthash.config import LimitsConfig

    served: Coordinator = coordinator(LimitsConfig())
    found = call(served, "Facets", facets={"labels": {"limit": 3}})
    wanted = asked.post("/v1/facets", {"facets": {"labels": {"limit": 3}}}).json()
    assert [(one.value.string_value, one.count) for one in found.counts["labels"].values] == [
        (one["value"], one["count"]) for one in wanted["counts"]["labels"]["values"]
    ]
    assert (found.documents, found.counts["labels"].rest) == (wanted["documents"], wanted["counts"]["labels"]["rest"])
    first = call(served, "Scroll", limit=3, fields=["labels"], include_code=True)
    second = call(served, "Scroll", limit=2, cursor=first.cursor)
    listed = asked.post("/v1/documents/scroll", {"limit": 5}).json()
    assert [one.id for page in (first, second) for one in page.documents] == ids([listed])
    assert (first.total, first.release) == (listed["total"], listed["release"])
    within = call(served, "Search", queries=[{"text": "sort"}], facets={"labels": {}}).results[0]
    assert within.facets.counts["labels"].type == "label"
    assert not call(served, "Search", queries=[{"text": "sort"}]).results[0].HasField("facets")
    with pytest.raises(grpc.aio.AioRpcError, match="cannot be sorted by their labels"):
        call(served, "Scroll", sort={"attribute": "labels"})


def test_facets_of_the_small_corpus_are_those_of_its_documents(asked: Asked) -> None:
    found = pages(asked, limit=500, fields=["labels"])
    counts = Counter(label for page in found for one in page["documents"] for label in set(one["document"]["labels"]))
    reply = asked.post("/v1/facets", {"facets": {"labels": {"limit": 1000}}}).json()["counts"]["labels"]
    assert {one["value"]: one["count"] for one in reply["values"]} == dict(counts.most_common(1000))
    assert reply["rest"] == sum(counts.values()) - sum(one["count"] for one in reply["values"])
