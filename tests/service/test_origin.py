"""Requests of foreign pages, under names that are not the service's, and framed answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.service.conftest import Asked
from tests.service.test_hardening import KEY, called_as, kind
from texthash.config import LimitsConfig, ServiceConfig
from texthash.errors import UsageError
from texthash.service.coordinator import Coordinator
from texthash.service.http_app import make_app
from texthash.service.middleware.origin import allowed_hosts

MakeCoordinator = Callable[[LimitsConfig], Coordinator]
QUERY = {"queries": [{"text": "sort the values of an array"}], "limit": 1}
UNSAFE = ["/v1/search", "/v1/encode", "/v1/documents/count", "/v1/documents/delete", "/v1/compact", "/v1/nothing"]


@pytest.mark.parametrize("path", UNSAFE)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "cross-site", "origin": "null"},
        {"sec-fetch-site": "something"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": "http://test:3000"},
        {"origin": "http://test.evil.example"},
        {"origin": "file://test"},
        {"origin": "http://evil@test"},
    ],
)
def test_an_unsafe_request_of_a_foreign_page_is_refused(
    asked: Asked, method: str, path: str, headers: dict[str, str]
) -> None:
    sent = {**headers, "content-type": "application/json"}
    assert kind(asyncio.run(asked.send(method, path, headers=sent))) == (403, "foreign-origin")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec-fetch-site": "same-origin", "origin": "http://test"},
        {"sec-fetch-site": "none"},
        {"origin": "http://test"},
        {"origin": "https://TEST"},
        {"sec-fetch-site": "same-origin", "origin": "https://name.before.a.proxy"},
    ],
)
def test_own_pages_and_programs_may_do_everything(asked: Asked, headers: dict[str, str]) -> None:
    assert asked.post("/v1/search", QUERY, headers=headers).status_code == 200


def test_reading_needs_no_origin_since_a_foreign_page_cannot_see_the_answer(asked: Asked) -> None:
    assert asked.get("/v1/info", headers={"sec-fetch-site": "cross-site", "origin": "http://a.example"}).is_success


def test_configured_origins_may_write(coordinator: MakeCoordinator) -> None:
    opened = Asked(called_as("test", coordinator, cors_origins=["https://friend.example"]))
    friend = {"origin": "https://friend.example", "sec-fetch-site": "cross-site"}
    assert opened.post("/v1/search", QUERY, headers=friend).status_code == 200
    for origin in ("http://friend.example", "https://friend.example:8443", "https://friend.example.evil"):
        reply = opened.post("/v1/search", QUERY, headers={**friend, "origin": origin})
        assert kind(reply) == (403, "foreign-origin")


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/v1/info", "/health/live", "/metrics", "/v1/nothing"])
@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("localhost", True),
        ("LOCALHOST:9000", True),
        ("localhost.", True),
        ("127.0.0.1:8000", True),
        ("[::1]:8000", True),
        ("127.0.0.2", True),
        ("evil.example", False),
        ("evil.example:8000", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("localhost@evil.example", False),
        ("localhost:80:80", False),
        ("127.0.0.3", False),
        ("", False),
    ],
)
def test_without_a_key_a_loopback_service_answers_to_known_names_only(
    coordinator: MakeCoordinator, host: str, known: bool, path: str
) -> None:
    service = ServiceConfig(host="127.0.0.2", limits=LimitsConfig())
    reply = Asked(make_app(coordinator(service.limits), service=service)).get(path, headers={"host": host})
    assert (reply.status_code == 421) == (not known)
    if not known:
        assert kind(reply) == (421, "unknown-host")


def test_two_names_at_once_are_none(coordinator: MakeCoordinator) -> None:
    app, sent = make_app(coordinator(LimitsConfig()), service=ServiceConfig()), []

    async def send(message: dict) -> None:
        sent.append(message)

    headers = [(b"host", b"localhost"), (b"host", b"evil.example")]
    scope = {"type": "http", "method": "GET", "path": "/v1/info", "headers": headers, "query_string": b""}
    asyncio.run(app(scope, lambda: asyncio.sleep(60), send))
    assert sent[0]["status"] == 421


def test_a_key_or_another_address_lets_any_name_in_unless_names_are_configured(coordinator, monkeypatch) -> None:
    assert allowed_hosts(ServiceConfig(), keyed=True) is None
    assert allowed_hosts(ServiceConfig(host="0.0.0.0"), keyed=False) is None
    assert allowed_hosts(ServiceConfig(allowed_hosts=("*",)), keyed=False) is None
    named = ServiceConfig(host="0.0.0.0", allowed_hosts=("Search.Example",))
    for keyed in (True, False):
        assert allowed_hosts(named, keyed) == {"localhost", "127.0.0.1", "::1", "0.0.0.0", "search.example"}
    monkeypatch.setenv("TEXTHASH_API_KEY", KEY)
    keyed = Asked(make_app(coordinator(LimitsConfig()), service=ServiceConfig()))
    assert keyed.get("/v1/info", headers={"host": "any.example", "authorization": f"Bearer {KEY}"}).is_success


@pytest.mark.parametrize("name", ["http://a.example", "a.example:8000", "a b", ""])
def test_a_name_in_the_configuration_has_neither_scheme_nor_port(name: str) -> None:
    from texthash.config import load_config

    with pytest.raises(UsageError, match="allowed_hosts"):
        load_config(overrides=[f"service.allowed_hosts=['{name}']"])


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "TRACE"])
@pytest.mark.parametrize(
    "path", ["/", "/docs", "/redoc", "/docs/assets/swagger-ui.css", "/openapi.json", "/v1/info", "/health", "/nothing"]
)
def test_no_answer_may_be_framed_or_guessed_at(asked: Asked, method: str, path: str) -> None:
    headers = asyncio.run(asked.send(method, path)).headers
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
