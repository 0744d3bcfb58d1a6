"""Health while 2,000 searches arrive at once, over real connections from another process."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.service.live import listening
from texthash.api.requests import SearchRequest
from texthash.config import LimitsConfig
from texthash.service.coordinator import Answer, Coordinator
from texthash.service.http_app import make_app
from texthash.service.problems import Problem

pytestmark = pytest.mark.alone

SEARCHES = 2_000
PASS = 64
# Measured on a busy machine: 0.3 s; 1.6 s where each request passed several layers before its turn.
LONGEST_S = 1.0

LOAD = """
import asyncio, json, resource, sys, time
port, count = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
body = b'{"queries": [{"text": "sort an array"}], "limit": 10}'
head = b"Host: 127.0.0.1\\r\\nConnection: close\\r\\n"
search = b"POST /v1/search HTTP/1.1\\r\\n" + head + b"Content-Type: application/json\\r\\n"
search += b"Content-Length: %d\\r\\n\\r\\n" % len(body) + body

async def ask(request, start=None):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    if start:
        await start.wait()
    begun = time.monotonic()
    writer.write(request)
    status = int((await reader.read())[9:12])
    writer.close()
    return status, time.monotonic() - begun

async def main():
    start, waits = asyncio.Event(), []
    asking = []
    for first in range(0, count, 100):  # a listener has a backlog of connections
        asking += [asyncio.create_task(ask(search, start)) for _ in range(min(100, count - first))]
        await asyncio.sleep(0.05)
    await asyncio.sleep(1)
    start.set()
    searched = asyncio.gather(*asking)
    while not searched.done():
        status, seconds = await ask(b"GET /health/live HTTP/1.1\\r\\n" + head + b"\\r\\n")
        assert status == 200
        waits.append(seconds)
        await asyncio.sleep(0.02)
    print(json.dumps({"statuses": sorted({status for status, _ in await searched}), "waits": waits}))

asyncio.run(main())
"""


class Passes:
    """Answers requests as the batches of the service do: many at once, at intervals, all with one answer."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._waiting: list[asyncio.Future[Answer]] = []

    async def search(self, request: SearchRequest) -> Answer:
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        if len(self._waiting) == 1:
            asyncio.get_running_loop().call_later(0.02, self._finish)
        return await future

    def _finish(self) -> None:
        done, self._waiting = self._waiting[:PASS], self._waiting[PASS:]
        for future in done:
            future.set_result(self._answer)
        if self._waiting:
            asyncio.get_running_loop().call_later(0.02, self._finish)


def test_health_is_answered_while_2000_searches_wait(coordinator: Callable[[LimitsConfig], Coordinator]) -> None:
    limits = LimitsConfig(max_ongoing_requests=SEARCHES, max_queued_requests=SEARCHES)
    chosen = coordinator(limits)
    request = SearchRequest.model_validate({"queries": [{"text": "sort an array"}], "mode": "semantic"})
    (answer,) = asyncio.run(chosen.search([request]))
    assert not isinstance(answer, Problem)
    with listening(make_app(chosen, Passes(answer).search)) as url:
        port = url.rpartition(":")[2]
        load = [sys.executable, "-c", LOAD, port, str(SEARCHES)]
        ended = subprocess.run(load, capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert found["statuses"] == [200]
    assert max(found["waits"]) < LONGEST_S
