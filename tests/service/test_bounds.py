"""Requests that cost more to look at than they should, and answers that repeat them."""

from __future__ import annotations

import asyncio
import json
import string
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.service.conftest import Asked
from tests.service.test_hardening import JSON, kind
from tests.service.test_openapi import RIGHT, app, document  # noqa: F401  (app is a fixture)
from texthash.api.requests import NewDocument
from texthash.config import LimitsConfig
from texthash.service.http_app import make_app

SMALL = 8_000
LARGE = 1_900_000


def filled(start: str, item: str, end: str) -> bytes:
    """A body of almost the size that is allowed."""
    return f"{start}{','.join([item] * ((LARGE - len(start) - len(end)) // (len(item) + 1)))}{end}".encode()


@pytest.mark.parametrize(
    ("member", "value", "message"),
    [
        ("id", "i" * 513, "String should have at most 512 characters"),
        ("title", "t" * 10_001, "String should have at most 10000 characters"),
        ("labels", ["l" * 513], "String should have at most 512 characters"),
        ("labels", [""], "String should have at least 1 character"),
        ("text", "", "String should have at least 1 character"),
    ],
)
def test_bounds_of_texts_are_told_in_characters(member: str, value: object, message: str) -> None:
    with pytest.raises(ValidationError) as refused:
        NewDocument.model_validate({"id": "a", "text": "b", member: value})
    (error,) = refused.value.errors()
    assert error["msg"] == message


MANY = b"".join(b', "m%d": 1' % number for number in range(150_000))
BODIES = {
    "wrong queries": ("/v1/search", filled('{"queries": [', "{}", "]}"), 413),
    "queries that are numbers": ("/v1/search", filled('{"queries": [', "1", "]}"), 413),
    "fields": ("/v1/search", filled('{"queries": [{"text": "a"}], "fields": [', '"title"', "]}"), 413),
    "labels": ("/v1/search", filled('{"queries": [{"text": "a"}], "filter": {"labels": [', "1", "]}}"), 422),
    "wrong inputs": ("/v1/encode", filled('{"inputs": [', "1", "]}"), 413),
    "wrong ids": ("/v1/documents/delete", filled('{"ids": [', "1", "]}"), 413),
    "labels of a document": (
        "/v1/documents",
        filled('{"documents": [{"id": "a", "text": "a", "labels": [', "1", "]}]}"),
        422,
    ),
    "labels of every document": (
        "/v1/documents",
        filled('{"documents": [', '{"id": 1, "labels": [' + ",".join("1" * 256) + "]}", "]}"),
        413,
    ),
    "an unknown list": ("/v1/compact", filled('{"queries": [', "1", "]}"), 413),
    "unknown members": (
        "/v1/search",
        b'{"queries": [{"text": "a"}]' + MANY + b"}",
        422,
    ),
    "unknown members of a part": (
        "/v1/search",
        b'{"queries": [{"text": "a"}], "rescore": {"a": 1' + MANY + b"}}",
        422,
    ),
    "unknown members of a query": (
        "/v1/search",
        b'{"queries": [{"text": "a"' + MANY + b"}]}",
        422,
    ),
    "a long name": ("/v1/search", b'{"queries": [{"text": "a"}], "' + b"n" * LARGE + b'": 1}', 422),
    "a long value": ("/v1/search", b'{"queries": [{"text": "a"}], "params": {"plan": "' + b"n" * LARGE + b'"}}', 422),
    "a long id": ("/v1/search", b'{"queries": [{"id": "' + b"n" * LARGE + b'"}]}', (404, 413, 422)),
    "a long code": ("/v1/search", b'{"queries": [{"code": "' + b"f" * LARGE + b'"}]}', 409),
    "a long number": ("/v1/search", b'{"queries": [{"text": "a"}], "limit": ' + b"9" * 4_000 + b"}", 422),
    "many texts": ("/v1/encode", filled('{"inputs": [', '"a"', "]}"), 413),
    "a double id": (
        "/v1/documents",
        json.dumps({"documents": [{"id": "n" * 512, "text": "a"}] * 2}).encode(),
        422,
    ),
}


@pytest.mark.parametrize("name", BODIES)
def test_the_answer_to_a_large_wrong_body_is_small(app: FastAPI, name: str) -> None:  # noqa: F811
    path, content, status = BODIES[name]
    method = "PUT" if path == "/v1/documents" else "POST"
    reply = asyncio.run(Asked(app).send(method, path, content=content, headers={**RIGHT, **JSON}))
    assert reply.status_code in (status if isinstance(status, tuple) else (status,)), reply.text[:500]
    assert len(reply.content) < SMALL
    assert len(reply.json().get("errors", ())) <= 20


