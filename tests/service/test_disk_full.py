"""The service on a disk that fills up: writes are refused with a problem, searches are answered, nothing is lost."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from fastapi import FastAPI

from tests.service.conftest import SHARDS, Asked, LocalWriter
from tests.small_disk import SmallDisk, small_disk
from texthash.api.filters import Filter
from texthash.client import AsyncClient, ServiceError
from texthash.config import LimitsConfig
from texthash.index.releases.release import open_release, read_release
from texthash.index.writing import writer as writing
from texthash.paths import StateDir
from texthash.service import problems
from texthash.service.coordinator import Coordinator
from texthash.service.http_app import make_app
from texthash.service.index_writes import IndexWriteService
from texthash.service.problems import Problem
from texthash.service.replicas.encoder import LocalEncoder
from texthash.service.replicas.shard import ShardServer
from texthash.service.replicas.writer import Delete
from texthash.service.rpc import Calls, message

MIB = 2**20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", 64) as made:
        yield made


@pytest.fixture
def home(disk: SmallDisk, released: StateDir) -> StateDir:
    return StateDir(Path(shutil.copytree(released.root, disk.path / "home")))


@pytest.fixture
def service(home: StateDir) -> Callable[[int], Asked]:
    """Makes a service that keeps so many bytes free."""

    def make(least_free: int) -> Asked:
        root, release = str(home.root), read_release(home)
        shards = [ShardServer(root, release.name, number) for number in range(SHARDS)]
        coordinator = Coordinator(
            release, LimitsConfig(min_free_bytes=least_free), LocalEncoder(root, release.name), shards
        )
        writer = LocalWriter(root, "http://test", least_free)
        return Asked(make_app(coordinator, index_writes=IndexWriteService(home, coordinator, writer)))

    return make


def put(asked: Asked, *ids: str) -> httpx.Response:
    made = [{"id": id_, "text": "sort an array", "labels": ["full"]} for id_ in ids]
    return asyncio.run(asked.send("PUT", "/v1/documents?wait=true", json={"documents": made}))


def refused(reply: httpx.Response) -> dict[str, Any]:
    assert reply.status_code == 507, reply.text
    assert reply.json()["type"] == "/problems/insufficient-storage"
    return reply.json()


def test_writes_are_refused_while_too_little_is_free(disk: SmallDisk, service: Callable[[int], Asked]) -> None:
    asked = service(8 * MIB)
    assert put(asked, "before").status_code == 200
    assert asked.get("/health/ready").json()["writes"] == "accepted"
    disk.fill(6 * MIB // 4096)
    assert "this write needs 8,388,608" in refused(put(asked, "during"))["detail"]
    health = asked.get("/health/ready")
    assert (health.status_code, health.json()["status"], health.json()["writes"]) == (200, "ok", "refused")
    assert "are free on the disk" in health.json()["writes_refused"]
    assert asked.search({"text": "sort an array"}).status_code == 200
    assert asked.get("/v1/info").json()["limits"]["min_free_bytes"] == 8 * MIB
    assert asked.post("/v1/documents/delete", {"ids": ["before"]}).status_code == 200, "it makes room"
    disk.fill(3 * MIB // 4096)
    refused(asked.post("/v1/documents/delete", {"ids": ["before"]}))
    disk.empty()
    assert put(asked, "after").status_code == 200
    assert asked.get("/health/ready").json()["writes"] == "accepted"
    assert asked.post("/v1/documents/count", {"filter": {"labels": ["full"]}}).json()["count"] == 1


def test_nothing_acknowledged_is_lost_when_the_disk_is_full(
    disk: SmallDisk, home: StateDir, service: Callable[[int], Asked]
) -> None:
    """Without a reserve, as where another program takes the last of it in the middle of a write."""
    asked = service(0)
    acknowledged: list[str] = []
    statuses: list[int] = []
    for pages in range(0, 24, 2):
        disk.fill(pages)
        for attempt in range(2):
            reply = put(asked, f"full/{pages}/{attempt}", "full/same")
            statuses.append(reply.status_code)
            if reply.status_code == 200:
                acknowledged += [f"full/{pages}/{attempt}"]
        taken = asked.post("/v1/snapshots", {"name": f"full{pages}"})
        assert taken.status_code in (200, 507)
        assert asked.search({"text": "sort an array"}, limit=1).status_code == 200
        disk.empty()
        assert put(asked, f"room/{pages}").status_code == 200
        acknowledged.append(f"room/{pages}")
    assert {200, 507} == set(statuses)
    assert all(asked.get(f"/v1/documents/{id_}").status_code == 200 for id_ in acknowledged)
    assert put(service(0), "restarted").status_code == 503, "the first service is the writer still"
    assert open_release(home).release == read_release(home)


def test_a_writer_that_fails_unexpectedly_is_opened_anew(
    home: StateDir, service: Callable[[int], Asked], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no such thing was ever thought of")

    writer = LocalWriter(str(home.root), "http://test", 0)
    before = read_release(home)
    shard = open_release(home).shards[0]
    known = shard.documents(shard.numbers[:1], [])[0]["id"]
    with monkeypatch.context() as patch:
        patch.setattr(writing, "advance", fail)
        failed, nothing = asyncio.run(
            writer.write_many([Delete(ids=(known,)), Delete(given=Filter(labels=["no such"]))])
        )
    assert isinstance(failed, Problem)
    assert (failed.kind, nothing.documents) == ("internal", 0), "the other is answered"
    assert read_release(home) == before
    (done,) = asyncio.run(writer.write_many([Delete(ids=(known,))]))
    assert done.documents == 1
    assert read_release(home).documents == before.documents - 1


def test_a_client_is_not_kept_waiting(disk: SmallDisk, service: Callable[[int], Asked]) -> None:
    asked = service(8 * MIB)
    disk.fill(0)

    async def write() -> None:
        async with AsyncClient("http://test", transport=httpx.ASGITransport(asked.app)) as client:
            with pytest.raises(ServiceError, match="too little disk space is free") as error:
                await client.upsert([{"id": "a", "text": "sort an array"}])
            assert error.value.status == 507
            assert (await client.ready()).writes == "refused"

    asyncio.run(write())


def test_grpc_answers_that_a_resource_is_exhausted() -> None:
    app = FastAPI()
    problems.install(app)

    @app.post("/v1/encode")
    async def encode() -> None:
        raise Problem("insufficient-storage", "no room")

    class Context:
        code: grpc.StatusCode

        def invocation_metadata(self) -> list[tuple[str, str]]:
            return []

        def set_code(self, code: grpc.StatusCode) -> None:
            self.code = code

        def set_details(self, details: str) -> None:
            assert details == "no room"

        def set_trailing_metadata(self, metadata: object) -> None:
            pass

    context = Context()
    asyncio.run(Calls(app, 1000).answer("Encode", message("EncodeRequest")().SerializeToString(), context))
    assert context.code == grpc.StatusCode.RESOURCE_EXHAUSTED
