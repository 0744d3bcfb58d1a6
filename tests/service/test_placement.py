"""Placement of encoder and shards, and the memory of an ingress that opens them itself."""

from __future__ import annotations

import asyncio
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from texthash.config import ServiceConfig
from texthash.errors import UsageError
from texthash.index.releases.publish import publish
from texthash.index.releases.release import OpenRelease, read_release
from texthash.paths import StateDir
from texthash.service.placement import LocalShard, memory_of, placement_of
from texthash.service.problems import Problem
from texthash.service.replicas.short_work import ShortWork


def placed(home: StateDir, **members: object) -> tuple[bool, bool]:
    found = placement_of(home, read_release(home), ServiceConfig(**members))
    return found.encoder, found.shards


def test_a_small_release_is_local_unless_told_otherwise(released: StateDir) -> None:
    assert placed(released) == (True, True)
    assert placed(released, placement="local") == (True, True)
    assert placed(released, placement="remote") == (False, False)


def test_a_release_that_does_not_fit_has_remote_shards_and_says_so(released: StateDir) -> None:
    assert placed(released, local_memory_bytes=1_000) == (True, False)
    found = placement_of(released, read_release(released), ServiceConfig(local_memory_bytes=1_000))
    assert "service.local_memory_bytes" in found.reason
    with pytest.raises(UsageError, match=r"placement=local, but release r000001"):
        placed(released, placement="local", local_memory_bytes=1_000)


def test_the_estimate_covers_what_shards_take(released: StateDir, opened: OpenRelease) -> None:
    for shard in opened.shards:
        shard.warmup()
    taken = sum(shard.size_bytes for shard in opened.shards)
    release = opened.release
    model = memory_of(released, [replace(release, shards=())])
    assert taken <= memory_of(released, [release]) - model <= 5 * taken
    assert memory_of(released, [release, release]) == memory_of(released, [release])


def test_a_release_without_room_beside_the_served_one_is_refused_and_the_old_one_goes_on(
    home: StateDir, opened: OpenRelease
) -> None:
    first = read_release(home)
    index, model = home.path(first.index_uri), home.path(first.model_uri)
    for name in ("second", "third"):
        shutil.copytree(index, home.index / name)
        publish(home, Path(model), home.index / name, switch=False)
    names = [first.name, "r000003", "r000004"]
    one = memory_of(home, [first])
    both = memory_of(home, [first, read_release(home, names[1])])
    with_room, without = (LocalShard(str(home.root), first.name, 0, budget) for budget in (both, one))

    async def follow(shard: LocalShard) -> None:
        codes = opened.hasher.encode(["plot a figure"], role="query")
        for name in names:
            await shard.ping(name)
            assert await shard.sample(name, 1), codes

    asyncio.run(follow(with_room))  # which gives up the first for the third
    with pytest.raises(Problem, match=r"release r000003 beside the one that is served needs about") as refused:
        asyncio.run(follow(without))
    assert refused.value.kind == "shard-unavailable"
    assert asyncio.run(without.sample(first.name, 1))


def test_short_work_stays_on_the_event_loop_once_it_is_known() -> None:
    async def run() -> list[bool]:
        work, here = ShortWork(limit_s=0.5), threading.get_ident()
        kinds = ["a", "a", "b", None, None]
        stayed = [await work.run(kind, 1, threading.get_ident) == here for kind in kinds]
        return [*stayed, await work.run("a", 1e9, threading.get_ident) == here]

    assert asyncio.run(run()) == [False, True, False, False, False, False]
