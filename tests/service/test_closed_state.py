"""A state directory that is closed to the service: what needs it gets a problem, and the rest its answers."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from tests.permissions import closed
from tests.service.conftest import SHARDS, Asked, LocalWriter
from texthash.config import LimitsConfig
from texthash.index.releases.release import open_release
from texthash.index.releases.snapshots import take_snapshot
from texthash.paths import StateDir
from texthash.service.coordinator import Coordinator
from texthash.service.http_app import make_app
from texthash.service.index_writes import IndexWriteService
from texthash.service.replicas.encoder import LocalEncoder
from texthash.service.replicas.shard import ShardServer


@pytest.fixture
def asked(home: StateDir) -> Asked:
    root, release = str(home.root), open_release(home).release
    shards = [ShardServer(root, release.name, number) for number in range(SHARDS)]
    coordinator = Coordinator(release, LimitsConfig(), LocalEncoder(root, release.name), shards)
    writes = IndexWriteService(home, coordinator, LocalWriter(root, "http://test"))
    return Asked(make_app(coordinator, index_writes=writes))


def is_of_storage(reply: httpx.Response, path: str) -> bool:
    body = reply.json()
    return (reply.status_code, body["type"]) == (503, "/problems/storage-unavailable") and path in body["detail"]


def put(asked: Asked) -> httpx.Response:
    body = {"documents": [{"id": "new", "text": "sort the values of an array"}]}
    return asyncio.run(asked.send("PUT", "/v1/documents?wait=true", json=body))


def test_snapshots_in_a_closed_folder_are_not_an_empty_list(home: StateDir, asked: Asked) -> None:
    take_snapshot(home, "monday")
    folder = home.root / "snapshots"
    with closed(folder):
        assert is_of_storage(asked.get("/v1/snapshots"), str(folder))
        assert is_of_storage(asked.post("/v1/snapshots", {"name": "tuesday"}), str(folder))
        assert is_of_storage(asked.post("/v1/snapshots/monday/restore", {}), str(folder))
        assert asked.search({"text": "sort the values"}).status_code == 200
    assert [one["name"] for one in asked.get("/v1/snapshots").json()["snapshots"]] == ["monday"]


@pytest.mark.parametrize("folder", ["releases", "."])
def test_a_write_into_a_closed_state_directory_is_refused_and_works_again(
    home: StateDir, asked: Asked, folder: str
) -> None:
    with closed(home.root / folder):
        assert is_of_storage(put(asked), str(home.root))
        health = asked.get("/health/ready")
        assert health.json()["writes"] == "refused"
        assert asked.search({"text": "sort the values"}).status_code == 200
    assert put(asked).status_code == 200
    assert asked.get("/health/ready").json()["writes"] == "accepted"
    assert asked.get("/v1/documents/new").status_code == 200


def test_health_says_that_a_state_directory_can_only_be_read(home: StateDir, asked: Asked) -> None:
    with closed(home.root / "releases", 0o555):
        health = asked.get("/health/ready")
        assert (health.status_code, health.json()["writes"]) == (200, "refused")
        assert health.json()["writes_refused"] == f"{home.root / 'releases'} cannot be written"
        assert asked.search({"text": "sort the values"}).status_code == 200
