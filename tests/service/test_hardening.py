"""What a stranger can send: no key, a wrong key, other origins, compressed, deep, broken and half bodies."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import socket
from collections.abc import Callable

import httpx
import pytest
from fastapi import FastAPI

from tests.service.conftest import Asked
from tests.service.live import listening
from texthash.config import LimitsConfig, ServiceConfig
from texthash.errors import UsageError
from texthash.service.coordinator import Coordinator
from texthash.service.http_app import make_app

KEY = "a-key-of-the-test"
QUERY = {"queries": [{"text": "sort the values of an array"}], "limit": 1}
JSON = {"content-type": "application/json"}


@pytest.fixture
def closed(coordinator: Callable[[LimitsConfig], Coordinator], monkeypatch: pytest.MonkeyPatch) -> Asked:
    monkeypatch.setenv("TEXTHASH_API_KEY", KEY)
    return Asked(make_app(coordinator(LimitsConfig())))


def called_as(host: str, coordinator: Callable[[LimitsConfig], Coordinator], **settings: object) -> FastAPI:
    """The application of a service of which ``host`` is a name."""
    service = ServiceConfig.model_validate({"allowed_hosts": [host], "limits": {}, **settings})
    return make_app(coordinator(service.limits), service=service)


def kind(reply: httpx.Response) -> tuple[int, str]:
    return reply.status_code, reply.json()["type"].rpartition("/")[2]


@pytest.mark.parametrize("given", [None, "", KEY, f"Basic {KEY}", "Bearer", f"Bearer {KEY}x", "Bearer ä"])
@pytest.mark.parametrize("path", ["/v1/info", "/v1/documents/x", "/metrics", "/v1/nothing", "//v1/info"])
def test_without_the_key_nothing_is_told(closed: Asked, path: str, given: str | None) -> None:
    reply = closed.get(path, headers={} if given is None else {"authorization": given.encode("latin-1")})
    assert kind(reply) == (401, "unauthorized")
    assert reply.headers["www-authenticate"].startswith("Bearer")
    assert KEY not in reply.text


def test_with_the_key_it_answers_and_behind_a_prefix_too(closed: Asked) -> None:
    headers = {"authorization": f"bearer {KEY}"}
    assert closed.post("/v1/search", QUERY).status_code == 401
    assert closed.post("/v1/search", QUERY, headers=headers).status_code == 200
    behind = Asked(closed.app, root_path="/find")
    assert behind.get("/find/v1/info").status_code == 401
    assert behind.get("/find/v1/info", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "path", ["/", "/favicon.svg", "/docs/assets/swagger-ui.css", "/health", "/health/ready", "/problems/internal"]
)
def test_health_and_pages_need_no_key(closed: Asked, path: str) -> None:
    assert closed.get(path).status_code == 200


def test_the_documentation_has_a_place_for_the_key_only_where_there_is_one(closed: Asked, asked: Asked) -> None:
    document = closed.get("/openapi.json", headers={"authorization": f"Bearer {KEY}"}).json()
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    needing = {path for path, routes in document["paths"].items() if all("security" in r for r in routes.values())}
    assert needing == {path for path in document["paths"] if not path.startswith("/health")}
    assert "securitySchemes" not in asked.get("/openapi.json").json()["components"]


@pytest.mark.parametrize("key", ["", "with space", "ä"])
def test_a_key_that_is_none_does_not_leave_the_service_open(coordinator, monkeypatch, key: str) -> None:
    monkeypatch.setenv("TEXTHASH_API_KEY", key)
    with pytest.raises(UsageError, match="TEXTHASH_API_KEY"):
        make_app(coordinator(LimitsConfig()))


def test_other_origins_may_call_only_where_they_are_listed(coordinator, asked: Asked) -> None:
    origin = {"origin": "https://example.org"}
    assert "access-control-allow-origin" not in asked.get("/v1/info", headers=origin).headers
    opened = Asked(called_as("test", coordinator, cors_origins=["https://example.org"]))
    for path in ("/v1/info", "/v1/nothing"):
        reply = opened.get(path, headers=origin)
        assert reply.headers["access-control-allow-origin"] == "https://example.org"
    other = opened.get("/v1/info", headers={"origin": "https://example.com"})
    assert "access-control-allow-origin" not in other.headers


@pytest.mark.parametrize("encoding", ["gzip", "br", "identity, gzip", "GZIP"])
def test_a_compressed_body_is_never_inflated(asked: Asked, encoding: str) -> None:
    body = gzip.compress(json.dumps({"inputs": "a" * 50_000_000}).encode())
    reply = asked.post("/v1/encode", content=body, headers={**JSON, "content-encoding": encoding})
    assert kind(reply) == (415, "unsupported-media-type")


@pytest.mark.parametrize("content", [b"[" * 900_000, b'{"queries":' * 80_000, b"[" * 900 + b"]" * 900])
def test_deep_json_is_an_error_and_no_crash(asked: Asked, content: bytes) -> None:
    assert asked.post("/v1/search", content=content, headers=JSON).status_code in (400, 422)
    assert asked.search({"text": "sort"}, limit=1).status_code == 200


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'{"inputs": "\xff\xfe"}', "byte 12 is not UTF-8"),
        (b"[" * 900_000, "nested too deeply"),
        (b'{"inputs": ' + b"9" * 5_000 + b"}", "4300 digits"),
        (b'{"inputs": "a"', "Expecting"),
    ],
)
def test_what_cannot_be_read_is_told_why(asked: Asked, content: bytes, says: str) -> None:
    reply = asked.post("/v1/encode", content=content, headers=JSON)
    assert kind(reply) == (400, "malformed-json")
    assert says in reply.json()["detail"]


@pytest.mark.parametrize(
    ("path", "content", "where"),
    [
        ("/v1/search", '{"queries": [{"text": "a", "text": "b"}]}', ["queries", 0, "text"]),
        ("/v1/search", '{"queries": [{"text": "a"}], "limit": 1, "limit": 2}', ["limit"]),
        ("/v1/search", '{"queries": [{"text": "a", "text": "b"}], "queries": [{"text": "c"}]}', ["queries"]),
        ("/v1/search", '{"queries": [{"text": "a"}], "params": {"plan": "flat", "plan": "flat"}}', ["params", "plan"]),
        ("/v1/search", r'{"queries": [{"text": "a"}], "limit": 1, "\u006cimit": 1}', ["limit"]),
        ("/v1/encode", '{"inputs": "a", "inputs": "a"}', ["inputs"]),
    ],
)
def test_a_member_that_occurs_twice_is_refused(asked: Asked, path: str, content: str, where: list[str | int]) -> None:
    """Parsers differ in which of the two they take."""
    reply = asked.post(path, content=content, headers=JSON)
    assert kind(reply) == (422, "invalid-field")
    assert reply.json()["errors"] == [{"loc": ["body", *where], "msg": "occurs twice in one object; give it once"}]


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/v1/search", r'{"queries": [{"text": "\ud800"}]}'),
        ("/v1/search", r'{"queries": [{"id": "\ud800"}]}'),
        ("/v1/search", r'{"queries": [{"text": "a"}], "filter": {"labels": ["\udfff"]}}'),
        ("/v1/encode", r'{"inputs": "\ud800"}'),
        ("/v1/encode", r'{"inputs": ["a", "\ud800"]}'),
        ("/v1/documents/count", r'{"filter": {"labels": ["\ud800"]}}'),
    ],
)
def test_half_a_surrogate_pair_is_no_text(asked: Asked, path: str, content: str) -> None:
    reply = asked.post(path, content=content.encode(), headers=JSON)
    assert kind(reply) == (422, "invalid-field")
    assert "lone surrogate" in reply.json()["detail"]


def test_head_says_what_get_says_without_a_body(asked: Asked) -> None:
    for path in ("/", "/docs", "/v1/info", "/health/ready", "/v1/nothing"):
        got, head = asked.get(path), asyncio.run(asked.send("HEAD", path))
        assert head.status_code == got.status_code
        assert head.content == b""
        assert head.headers["content-type"] == got.headers["content-type"]
    assert asyncio.run(asked.send("HEAD", "/v1/search")).status_code == 405


@pytest.mark.parametrize("path", ["/v1/info", "/health/live", "/", "/docs", "/v1/documents/none", "/v1/search"])
def test_a_connection_stays_open_after_head(asked: Asked, path: str) -> None:
    """As the checks of a load balancer need it, which ask again on the same one."""
    with listening(asked.app) as url, socket.create_connection(("127.0.0.1", httpx.URL(url).port or 0), 30) as open_one:
        file = open_one.makefile("rb")
        for method in (b"HEAD", b"HEAD", b"GET"):
            open_one.sendall(b"%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" % (method, path.encode()))
            assert file.readline().startswith(b"HTTP/1.1 "), "the server ended the connection, or sent a body"
            while file.readline().strip():
                pass


def test_a_file_that_the_documentation_does_not_have_names_the_page_of_its_problem(asked: Asked) -> None:
    behind = Asked(asked.app, root_path="/find")
    assert asked.get("/docs/assets/none").json()["type"] == "/problems/not-found"
    assert behind.get("/find/docs/assets/none").json()["type"] == "/find/problems/not-found"


@pytest.mark.parametrize(("ends", "expected"), [(True, 400), (False, 408)])
def test_half_a_body(coordinator, ends: bool, expected: int) -> None:
    app = make_app(coordinator(LimitsConfig(request_timeout_s=0.1)))
    messages = [{"type": "http.request", "body": b'{"quer', "more_body": True}]
    sent = []

    async def receive():
        if messages:
            return messages.pop()
        if ends:
            return {"type": "http.disconnect"}
        return await asyncio.Event().wait()

    async def send(message):
        sent.append(message)

    headers = [(b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/v1/search", "headers": headers, "query_string": b""}
    asyncio.run(app(scope, receive, send))
    assert sent[0]["status"] == expected


def test_a_request_leaves_one_line_without_its_text(asked: Asked, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "texthash.service.requests"):
        asked.post("/v1/search", QUERY, headers={"x-request-id": "mine"})
        asked.get("/v1/documents/a-secret-id")
        asked.get("/v1/nothing")
    lines = [vars(record) for record in caplog.records]
    assert [(line["route"], line["status"]) for line in lines] == [
        ("/v1/search", 200),
        ("/v1/documents/{id:any}", 404),
        ("none", 404),
    ]
    assert lines[0]["request_id"] == "mine"
    usual = {"message", "asctime", *vars(logging.makeLogRecord({}))}
    assert all(set(line) - usual == {"request_id", "method", "route", "status", "ms"} for line in lines)
    assert all(record.getMessage() == "request" for record in caplog.records)
