"""The middleware of the service, when a request fails after its response has begun."""

import asyncio
from collections import Counter

import pytest

from texthash.config import LimitsConfig
from texthash.service.memory_budget import MemoryBudget
from texthash.service.middleware import stack
from texthash.service.middleware.auth import Keys
from texthash.service.middleware.body import LARGE
from texthash.service.middleware.gate import Gate
from texthash.service.middleware.pace import TOGETHER
from texthash.service.problems import Problem

SCOPE = {"type": "http", "method": "GET", "path": "/v1/info", "headers": [], "root_path": ""}


def _sent(app):
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        await asyncio.Event().wait()

    for middleware in reversed(stack(Gate(LimitsConfig(request_timeout_s=0.05), MemoryBudget(1_000), Keys()))):
        app = middleware.cls(app, **middleware.kwargs)
    try:
        asyncio.run(app(dict(SCOPE), receive, send))
    except Problem as problem:
        return sent, problem
    return sent, None


@pytest.mark.parametrize("begun", [False, True])
def test_a_time_out_is_answered_unless_the_response_has_begun(begun):
    async def slow(scope, receive, send):
        if begun:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.sleep(5)

    sent, problem = _sent(slow)
    starts = [message["status"] for message in sent if message["type"] == "http.response.start"]
    assert starts == ([200] if begun else [504])
    assert (problem is not None) == begun


@pytest.mark.parametrize(("size", "most"), [(2, TOGETHER), (LARGE + 1, 1)])
def test_few_of_the_requests_that_arrive_at_once_are_looked_at_in_a_round_of_the_event_loop(size, most):
    looked_at, probed = [], []
    rounds = 0

    async def inner(scope, receive, send):
        (looked_at if scope["method"] == "POST" else probed).append(rounds)

    app = inner
    for middleware in reversed(stack(Gate(LimitsConfig(), MemoryBudget(1_000_000_000), Keys()))):
        app = middleware.cls(app, **middleware.kwargs)

    async def ask(method, path):
        scope = {"type": "http", "method": method, "path": path, "headers": [], "root_path": ""}
        body = [{"type": "http.request", "body": b" " * size, "more_body": False}]
        await app(scope, lambda: asyncio.sleep(0, body.pop()), None)

    async def count():
        nonlocal rounds
        while True:
            rounds += 1
            await asyncio.sleep(0)

    async def run():
        counting = asyncio.ensure_future(count())
        asking = [ask("POST", "/v1/search") for _ in range(500)]
        await asyncio.gather(*asking, ask("GET", "/health/live"))
        counting.cancel()

    asyncio.run(run())
    assert len(looked_at) == 500
    assert max(Counter(looked_at).values()) == most
    assert probed[0] <= looked_at[0], "health waits for nobody's turn"
