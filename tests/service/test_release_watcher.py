"""Following the pointer while storage fails: nothing ends it, readiness is honest meanwhile, and it catches up."""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.service.conftest import SHARDS, Asked, LocalWriter
from texthash.config import LimitsConfig
from texthash.index.releases.release import open_release, releases_path
from texthash.paths import StateDir
from texthash.service.coordinator import Coordinator
from texthash.service.http_app import make_app
from texthash.service.index_writes import IndexWriteService
from texthash.service.release_watcher import ReleaseWatcher
from texthash.service.replicas.encoder import LocalEncoder
from texthash.service.replicas.shard import ShardServer

pytestmark = pytest.mark.alone

MAX_LAG_S = 0.6
_PATIENCE_S = 60.0


class Service:
    """The service in this process, over a state directory of its own."""

    def __init__(self, home: StateDir, max_lag_s: float = MAX_LAG_S) -> None:
        root, release = str(home.root), open_release(home).release
        self.home = home
        self.shards = [ShardServer(root, release.name, number) for number in range(SHARDS)]
        self.coordinator = Coordinator(release, LimitsConfig(), LocalEncoder(root, release.name), self.shards)
        self.release_watcher = ReleaseWatcher(home, self.coordinator, max_lag_s)
        writer = LocalWriter(root, "http://test")
        self.asked = Asked(
            make_app(
                self.coordinator,
                index_writes=IndexWriteService(home, self.coordinator, writer),
                release_watcher=self.release_watcher,
            )
        )

    async def ready(self) -> tuple[int, dict[str, Any]]:
        reply = await self.asked.send("GET", "/health/ready")
        return reply.status_code, reply.json()

    async def put(self, id_: str) -> httpx.Response:
        body = {"documents": [{"id": id_, "text": "sort the values of an array"}]}
        return await self.asked.send("PUT", "/v1/documents", json=body)

    async def found(self, id_: str) -> bool:
        return (await self.asked.send("GET", f"/v1/documents/{id_}")).status_code == 200


@pytest.fixture
def service(released: StateDir, tmp_path: Path) -> Service:
    return Service(StateDir(Path(shutil.copytree(released.root, tmp_path / "home"))))


async def until(condition: Callable[[], Awaitable[bool]]) -> bool:
    give_up = time.monotonic() + _PATIENCE_S
    while not (reached := await condition()) and time.monotonic() < give_up:
        await asyncio.sleep(0.05)
    return reached


@contextmanager
def moved_away(path: Path) -> Iterator[None]:
    kept = path.with_name("kept")
    path.rename(kept)
    try:
        yield
    finally:
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
        kept.rename(path)


def missing(pointer: Path) -> None:
    assert not pointer.exists()


def garbage(pointer: Path) -> None:
    pointer.write_bytes(b"\xff\x00 no pointer")


def not_readable(pointer: Path) -> None:
    pointer.mkdir()  # reading it is an OSError, for root as well


def of_another_shape(pointer: Path) -> None:
    pointer.write_text('{"release": {"name": 1}, "previous": null}')


@pytest.mark.parametrize("broken", [missing, garbage, not_readable, of_another_shape])
def test_a_broken_pointer_delays_following_and_readiness_says_so(
    service: Service, broken: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    pointer = releases_path(service.home) / "current"

    async def use() -> None:
        async with service.release_watcher.running():
            assert (await service.ready())[0] == 200
            with moved_away(pointer), caplog.at_level(logging.WARNING, "texthash.service"):
                broken(pointer)

                async def refused() -> bool:
                    return (await service.ready())[0] == 503

                assert await until(refused)
                _, health = await service.ready()
                assert (health["status"], health["missing"]) == ("unavailable", ["follower"])
                assert health["lag_s"] > MAX_LAG_S
                assert health["reason"]
                await asyncio.sleep(1.0)  # several attempts that fail alike
                stays = [record for record in caplog.records if "stays" in record.getMessage()]
                assert len(stays) == 1, "a state is logged when it begins, not at every attempt"
                searched = await service.asked.send(
                    "POST", "/v1/search", json={"queries": [{"text": "sort the values"}], "limit": 1}
                )
                assert searched.status_code == 200, "searches are answered meanwhile"
            written = await service.put("new")
            assert written.status_code == 200
            assert await until(lambda: service.found("new"))

            async def recovered() -> bool:
                return (await service.ready())[0] == 200

            assert await until(recovered)
            _, health = await service.ready()
            assert (health["missing"], health["release"]) == ([], written.json()["release"])
            assert any("following again" in record.getMessage() for record in caplog.records)

    asyncio.run(use())


def test_a_release_that_cannot_be_opened_leaves_the_old_one_and_is_not_ready(service: Service) -> None:
    async def use() -> None:
        async with service.release_watcher.running():
            written = await service.put("new")
            assert await until(lambda: service.found("new"))
            old = service.coordinator.release.name
            record = releases_path(service.home) / f"{written.json()['release']}.json"
            second = await service.put("newer")
            newest = releases_path(service.home) / f"{second.json()['release']}.json"
            with moved_away(newest):
                newest.write_text("{")
                service.coordinator.release = replace(service.coordinator.release, name=record.stem)

                async def refused() -> bool:
                    return (await service.ready())[0] == 503

                assert await until(refused)
                assert service.coordinator.release.name == old
            assert await until(lambda: service.found("newer"))

    asyncio.run(use())


def test_a_follower_that_is_dead_is_not_ready_and_fails_the_check_of_its_process(service: Service) -> None:
    async def use() -> None:
        async with service.release_watcher.running():
            service.release_watcher.report()
            task = service.release_watcher._task
            assert task is not None
            task.get_coro().close()  # type: ignore[union-attr]
            assert await until(lambda: _done(task))
            status, health = await service.ready()
            assert (status, health["missing"]) == (503, ["follower"])
            with pytest.raises(RuntimeError, match="has ended"):
                service.release_watcher.report()

    with pytest.raises(RuntimeError):  # what ended it is raised where the service ends
        asyncio.run(use())


async def _done(task: asyncio.Task[None]) -> bool:
    return task.done()


def test_a_shard_that_fails_in_an_unknown_way_is_named_by_readiness(service: Service) -> None:
    async def broken(release: str) -> bool:
        raise OSError(5, "Input/output error")

    service.shards[1].ping = broken  # type: ignore[method-assign]

    async def use() -> None:
        async with service.release_watcher.running():
            status, health = await service.ready()
            assert (status, health["missing"]) == (503, ["shard-1"])

    asyncio.run(use())
