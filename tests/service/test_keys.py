"""What each key opens, and what a write leaves in the log."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.service.conftest import SHARDS, Asked, LocalWriter
from tests.service.test_hardening import kind
from texthash.config import LimitsConfig
from texthash.errors import UsageError
from texthash.index.releases.release import read_release
from texthash.io.audit import FILE
from texthash.paths import StateDir
from texthash.service.coordinator import Coordinator
from texthash.service.http_app import make_app
from texthash.service.index_writes import IndexWriteService
from texthash.service.middleware.auth import KEY_VARIABLE, READ_KEY_VARIABLE, Keys
from texthash.service.replicas.encoder import LocalEncoder
from texthash.service.replicas.shard import ShardServer

WRITE, READ = "key-of-the-writers", "key-of-the-readers"
DOCUMENTS = {"documents": [{"id": "mine/1", "text": "sort an array", "labels": ["mine"]}]}


@pytest.fixture(scope="module")
def written_home(released: StateDir, tmp_path_factory: pytest.TempPathFactory) -> StateDir:
    return StateDir(Path(shutil.copytree(released.root, tmp_path_factory.mktemp("keyed") / "home")))


@pytest.fixture(scope="module")
def written(written_home: StateDir) -> Asked:
    """A service with a writer and two keys."""
    home = written_home
    root, release = str(home.root), read_release(home)
    shards = [ShardServer(root, release.name, number) for number in range(SHARDS)]
    coordinator = Coordinator(release, LimitsConfig(), LocalEncoder(root, release.name), shards)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(KEY_VARIABLE, WRITE)
        patch.setenv(READ_KEY_VARIABLE, READ)
        return Asked(
            make_app(coordinator, index_writes=IndexWriteService(home, coordinator, LocalWriter(root, "http://test")))
        )


def by(asked: Asked, key: str | None, method: str, path: str, body: Any = None) -> httpx.Response:
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
    return asyncio.run(asked.send(method, path, headers=headers, **({} if body is None else {"json": body})))


READS = [
    ("POST", "/v1/search", {"queries": [{"text": "sort an array"}]}),
    ("POST", "/v1/encode", {"inputs": "sort an array"}),
    ("POST", "/v1/documents/count", {}),
    ("POST", "/v1/documents/scroll", {}),
    ("POST", "/v1/facets", {"facets": {"labels": {}}}),
    ("GET", "/v1/info", None),
    ("GET", "/v1/snapshots", None),
    ("GET", "/openapi.json", None),
    ("GET", "/docs", None),
    ("HEAD", "/v1/info", None),
]
WRITES = [
    ("PUT", "/v1/documents", DOCUMENTS),
    ("POST", "/v1/documents/delete", {"ids": ["nobody"]}),
    ("POST", "/v1/snapshots", {"name": "kept"}),
    ("POST", "/v1/snapshots/kept/restore", {}),
    ("POST", "/v1/compact", {}),
]


@pytest.mark.parametrize(("method", "path", "body"), READS)
def test_both_keys_read(written: Asked, method: str, path: str, body: Any) -> None:
    for key in (READ, WRITE):
        assert by(written, key, method, path, body).status_code == 200
    assert by(written, None, method, path, body).status_code == 401


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
def test_the_read_only_key_does_not_write(written: Asked, method: str, path: str, body: Any) -> None:
    before = read_release_name(written)
    assert kind(by(written, READ, method, path, body)) == (403, "read-only-key")
    assert read_release_name(written) == before
    assert by(written, None, method, path, body).status_code == 401
    assert by(written, WRITE, method, path, body).status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "PURGE"])
@pytest.mark.parametrize("path", ["/v1/nothing", "/v1/search/", "/v1/documents/delete/", "//v1/search"])
def test_what_is_not_known_to_read_is_taken_for_a_write(written: Asked, method: str, path: str) -> None:
    assert by(written, READ, method, path).status_code == 403


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json"])
def test_a_browser_gives_the_key_of_the_documentation_in_its_own_dialogue(written: Asked, path: str) -> None:
    refused = by(written, None, "GET", path)
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, 'Basic realm="texthash"')
    for key, status in ((READ, 200), (WRITE, 200), ("another", 401)):
        given = base64.b64encode(f"me:{key}".encode()).decode()
        assert written.get(path, headers={"authorization": f"Basic {given}"}).status_code == status
        assert written.get("/v1/info", headers={"authorization": f"Basic {given}"}).status_code == 401
    assert written.get(path, headers={"authorization": "Basic !"}).status_code == 401


def test_keys_that_do_not_differ_or_leave_nobody_to_write_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(READ_KEY_VARIABLE, READ)
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    with pytest.raises(UsageError, match=KEY_VARIABLE):
        Keys.of_environment()
    monkeypatch.setenv(KEY_VARIABLE, READ)
    with pytest.raises(UsageError, match="the same key"):
        Keys.of_environment()
    for wrong in ("", "a b", "ä"):
        monkeypatch.setenv(KEY_VARIABLE, WRITE)
        monkeypatch.setenv(READ_KEY_VARIABLE, wrong)
        with pytest.raises(UsageError, match=READ_KEY_VARIABLE):
            Keys.of_environment()


def test_every_write_leaves_a_line_that_says_who_what_and_how_many(
    written: Asked, written_home: StateDir, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "texthash.service.requests"):
        put = by(written, WRITE, "PUT", "/v1/documents", {"documents": [{"id": "audit/1", "text": "sort an array"}]})
        by(written, WRITE, "POST", "/v1/documents/delete", {"ids": ["audit/1", "nobody"]})
        by(written, WRITE, "POST", "/v1/documents/delete", {"filter": {"labels": ["none"]}})
        by(written, WRITE, "POST", "/v1/snapshots", {"name": "audited"})
        by(written, WRITE, "POST", "/v1/snapshots", {"name": "audited"})
        by(written, WRITE, "POST", "/v1/snapshots/audited/restore", {})
        by(written, WRITE, "POST", "/v1/compact", {})
        by(written, READ, "POST", "/v1/search", {"queries": [{"text": "sort"}]})
    lines = [vars(record) for record in caplog.records if record.getMessage() == "write"]
    assert all(line["key"] == "read-write" and line["request_id"] for line in lines)
    told = [{name: line.get(name) for name in ("operation", "status", "documents")} for line in lines]
    count = by(written, READ, "POST", "/v1/documents/count", {}).json()["count"]
    assert told == [
        {"operation": "upsert", "status": 200, "documents": 1},
        {"operation": "delete", "status": 200, "documents": 1},
        {"operation": "delete", "status": 200, "documents": 0},
        {"operation": "take_snapshot", "status": 200, "documents": None},
        {"operation": "take_snapshot", "status": 409, "documents": None},
        {"operation": "restore_snapshot", "status": 200, "documents": count},
        {"operation": "compact", "status": 200, "documents": count},
    ]
    assert (lines[0]["new"], lines[0]["release"]) == (1, put.json()["release"])
    assert (lines[1]["ids"], lines[2]["filtered"], lines[5]["snapshot"]) == (2, True, "audited")
    kept = audit_lines(written_home, len(lines))
    assert [{name: line.get(name) for name in ("operation", "status", "documents")} for line in kept] == told
    assert [line["outcome"] for line in kept] == ["done"] * 4 + ["failed"] + ["done"] * 2
    assert all(line["by"] == "http" and line["key"] == "read-write" and line["time"] for line in kept)
    everything = repr([*(vars(record) for record in caplog.records), *kept])
    assert WRITE not in everything
    assert READ not in everything
    assert "audit/1" not in everything


def test_a_write_without_keys_is_nobodys(coordinator: Callable[[LimitsConfig], Coordinator], caplog) -> None:
    class Refusing:
        home = None

        async def compact(self) -> None:
            raise RuntimeError("broken")

    asked = Asked(make_app(coordinator(LimitsConfig()), index_writes=Refusing()))  # type: ignore[arg-type]
    with caplog.at_level(logging.INFO, "texthash.service.requests"):
        assert asked.post("/v1/compact", {}).status_code == 500
    (line,) = [vars(record) for record in caplog.records if record.getMessage() == "write"]
    assert (line["key"], line["operation"], line["status"]) == (None, "compact", 500)


def audit_lines(home: StateDir, count: int) -> list[dict[str, Any]]:
    """Return the last lines of the audit, once the last write of this module is there."""
    for _ in range(100):
        lines = [json.loads(line) for line in (home.root / FILE).read_text(encoding="utf-8").splitlines()]
        if lines[-1]["operation"] == "compact":
            break
        time.sleep(0.1)
    return lines[-count:]


def read_release_name(asked: Asked) -> str:
    return by(asked, READ, "GET", "/v1/info").json()["release"]["name"]
