"""A service over a bucket that is busy, slow, cut off or refuses the credentials: what goes on, and that all heals."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.io.conftest import Node, node, server, store
from tests.io.store import CUT, Store
from tests.service.conftest import SHARDS, Asked, LocalWriter
from texthash.config import LimitsConfig
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.index.releases.publish import publish
from texthash.index.releases.release import open_release
from texthash.index.releases.verify import verify
from texthash.index.writing.build import build_index
from texthash.io import leases
from texthash.paths import StateDir
from texthash.service.coordinator import Coordinator
from texthash.service.http_app import make_app
from texthash.service.index_writes import IndexWriteService
from texthash.service.release_watcher import ReleaseWatcher
from texthash.service.replicas.encoder import LocalEncoder
from texthash.service.replicas.shard import ShardServer

__all__ = ["node", "server", "store"]  # fixtures
QUERY = {"queries": [{"text": "sort the values of an array"}], "mode": "semantic"}
HYBRID = {**QUERY, "mode": "hybrid"}
FAULTS = {"busy": (503, "SlowDown"), "expired": (400, "ExpiredToken"), "cut": CUT}


class Service:
    """The service in this process, over a state in a bucket."""

    def __init__(self, home: StateDir) -> None:
        root, release = home.name, open_release(home).release
        self.shards = [ShardServer(root, release.name, number) for number in range(SHARDS)]
        coordinator = Coordinator(release, LimitsConfig(), LocalEncoder(root, release.name), self.shards)
        self.watcher = ReleaseWatcher(home, coordinator, max_lag_s=60.0)
        writer = IndexWriteService(home, coordinator, LocalWriter(root, "http://test"))
        self.asked = Asked(make_app(coordinator, index_writes=writer, release_watcher=self.watcher))

    async def search(self, query: dict[str, Any] = QUERY) -> httpx.Response:
        return await self.asked.send("POST", "/v1/search", json=query)

    async def put(self, *ids: str) -> httpx.Response:
        documents = [{"id": id_, "text": "sort the values of an array"} for id_ in ids]
        return await self.asked.send("PUT", "/v1/documents?wait=true", json={"documents": documents})

    async def has(self, id_: str) -> bool:
        return (await self.asked.send("GET", f"/v1/documents/{id_}")).status_code == 200

    async def health(self) -> dict[str, Any]:
        reply = await self.asked.send("GET", "/health/ready")
        return {"code": reply.status_code, **reply.json()}


@pytest.fixture
def home(node: Node, small_corpus: PreparedCorpus, small_hasher: Path) -> StateDir:
    """A release of two shards in the bucket."""
    made = node("one")
    publish(made, small_hasher, build_index(small_hasher, small_corpus.path, made, shards=SHARDS))
    return made


async def _until(holds: Callable[[], Awaitable[bool]]) -> None:
    deadline = time.monotonic() + 30
    while not await holds():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)


def _is_refused(reply: httpx.Response) -> None:
    assert (reply.status_code, reply.json()["type"]) == (503, "/problems/storage-unavailable"), reply.text
    assert int(reply.headers["Retry-After"]) > 0


@pytest.mark.parametrize("fault", [pytest.param("busy", marks=pytest.mark.slow), "expired", "cut"])
def test_nothing_acknowledged_is_lost_while_a_bucket_fails_and_all_heals(
    store: Store, home: StateDir, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """The failure outlasts the lease of the writer, which takes it up again."""
    monkeypatch.setattr(leases, "acquire", partial(leases.acquire, seconds=1.5))
    service = Service(home)

    async def use() -> None:
        async with service.watcher.running():
            found = (await service.search()).json()
            assert (await service.put("before")).status_code == 200
            searched = {query["mode"]: (await service.search(query)).json()["results"] for query in (QUERY, HYBRID)}
            assert searched["semantic"][0]["hits"][0]["id"] == "before"
            store.fault = lambda _: FAULTS[fault]
            began = time.monotonic()

            async def says_so() -> bool:
                health = await service.health()
                return health["reason"] is not None and health["writes"] == "refused"

            await _until(says_so)
            health = await service.health()
            assert (health["code"], health["shards"]) == (200, {"ready": SHARDS, "total": SHARDS})
            assert health["writes_refused"] == health["reason"]
            for query in (QUERY, HYBRID):
                reply = await service.search(query)
                assert reply.status_code == 200, "documents, and those that were just written, are on this node"
                assert reply.json()["results"] == searched[query["mode"]]
            for reply in await asyncio.gather(
                service.put("during"),
                service.asked.send("GET", "/v1/documents/before"),
                service.asked.send("GET", "/v1/snapshots"),
                service.asked.send("POST", "/v1/snapshots", json={"name": "s"}),
            ):
                _is_refused(reply)
            await asyncio.sleep(max(0.0, began + 5.0 - time.monotonic()))
            store.reset()

            async def is_well() -> bool:
                health = await service.health()
                return (health["code"], health["writes"], health["reason"]) == (200, "accepted", None)

            await _until(is_well)
            answered = await service.search()
            assert [hit["id"] for hit in answered.json()["results"][0]["hits"]][1:] == [
                hit["id"] for hit in found["results"][0]["hits"]
            ][:-1]
            assert (await service.put("after")).status_code == 200, "its writer holds the lease again"
            assert await service.has("before")
            assert await service.has("after")

    asyncio.run(use())
    assert [finding for finding in verify(home, sample=5) if not finding.ok] == []


@pytest.mark.slow
def test_a_bucket_that_is_slow_and_refuses_some_requests_is_only_slower(store: Store, home: StateDir) -> None:
    service, numbers = Service(home), count(1)

    def slow(_: dict[str, Any]) -> tuple[int, str] | None:
        number = next(numbers)
        time.sleep(0.05)
        if number % 11 == 0:
            return CUT
        return (503, "SlowDown") if number % 5 == 0 else None

    async def use() -> None:
        async with service.watcher.running():
            found = (await service.search()).json()
            store.fault = slow
            for number in range(3):
                searched, written = await asyncio.gather(service.search(), service.put(f"slow/{number}"))
                assert (searched.status_code, written.status_code) == (200, 200), (searched.text, written.text)
            assert (await service.health())["code"] == 200
            store.reset()
            assert all([await service.has(f"slow/{number}") for number in range(3)])
            assert len((await service.search()).json()["results"][0]["hits"]) == len(found["results"][0]["hits"])

    asyncio.run(use())
    assert next(numbers) > 20
