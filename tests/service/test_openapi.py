"""The service against its own OpenAPI document: what Schemathesis makes from it, right and wrong, in this process."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from jsonschema import Draft202012Validator
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema

from tests.service.conftest import SHARDS, Asked, LocalWriter
from texthash.config import LimitsConfig
from texthash.index.releases.release import read_release
from texthash.paths import StateDir
from texthash.service.coordinator import Coordinator
from texthash.service.http_app import make_app
from texthash.service.index_writes import IndexWriteService
from texthash.service.middleware.auth import KEY_VARIABLE
from texthash.service.replicas.encoder import LocalEncoder
from texthash.service.replicas.shard import ShardServer

KEY = "a-key-of-the-tests"
RIGHT = {"Authorization": f"Bearer {KEY}"}


@pytest.fixture(scope="module")
def app(released: StateDir, tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    """The whole service, with a writer and a key, over a copy of the small index."""
    home = StateDir(Path(shutil.copytree(released.root, tmp_path_factory.mktemp("fuzzed") / "home")))
    root, release = str(home.root), read_release(home)
    shards = [ShardServer(root, release.name, number) for number in range(SHARDS)]
    coordinator = Coordinator(release, LimitsConfig(), LocalEncoder(root, release.name), shards)
    index_writes = IndexWriteService(home, coordinator, LocalWriter(root, "http://test"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(KEY_VARIABLE, KEY)
        return make_app(coordinator, index_writes=index_writes)


ROUTES = 16
SETTINGS = {
    "seed": 1,
    "headers": RIGHT,
    "request-timeout": 60,
    "continue-on-failure": True,
    "suppress-health-check": ["all"],  # they are about speed, and other work shares the machine
    # What is wrong may also be answered with 413, which Schemathesis does not expect.
    "checks": {"negative_data_rejection": {"expected-statuses": [400, 401, 404, 405, 409, 413, 415, 422]}},
    "operations": [
        {
            # GET /v1/documents/count is the document with the id "count", so Allow has to name GET as well.
            "include-path": ["/v1/documents/count", "/v1/documents/delete", "/v1/documents/scroll"],
            "checks": {"allow_header_conformance": {"enabled": False}},
        }
    ],
}
# Bounds on several members at once, nesting, and dates that do not exist, which JSON Schema has no words for.
UNSAYABLE = re.compile(
    r"occurs more than once|^(offset|rescore\.oversample)=\d+, this server allows at most"
    r"|hits each .* are \d+, this server finds at most"
    r"|is nested more than \d levels|has more than \d+ conditions|, which does not exist: |beyond \d+ \(2\*\*53\)"
    r"|^cursor (is damaged|belongs to another)|edges does not ascend|edges has values of two types"
)


@schemathesis.hook
def before_load_schema(context, raw_schema) -> None:
    """Nest filters only once: drawing the cases of a schema that contains itself takes many minutes."""
    schemas = raw_schema["components"]["schemas"]
    whole = json.dumps(schemas["Filter"])
    schemas["FilterWithout"] = json.loads(whole)
    for member in ("all", "any", "not"):
        del schemas["FilterWithout"]["properties"][member]
    schemas["Filter"] = json.loads(whole.replace('#/components/schemas/Filter"', '#/components/schemas/FilterWithout"'))


@pytest.mark.parametrize("examples", [10, pytest.param(50, marks=pytest.mark.slow)])
def test_the_service_keeps_to_its_document(app: FastAPI, examples: int) -> None:
    generation = {"mode": "all", "deterministic": True, "max-examples": examples}
    config = SchemathesisConfig.from_dict({**SETTINGS, "generation": generation})
    schema = schemathesis.openapi.from_asgi("/openapi.json", app, headers=RIGHT, config=config)

    @schema.hook
    def filter_failure(context, failure, case, response) -> bool:
        return not (response.status_code == 422 and UNSAYABLE.search(response.json()["detail"]))

    wrong: list[str] = []
    answered: dict[str, Counter[int]] = defaultdict(Counter)
    for event in from_schema(schema).execute():
        if isinstance(event, events.NonFatalError):
            wrong.append(f"{event.label}: {event.info.format()}")
        elif isinstance(event, events.FatalError):
            raise event.exception
        elif isinstance(event, events.ScenarioFinished):
            for interaction in event.recorder.interactions.values():
                assert interaction.response is not None, interaction.request
                answered[event.recorder.label][interaction.response.status_code] += 1
            failed = [check.failure_info for checks in event.recorder.checks.values() for check in checks]
            wrong += [f"{info.failure.operation}: {info.failure}\n{info.code_sample}" for info in failed if info]
    assert not wrong, "\n\n".join(dict.fromkeys(wrong))
    routes = {label: counts for label, counts in answered.items() if " /" in label}
    assert len(routes) == _count(document(app)) >= ROUTES
    assert [label for label, counts in routes.items() if not counts[200]] == []
    assert sum(sum(counts.values()) for counts in answered.values()) > 500


def test_every_status_of_the_guard_is_documented_for_every_route(app: FastAPI) -> None:
    described = document(app)
    for path, methods in described["paths"].items():
        for method, route in methods.items():
            body = {"400", "403", "408", "413", "415", "422"} if method in ("post", "put") else set()
            expected = set() if path.startswith("/health") else {"401", "421", "429", "500", "504"} | body
            assert expected <= set(route["responses"]), (method, path)
            for status, answer in route["responses"].items():
                if status != "200" and not path.startswith("/health"):
                    assert list(answer["content"]) == ["application/problem+json"], (method, path, status)
    assert _count(described) >= ROUTES


def test_every_example_fits_its_schema(app: FastAPI) -> None:
    described = document(app)
    seen = 0
    for path, methods in described["paths"].items():
        for method, route in methods.items():
            for media in route.get("requestBody", {}).get("content", {}).values():
                schema = {**media["schema"], "components": described["components"]}
                for name, example in media.get("examples", {}).items():
                    for error in Draft202012Validator(schema).iter_errors(example["value"]):
                        raise AssertionError(f"{method} {path}, example {name}: {error.message}")
                    seen += 1
    assert seen >= 12


def test_the_document_names_what_this_server_allows(app: FastAPI) -> None:
    schemas = document(app)["components"]["schemas"]
    limits = LimitsConfig()
    search = schemas["SearchRequest"]["properties"]
    assert search["limit"]["maximum"] == limits.max_limit
    assert schemas["Rescore"]["properties"]["oversample"]["maximum"] == limits.max_oversample
    assert search["radius"]["maximum"] == 32
    assert search["radius"]["anyOf"] == [{"type": "integer", "minimum": 0}, {"type": "null"}]
    assert (search["limit"]["minimum"], search["offset"]["minimum"]) == (1, 0)
    assert schemas["Query"]["properties"]["code"]["pattern"] == "^[0-9A-Fa-f]{8}$"
    for schema, member in (("SearchRequest", "queries"), ("EncodeRequest", "inputs"), ("DeleteRequest", "ids")):
        assert schemas[schema]["properties"][member]["maxItems"] == limits.max_batch


@pytest.mark.parametrize(
    "path", ["/v1/compact", "/v1/snapshots/none/restore", "/v1/search", "/v1/nothing", "/health/live"]
)
def test_a_post_without_a_body_needs_the_media_type_too(app: FastAPI, path: str) -> None:
    for given in ({}, {"content-type": "text/plain"}, {"content-type": "application/x-www-form-urlencoded"}):
        reply = Asked(app).post(path, headers={**RIGHT, **given})
        assert reply.status_code == {"/v1/nothing": 404, "/health/live": 405}.get(path, 415)
    reply = Asked(app).post(path, headers={**RIGHT, "content-type": "application/json"})
    expected = {"/v1/compact": 200, "/v1/search": 422, "/health/live": 405}
    assert reply.status_code == expected.get(path, 404), reply.text


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/snapshots", "GET, HEAD, POST"),
        ("/v1/documents/count", "GET, HEAD, POST"),
        ("/v1/documents", "GET, HEAD, PUT"),
        ("/docs", "GET, HEAD"),
    ],
)
def test_a_405_names_every_method_of_the_path(app: FastAPI, path: str, allowed: str) -> None:
    reply = asyncio.run(Asked(app).send("PATCH", path, headers=RIGHT))
    assert (reply.status_code, reply.headers["allow"]) == (405, allowed)


@pytest.mark.parametrize(
    ("method", "path", "content"),
    [
        ("PUT", "/v1/documents", r'{"documents": [{"id": "\ud800", "text": "a"}]}'),
        ("PUT", "/v1/documents", r'{"documents": [{"id": "a", "text": "\ud800"}]}'),
        ("PUT", "/v1/documents", r'{"documents": [{"id": "a", "text": "a", "title": "\ud800"}]}'),
        ("PUT", "/v1/documents", r'{"documents": [{"id": "a", "text": "a", "labels": ["\ud800"]}]}'),
        ("POST", "/v1/documents/delete", r'{"ids": ["\ud800"]}'),
        ("POST", "/v1/documents/delete", r'{"filter": {"labels": ["\ud800"]}}'),
    ],
)
def test_half_a_surrogate_pair_is_never_written(app: FastAPI, method: str, path: str, content: str) -> None:
    headers = {**RIGHT, "content-type": "application/json"}
    reply = asyncio.run(Asked(app).send(method, path, content=content.encode(), headers=headers))
    assert reply.status_code == 422, reply.text


@pytest.mark.parametrize("member", [{"limit": True}, {"limit": "3"}, {"limit": 3.5}, {"include_code": 0}])
def test_a_value_of_another_type_is_refused(app: FastAPI, member: dict[str, object]) -> None:
    body = {"queries": [{"text": "sort an array"}]}
    assert Asked(app).post("/v1/search", {**body, **member}, headers=RIGHT).status_code == 422
    assert Asked(app).post("/v1/search", {**body, "limit": 3.0}, headers=RIGHT).status_code == 200


def document(app: FastAPI) -> dict[str, Any]:
    return Asked(app).get("/openapi.json", headers=RIGHT).json()


def _count(described: dict[str, Any]) -> int:
    return sum(len(methods) for methods in described["paths"].values())