def test_of_many_errors_the_first_are_shown_and_the_rest_counted(asked: Asked) -> None:
    body = asked.post("/v1/search", {"queries": [{"text": "a", "no": 1}] * 200}).json()
    assert len(body["errors"]) == 20
    assert body["errors_omitted"] == 180
    few = asked.post("/v1/search", {"queries": [{"text": "a", "no": 1}] * 20}).json()
    assert (len(few["errors"]), "errors_omitted" in few) == (20, False)


@pytest.mark.parametrize("path", ["/v1/" + "n" * 50_000, "/problems/" + "n" * 50_000, "/v1/documents/" + "n" * 50_000])
def test_a_long_path_is_not_repeated(asked: Asked, path: str) -> None:
    reply = asked.get(path)
    assert reply.status_code == 404
    assert len(reply.content) < SMALL


def test_fields_count_once_in_their_first_order(asked: Asked) -> None:
    reply = asked.search({"text": "sort an array"}, fields=["labels", "title", "labels", "title"], limit=1)
    assert list(reply.json()["results"][0]["hits"][0]["document"]) == ["labels", "title"]


def test_every_list_of_a_request_has_a_maximum_in_the_document(app: FastAPI) -> None:  # noqa: F811
    described = document(app)
    schemas = described["components"]["schemas"]

    def lists(schema: Any, where: str, seen: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
        if isinstance(schema, list):
            for part in schema:
                yield from lists(part, where, seen)
        elif isinstance(schema, dict):
            name = schema.get("$ref", "").rpartition("/")[2]
            if name and name not in seen:
                yield from lists(schemas[name], f"{where}:{name}", (*seen, name))
            if schema.get("type") == "array":
                yield where, schema
            for member, part in schema.items():
                if member == "anyOf" and "maxItems" in schema:  # a bound on the union is one on each of its lists
                    continue
                yield from lists(part, f"{where}.{member}", seen)

    found = [
        (where, schema)
        for path, methods in described["paths"].items()
        for route in methods.values()
        for media in route.get("requestBody", {}).get("content", {}).values()
        for where, schema in lists(media["schema"], path)
        if "oneOf" not in where
    ]
    assert len(found) >= 7
    assert [where for where, schema in found if "maxItems" not in schema] == []


def test_the_document_is_made_once_for_a_release(coordinator) -> None:

    class Counted:
        """A coordinator that counts how often it is asked for the example of a document."""

        examples = 0

        def __init__(self, inner: Any) -> None:
            self._inner = inner

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inner, name)

        async def example(self) -> str | None:
            self.examples += 1
            return await self._inner.example()

    counted = Counted(coordinator(LimitsConfig()))
    asked = Asked(make_app(counted))  # type: ignore[arg-type]

    async def many() -> set[bytes]:
        return {(await reply).content for reply in [asked.send("GET", "/openapi.json") for _ in range(20)]}

    assert len(asyncio.run(many())) == 1
    assert counted.examples == 1
    for host in ("test", "other.example:81"):  # each answer names the server as it was called
        described = asked.get("/openapi.json", headers={"host": host}).json()["info"]["description"]
        assert f"http://{host}/v1/search" in described
    assert counted.examples == 1


