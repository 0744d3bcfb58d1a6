"""The middleware of the service, when a request fails after its response has begun."""

import asyncio

import pytest

from texthash.config import LimitsConfig
from texthash.service.memory_budget import Ledger
from texthash.service.middleware import stack
from texthash.service.middleware.auth import Keys
from texthash.service.problems import Problem

SCOPE = {"type": "http", "method": "GET", "path": "/v1/info", "headers": [], "root_path": ""}


def _sent(app):
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        await asyncio.Event().wait()

    for middleware in reversed(stack(LimitsConfig(request_timeout_s=0.05), Ledger(1_000), keys=Keys())):
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
