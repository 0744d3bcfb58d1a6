"""What many clients, or greedy ones, can take: hits, bodies and answers are bounded over all requests together."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.service.conftest import Asked
from texthash.api.requests import SearchRequest
from texthash.config import LimitsConfig
from texthash.errors import UsageError
from texthash.service.batching import MOST_REQUESTS, RequestBatcher
from texthash.service.coordinator import Answer, Coordinator
from texthash.service.http_app import make_app
from texthash.service.memory_budget import MemoryBudget
from texthash.service.problems import Problem

JSON = (b"content-type", b"application/json")
TEXT = "sort the values of an array"


def request(queries: int = 1, limit: int = 10) -> SearchRequest:
    return SearchRequest.model_validate({"queries": [{"text": TEXT}] * queries, "limit": limit})


async def call(app: Any, path: str, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]):
    scope = {"type": "http", "method": "POST", "path": path, "headers": [JSON], "query_string": b""}
    await app(scope, receive, send)


def test_all_queries_of_a_request_share_a_bound_of_hits(coordinator: Callable[[LimitsConfig], Coordinator]) -> None:
    app = Asked(make_app(coordinator(LimitsConfig(max_hits=40))))
    assert app.search({"text": TEXT}, {"text": TEXT}, limit=20).status_code == 200
    for members in (
        {"limit": 21},
        {"limit": 20, "offset": 1},
        {"limit": 7, "rescore": {"kind": "asymmetric", "oversample": 4}},
    ):
        reply = app.search({"text": TEXT}, {"text": TEXT}, **members)
        assert (reply.status_code, reply.json()["type"]) == (422, "/problems/limit-too-large")
        assert reply.json()["errors"][0]["max"] == 40
    limits = app.get("/v1/info").json()["limits"]
    assert (limits["max_hits"], limits["max_window"]) == (40, 40)


def test_bodies_that_are_on_their_way_are_counted_together(coordinator: Callable[[LimitsConfig], Coordinator]) -> None:
    app = make_app(coordinator(LimitsConfig(max_body_bytes=1_000, max_pending_bytes=2_500)))
    statuses: list[int] = []
    go_on = asyncio.Event()

    def half() -> Callable[[], Awaitable[Any]]:
        messages = [{"type": "http.request", "body": b" " * 900, "more_body": True}]

        async def receive() -> Any:
            if messages:
                return messages.pop()
            await go_on.wait()
            return {"type": "http.disconnect"}

        return receive

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    async def crowd() -> None:
        waiting = [asyncio.ensure_future(call(app, "/v1/search", half(), send)) for _ in range(2)]
        await asyncio.sleep(0.05)
        await call(app, "/v1/search", half(), send)  # 2,700 bytes
        assert statuses == [429]
        go_on.set()
        await asyncio.gather(*waiting)

    asyncio.run(crowd())
    assert statuses == [429, 400, 400]
    assert Asked(app).search({"text": TEXT}, limit=1).status_code == 200


def test_an_answer_that_nobody_reads_counts_until_it_is_sent(
    coordinator: Callable[[LimitsConfig], Coordinator],
) -> None:
    budget = MemoryBudget(100_000)
    app = make_app(coordinator(LimitsConfig()), budget=budget)
    body = json.dumps({"queries": [{"text": TEXT}] * 100, "limit": 100, "fields": ["title", "text"]}).encode()
    parts: list[bytes] = []
    read = asyncio.Event()

    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        parts.append(message.get("body", b""))
        if len(parts) == 3:
            await read.wait()

    async def slowly() -> None:
        waiting = asyncio.ensure_future(call(app, "/v1/search", receive, send))
        while len(parts) < 3:
            await asyncio.sleep(0.01)
        assert budget.held > 1_000_000
        refused = await Asked(app).send("POST", "/v1/search", json={"queries": [{"text": TEXT}]})
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert (await Asked(app).send("GET", "/health/live")).status_code == 200
        read.set()
        await waiting

    asyncio.run(slowly())
    assert budget.held == 0
    assert max(map(len, parts)) <= 2**18
    assert len(json.loads(b"".join(parts))["results"]) == 100


class Counted:
    """A coordinator in front of nothing, which counts what each pass has."""

    def __init__(self, limits: LimitsConfig) -> None:
        self.limits = limits
        self.sizes: list[int] = []

    async def search(self, requests: list[SearchRequest]) -> list[Answer | Problem]:
        self.sizes.append(len(requests))
        return [Problem("timeout", str(request.limit)) for request in requests]


def test_a_pass_is_full_by_requests_or_by_their_hits() -> None:
    passes = RequestBatcher(Counted(LimitsConfig(max_hits=6_400)), MemoryBudget(1))  # type: ignore[arg-type]
    assert passes.cost([request()] * MOST_REQUESTS) == passes.most
    assert passes.cost([request(10, 100)] * 6) <= passes.most < passes.cost([request(10, 100)] * 7)
    assert passes.cost([request(64, 100)]) == passes.most
    assert passes.cost([request(256, 1_000)]) == passes.most, "one request alone fits always"


def test_what_waited_for_a_pass_is_refused_when_the_memory_is_full() -> None:
    budget, counted = MemoryBudget(10), Counted(LimitsConfig())
    passes = RequestBatcher(counted, budget)  # type: ignore[arg-type]

    async def answered() -> list[str]:
        answers = await passes.run_batch([request(limit=1), request(limit=2)])
        return [answer.detail for answer in answers if isinstance(answer, Problem)]

    assert asyncio.run(answered()) == ["1", "2"]
    with budget.reservation() as reservation:
        reservation.set_size(11)
        assert all("11 bytes" in detail for detail in asyncio.run(answered()))
    assert counted.sizes == [2]
    assert budget.held == 0


def test_a_budget_without_room_for_one_body_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from texthash.config import load_config

    monkeypatch.setenv("TEXTHASH_MAX_PENDING_BYTES", "1000")
    with pytest.raises(UsageError, match="max_pending_bytes=1000"):
        load_config(None, [])
