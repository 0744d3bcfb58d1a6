"""Batching of requests: what waits while a pass runs is answered by the next, and nothing waits for more to come."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from texthash.api.requests import Query, SearchRequest
from texthash.config import LimitsConfig
from texthash.service.batching import MOST_REQUESTS, RequestBatcher
from texthash.service.memory_budget import MemoryBudget
from texthash.service.problems import Problem


class Held:
    """A coordinator whose passes last until they are let go; it answers with the limits of the requests."""

    def __init__(self, most_hits: int = 25_600) -> None:
        self.limits = LimitsConfig(max_hits=most_hits)
        self.passes: list[list[int]] = []
        self.go = asyncio.Event()

    async def search(self, requests: list[SearchRequest]) -> list[Any]:
        limits = [request.limit for request in requests]
        self.passes.append(limits)
        await self.go.wait()
        if 13 in limits:
            raise OSError("a disk failed")
        return [Problem("timeout", "seven") if limit == 7 else limit for limit in limits]


def request(limit: int) -> SearchRequest:
    return SearchRequest(queries=[Query(text="a")], limit=limit)


def batcher(held: Held, passes: int = 1) -> RequestBatcher:
    return RequestBatcher(held, MemoryBudget(1_000), passes)  # type: ignore[arg-type]


async def begun(batch: RequestBatcher, *limits: int) -> list[asyncio.Task[Any]]:
    tasks = [asyncio.create_task(batch.answer(request(limit))) for limit in limits]
    for _ in range(5):
        await asyncio.sleep(0)
    return tasks


def test_what_waits_while_a_pass_runs_is_the_next_pass() -> None:
    async def run() -> list[list[int]]:
        held = Held()
        batch = batcher(held)
        first = await begun(batch, 1)
        later = [*await begun(batch, 2, 3), *await begun(batch, 4)]
        held.go.set()
        assert await asyncio.gather(*first, *later) == [1, 2, 3, 4]
        return held.passes

    assert asyncio.run(run()) == [[1], [2, 3, 4]]


def test_requests_of_one_moment_share_a_pass_and_a_pass_has_a_bound() -> None:
    async def run() -> list[int]:
        held = Held()
        held.go.set()
        batch = batcher(held)
        await asyncio.gather(*await begun(batch, *[1] * (MOST_REQUESTS + 6)))
        return [len(own) for own in held.passes]

    assert asyncio.run(run()) == [MOST_REQUESTS, 6]


def test_requests_that_come_one_after_the_other_without_a_pause_share_a_pass() -> None:
    async def run() -> list[list[int]]:
        held = Held()
        held.go.set()
        batch = batcher(held)
        tasks = []
        for limit in range(20, 28):
            tasks.append(asyncio.create_task(batch.answer(request(limit))))
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)
        return held.passes

    assert asyncio.run(run()) == [[*range(20, 28)]]


def test_several_passes_run_at_a_time_where_they_wait_for_others() -> None:
    async def run() -> list[list[int]]:
        held = Held()
        batch = batcher(held, passes=2)
        tasks = [*await begun(batch, 1), *await begun(batch, 2), *await begun(batch, 3)]
        running = [*held.passes]
        held.go.set()
        assert await asyncio.gather(*tasks) == [1, 2, 3]
        return running

    assert asyncio.run(run()) == [[1], [2]]


def test_a_request_after_the_last_pass_is_not_overlooked() -> None:
    async def run() -> None:
        held = Held()
        held.go.set()
        batch = batcher(held)
        for limit in range(1, 6):
            assert await asyncio.wait_for(batch.answer(request(limit)), 5) == limit

            async def soon(limit: int = limit) -> Any:  # Comes in the moment in which the pass before it ends.
                return await batch.answer(request(limit))

            assert await asyncio.wait_for(asyncio.gather(soon(), soon()), 5) == [limit, limit]

    asyncio.run(run())


def test_a_problem_is_of_one_request_and_an_error_of_its_pass() -> None:
    async def run() -> None:
        held = Held()
        held.go.set()
        batch = batcher(held)
        answers = await asyncio.gather(*await begun(batch, 1, 7), return_exceptions=True)
        assert answers[0] == 1
        assert isinstance(answers[1], Problem)
        failed = await asyncio.gather(*await begun(batch, 1, 13), return_exceptions=True)
        assert [str(error) for error in failed] == ["a disk failed"] * 2
        assert await batch.answer(request(2)) == 2

    asyncio.run(run())


def test_a_request_that_was_given_up_is_not_searched_for() -> None:
    async def run() -> list[list[int]]:
        held = Held()
        batch = batcher(held)
        first, gone, last = [*await begun(batch, 1), *await begun(batch, 2), *await begun(batch, 3)]
        gone.cancel()
        held.go.set()
        assert await asyncio.gather(first, last) == [1, 3]
        with pytest.raises(asyncio.CancelledError):
            await gone
        return held.passes

    assert asyncio.run(run()) == [[1], [3]]
