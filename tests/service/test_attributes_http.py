"""Attributes over HTTP and gRPC and by the client: written, filtered in every mode, refused by name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import httpx
import numpy as np
import pytest

from tests.service.conftest import SHARDS, Asked, LocalEncoder, LocalWriter
from tests.service.test_rpc import call
from texthash.client import arguments, calls
from texthash.config import LimitsConfig
from texthash.errors import UsageError
from texthash.index.releases.release import read_release
from texthash.index.writing.writer import IndexDocument
from texthash.paths import StateDir
from texthash.service.coordinator import Coordinator
from texthash.service.http_app import make_app
from texthash.service.index_writes import IndexWriteService
from texthash.service.problems import Problem
from texthash.service.replicas.shard import ShardServer
from texthash.service.replicas.writer import Upsert
from texthash.service.rpc import message

DOCUMENTS: list[dict[str, Any]] = [
    {
        "id": f"own/{number}",
        "text": "sort the values of an array" if number % 2 else "read a csv file",
        "labels": ["own"],
        "attributes": {"year": 2000 + number, "lang": "en" if number < 5 else "de"}
        | ({"free": True, "day": {"date": f"2024-05-0{number + 1}"}} if number < 8 else {}),
    }
    for number in range(10)
]


def put(asked: Asked, documents: list[dict[str, Any]], wait: str = "") -> httpx.Response:
    return asyncio.run(asked.send("PUT", f"/v1/documents{wait}", json={"documents": documents}))


RECENT = {"attributes": {"year": {"gte": 2004}}}


@pytest.fixture
def writing(home: StateDir) -> Asked:
    """The service over a copy of the index, which it writes to."""
    root, release = str(home.root), read_release(home)
    shards = [ShardServer(root, release.name, number) for number in range(SHARDS)]
    coordinator = Coordinator(release, LimitsConfig(), LocalEncoder(root, release.name), shards)
    writer = LocalWriter(root, "http://test")
    return Asked(make_app(coordinator, index_writes=IndexWriteService(home, coordinator, writer)))


@pytest.fixture
def stored(writing: Asked) -> Asked:
    asked = writing
    reply = put(asked, DOCUMENTS, "?wait=true")
    assert reply.status_code == 200, reply.text
    return asked


def ids(reply: Any) -> set[str]:
    assert reply.status_code == 200, reply.text
    return {hit["id"] for hit in reply.json()["results"][0]["hits"]}


@pytest.mark.parametrize("mode", ["semantic", "keyword", "hybrid"])
@pytest.mark.parametrize("plan", ["flat", "mih", "auto"])
def test_every_mode_and_plan_keeps_the_same_documents(stored: Asked, mode: str, plan: str) -> None:
    text = {"text": "sort the values of an array read csv file"}
    reply = stored.search(text, mode=mode, limit=100, filter=RECENT, params={"plan": plan}, fields=["attributes"])
    assert ids(reply) == {f"own/{number}" for number in range(4, 10)}
    for hit in reply.json()["results"][0]["hits"]:
        assert hit["document"]["attributes"] == DOCUMENTS[int(hit["id"][4:])]["attributes"]
    assert "filter;dur=" in reply.headers["server-timing"]


def test_documents_are_counted_read_and_deleted_by_filter(stored: Asked) -> None:
    made = {"filter": {"attributes": {"day": {"lt": {"date": "2024-05-03"}}, "free": {"eq": True}}}}
    assert stored.post("/v1/documents/count", made).json()["count"] == 2
    read = stored.get("/v1/documents/own/0").json()
    assert read["attributes"] == DOCUMENTS[0]["attributes"]
    assert stored.get("/v1/info").json()["index"]["attributes"] == {
        "year": "number",
        "lang": "string",
        "free": "boolean",
        "day": "date",
    }
    assert stored.post("/v1/documents/delete?wait=true", made).json()["deleted"] == 2
    assert stored.post("/v1/documents/count", made).json()["count"] == 0


@pytest.mark.parametrize("path", ["/v1/search", "/v1/documents/count", "/v1/documents/delete"])
@pytest.mark.parametrize(
    ("wrong", "detail"),
    [
        ({"attributes": {"yaer": {"eq": 1}}}, "filter.attributes.yaer: no document of the index has had an attribute"),
        ({"attributes": {"year": {"eq": "2004"}}}, "the attribute year is a number, not the string '2004'"),
    ],
)
def test_a_filter_that_does_not_fit_is_a_problem(stored: Asked, path: str, wrong: dict, detail: str) -> None:
    body: dict[str, Any] = {"filter": wrong}
    reply = stored.post(path, body | ({"queries": [{"text": "sort"}]} if path == "/v1/search" else {}))
    assert reply.status_code == 409
    assert reply.json()["type"].endswith("/attribute-mismatch")
    assert detail in reply.json()["detail"]


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ({"any": []}, ["body", "filter", "any"]),
        ({"attributes": {"year": {"eq": [1]}}}, ["body", "filter", "attributes", "year", "eq"]),
        ({"attributes": {"year": {"equals": 1}}}, ["body", "filter", "attributes", "year", "equals"]),
        ({}, ["body", "filter"]),
    ],
)
def test_a_filter_of_another_form_is_a_field_in_error(asked: Asked, wrong: dict, place: list) -> None:
    reply = asked.post("/v1/documents/count", {"filter": wrong})
    assert (reply.status_code, reply.json()["errors"][0]["loc"]) == (422, place)


@pytest.mark.parametrize(
    ("value", "status", "detail"),
    [
        ("n/a", 409, "has the string 'n/a' as its attribute year, which is a number in the index"),
        (2**60, 422, "year is a whole number beyond"),
        ([1], 422, "year is a list"),
        ({"date": "1.5.2024"}, 422, "which is not in the form of RFC 3339"),
    ],
)
def test_a_document_with_a_wrong_attribute_is_refused(stored: Asked, value: Any, status: int, detail: str) -> None:
    before = stored.get("/v1/info").json()["release"]
    reply = put(stored, [{"id": "x", "text": "sort", "attributes": {"year": value}}])
    assert (reply.status_code, detail in reply.json()["detail"]) == (status, True), reply.text
    assert stored.get("/v1/info").json()["release"] == before


def test_grpc_filters_and_returns_attributes(coordinator: Callable[[LimitsConfig], Coordinator]) -> None:
    served = coordinator(LimitsConfig())
    types = dict(served.release.attributes)
    served.release.attributes.update({"year": "number", "day": "date"})
    try:
        condition = message("Condition")(gte={"number_value": 2004})
        made = message("Filter")(**{"not": message("Filter")(attributes={"year": condition})})
        reply = call(served, "Search", queries=[{"text": "sort"}], filter=made, fields=["attributes"], limit=3)
        assert len(reply.results[0].hits) == 3
        assert reply.results[0].hits[0].document.HasField("attributes")
    finally:
        served.release.attributes.clear()
        served.release.attributes.update(types)


def test_the_client_writes_dates_and_joins_labels_and_filter() -> None:
    body = calls.upsert([{"id": "a", "text": "b", "attributes": {"day": date(2024, 5, 1)}}]).body
    assert body is not None
    assert b'{"day": {"date": "2024-05-01"}}' in arguments.body_of(body)
    after = {"attributes": {"day": {"gte": datetime(2024, 5, 1, 12, tzinfo=UTC)}}}
    found = calls.count(labels="x", filter=after).body
    assert found == {"filter": {"all": [{"labels": ["x"]}, after]}}
    assert b'"gte": {"date": "2024-05-01T12:00:00Z"}' in arguments.body_of(found)
    with pytest.raises(UsageError, match=r"filter is 'x' .*not a mapping"):
        calls.count(filter="x")  # type: ignore[arg-type]


def test_an_upsert_of_another_type_does_not_stop_those_that_it_waited_with(home: StateDir) -> None:
    release = read_release(home)

    def upsert(id_: str, size: Any) -> Upsert:
        document = IndexDocument(id_, "sort", attributes={"size": size})
        return Upsert(release.content, (document,), np.zeros((1, 4), np.uint8), np.ones(1, np.bool_))

    writer = LocalWriter(str(home.root), "http://test")
    first, wrong, last = asyncio.run(writer.write_many([upsert("a", 1.0), upsert("b", "x"), upsert("c", 2.0)]))
    assert isinstance(wrong, Problem)
    assert wrong.kind == "attribute-mismatch"
    assert [done.new for done in (first, last) if not isinstance(done, Problem)] == [1, 1]
    assert read_release(home).attributes == {"size": "number"}