@pytest.mark.parametrize(
    ("method", "path", "says"),
    [
        ("PUT", "/v1/documents?wiat=true", "did you mean 'wait'?"),
        ("POST", "/v1/documents/delete?Wait=true", "did you mean 'wait'?"),
        ("POST", "/v1/search?limit=3", "this path takes none"),
        ("GET", "/v1/info?x", "this path takes none"),
        ("GET", "/v1/documents/nobody?fields=title", "this path takes none"),
        ("POST", "/v1/compact?wait=true&wait=true", "this path takes none"),
        ("POST", "/v1/search?" + "n" * 5_000 + "=1", "this path takes none"),
    ],
)
def test_an_unknown_parameter_is_refused_with_the_nearest_name(
    app: FastAPI,  # noqa: F811
    method: str,
    path: str,
    says: str,
) -> None:
    body = {"documents": [{"id": "a", "text": "a"}]} if method == "PUT" else {"ids": ["a"]}
    options = {} if method == "GET" else {"json": body}
    reply = asyncio.run(Asked(app).send(method, path, headers=RIGHT, **options))
    assert kind(reply) == (422, "invalid-field")
    assert says in reply.json()["errors"][0]["msg"]
    assert reply.json()["errors"][0]["loc"][0] == "query"
    assert len(reply.content) < SMALL


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("GET", "/v1/documents?id=a&id=b", "id"),
        ("GET", "/v1/documents?id=a&id=a", "id"),
        ("GET", "/v1/documents?id=&i%64=b", "id"),
        ("PUT", "/v1/documents?wait=true&wait=false", "wait"),
        ("POST", "/v1/documents/delete?wait=false&wait=true&wait=true", "wait"),
    ],
)
def test_a_parameter_that_is_given_twice_is_refused(
    app: FastAPI,  # noqa: F811
    method: str,
    path: str,
    name: str,
) -> None:
    body = {"documents": [{"id": "a", "text": "a"}]} if method == "PUT" else {"ids": ["a"]}
    options = {} if method == "GET" else {"json": body}
    reply = asyncio.run(Asked(app).send(method, path, headers=RIGHT, **options))
    assert kind(reply) == (422, "invalid-field")
    assert [error["loc"] for error in reply.json()["errors"]] == [["query", name]]
    assert "times; give it once" in reply.json()["detail"]


@pytest.mark.parametrize("path", ["/v1/documents/%ff", "/v1/documents?id=%ff", "/v1/documents/caf%e9"])
def test_an_address_that_is_not_utf8_names_no_document(app: FastAPI, path: str) -> None:  # noqa: F811
    reply = asyncio.run(Asked(app).send("GET", path, headers=RIGHT))
    assert kind(reply) == (422, "invalid-field")
    assert "the address is not UTF-8: byte 0x" in reply.json()["detail"]


def test_pages_and_probes_take_any_parameter(asked: Asked) -> None:
    for path in ("/?q=sort", "/health/live?from=probe", "/docs?x=1"):
        assert asked.get(path).status_code == 200


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        ("/v1/search", {"queries": [{"text": "a"}], "labels": ["a"]}, "belongs into 'filter'"),
        ("/v1/documents/delete", {"labels": ["a"]}, "belongs into 'filter'"),
        ("/v1/documents/count", {"labels": ["a"]}, "belongs into 'filter'"),
        ("/v1/search", {"queries": [{"text": "a"}], "plan": "mih"}, "belongs into 'params'"),
        ("/v1/search", {"queries": [{"text": "a"}], "oversample": 2}, "belongs into 'rescore'"),
        ("/v1/search", {"queries": [{"text": "a"}], "limti": 2}, "did you mean 'limit'?"),
        ("/v1/search", {"queries": [{"txt": "a"}]}, "did you mean 'text'?"),
        ("/v1/search", {"queries": ["a"]}, "must be an object; its members: text, "),
        ("/v1/search", {"queries": [{"text": "a"}], "filter": 3}, "must be an object; its members: "),
        ("/v1/search", {"queries": [{"text": "a"}], "filter": {"label": ["a"]}}, "did you mean 'labels'?"),
        (
            "/v1/search",
            {"queries": [{"text": "a"}], "filter": {"not": {"attributes": {"year": {"gtt": 1}}}}},
            "did you mean 'gt'?",
        ),
        ("/v1/encode", {"inputs": ["a"], "return_logit": True}, "did you mean 'return_logits'?"),
        ("/v1/snapshots/none/restore", {"name": "a"}, "takes no members"),
    ],
)
def test_an_unknown_member_is_refused_with_where_it_belongs(
    app: FastAPI,  # noqa: F811
    path: str,
    body: dict[str, Any],
    says: str,
) -> None:
    reply = Asked(app).post(path, body, headers=RIGHT)
    assert kind(reply) == (422, "invalid-field")
    assert any(says in error["msg"] for error in reply.json()["errors"]), reply.text


NAMES = st.text(string.ascii_letters + "_", min_size=1, max_size=300)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=50),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(NAMES, inner, max_size=10),
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(body=st.dictionaries(st.sampled_from(["queries", "fields", "filter", "rescore", "params"]) | NAMES, VALUES))
def test_no_body_is_answered_with_more_than_a_bound_or_by_a_failure(asked: Asked, body: dict[str, Any]) -> None:
    for path in ("/v1/search", "/v1/encode", "/v1/documents/count"):
        reply = asked.post(path, body)
        assert reply.status_code in (200, 400, 413, 422), reply.text
        assert len(reply.content) < 60_000
