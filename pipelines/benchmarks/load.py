"""Closed loop of HTTP clients in a separate process: each sends its next search after the answer to its last.

python -m benchmarks.load HOST PORT PATH CLIENTS SECONDS < bodies.jsonl

SIGTERM ends it early, with the figures up to then.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from texthash.errors import TexthashError
from texthash.index.releases.release import read_release
from texthash.paths import StateDir

_WARM_UP_S = 2.0
_AROUND_S = 3.0  # time before and after an event that is measured too
_HOUR_S = 3600.0
_WORDS = 8
_BODIES = 500


def search_bodies(home: StateDir, release: str, mode: str = "semantic") -> str:
    """Return searches for the first words of documents in a mode, one JSON object per line."""
    shard = read_release(home, release).open_shard(home, 0)
    numbers = shard.numbers[:: max(1, len(shard) // _BODIES)][:_BODIES]
    texts = [" ".join(document["text"].split()[:_WORDS]) for document in shard.documents(numbers, ["text"])]
    same = {"mode": mode, "rescore": {"kind": "none"}, "limit": 10, "fields": ["title"]}  # ordered as the peer orders
    bodies = [{"queries": [{"text": text}], **same} for text in texts]
    return "".join(json.dumps(body) + "\n" for body in bodies)


def search_load(port: int, clients: int, seconds: float, bodies: str, host: str = "127.0.0.1") -> dict[str, Any]:
    """Return figures of searches by ``clients`` clients over ``seconds``."""
    return _ended(_started(port, clients, seconds, bodies, host))[0]


class Failure(NamedTuple):
    """Search that failed: its begin and end by :func:`time.time`, and its status or the error of its connection."""

    began: float
    ended: float
    answer: str


def search_load_during(port: int, clients: int, bodies: str, event: Callable[[], object]) -> dict[str, Any]:
    """Return figures of searches by ``clients`` clients during a call of ``event``, and its duration (``event_s``)."""
    return searched_during(port, clients, bodies, event)[0]


def searched_during(
    port: int, clients: int, bodies: str, event: Callable[[], object]
) -> tuple[dict[str, Any], list[Failure]]:
    """Return the figures of :func:`search_load_during`, and the searches that failed."""
    load = _started(port, clients, _HOUR_S, bodies)
    try:
        time.sleep(_WARM_UP_S + _AROUND_S)
        began = time.perf_counter()
        event()
        took = time.perf_counter() - began
        time.sleep(_AROUND_S)
    finally:
        load.send_signal(signal.SIGTERM)
        figures, failures = _ended(load)
    return {"event_s": round(took, 1), **figures}, failures


def _started(port: int, clients: int, seconds: float, bodies: str, host: str = "127.0.0.1") -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.load", host, str(port), "/v1/search", str(clients), str(seconds)]
    pipe = subprocess.PIPE
    here = Path(__file__).parents[1]
    load = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, cwd=here, encoding="utf-8")
    assert load.stdin is not None
    load.stdin.write(bodies)
    load.stdin.close()
    return load


def _ended(load: subprocess.Popen[str]) -> tuple[dict[str, Any], list[Failure]]:
    assert load.stdout is not None
    assert load.stderr is not None
    figures, messages = load.stdout.read(), load.stderr.read()
    if load.wait():
        raise TexthashError(f"the load failed: {messages[-500:]}", "see the message above.")
    result: dict[str, Any] = json.loads(figures)
    return result["figures"], [Failure(*one) for one in result["failures"]]


class _Clients:
    """Clients of one load, and the answers to them."""

    def __init__(self, host: str, port: int, path: str, bodies: list[bytes], seconds: float) -> None:
        head = f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\nContent-Length: "
        requests = [head.encode() + str(len(body)).encode() + b"\r\n\r\n" + body for body in bodies]
        self._requests: Iterator[tuple[int, bytes]] = itertools.cycle(enumerate(requests))
        self._address = host, port
        self._start = time.perf_counter() + _WARM_UP_S
        self._end = self._start + seconds
        self._taken: list[float] = []
        self._answers = 0
        self._last = self._start
        self._pause = 0.0
        self.failures: list[Failure] = []
        self._first: dict[tuple[int, str | None], Any] = {}
        self._unlike = 0

    def stop(self) -> None:
        """Send no further requests."""
        self._end = min(self._end, time.perf_counter())

    async def ask(self) -> None:
        """Send requests as one client until the end, on a new connection after one that broke or was said to close."""
        while time.perf_counter() < self._end:
            began = time.time()
            try:
                reader, writer = await asyncio.open_connection(*self._address)
                try:
                    kept = True
                    while kept and time.perf_counter() < self._end:
                        began = time.time()
                        kept = await self._search(reader, writer)
                finally:
                    writer.close()
            except (OSError, asyncio.IncompleteReadError) as error:
                self.failures.append(Failure(began, time.time(), type(error).__name__))

    async def _search(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Send one search, and count its answer unless it began before the start.

        Returns:
            Whether the connection is kept: a proxy that is replaced answers what it has, and then closes it.
        """
        search, request = next(self._requests)
        wall, began = time.time(), time.perf_counter()
        writer.write(request)
        await writer.drain()
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
        status = int(first.split(b" ", 2)[1])
        answer = await reader.readexactly(next(int(line[15:]) for line in lines if line.startswith(b"content-length:")))
        self._answers += 1
        if status != 200:
            self.failures.append(Failure(wall, time.time(), str(status)))
        elif began >= self._start:
            now = time.perf_counter()
            self._pause, self._last = max(self._pause, now - self._last), now
            self._taken.append(now - began)
            self._compare(search, json.loads(answer))
        return b"connection: close" not in lines

    def _compare(self, search: int, reply: dict[str, Any]) -> None:
        """Count an answer that differs from the first one of the same release to the same search.

        It would differ if the code of one release were searched in the index of another. The strategy of a search may
        differ, as it depends on what shares the pass.
        """
        found = [(result.get("code"), result["hits"]) for result in reply["results"]]
        first = self._first.setdefault((search, reply.get("release")), found)
        self._unlike += first != found

    def figures(self) -> dict[str, Any]:
        """Return requests per second, latencies in milliseconds, and numbers of answers.

        ``pause_ms`` is the longest time without an answer; ``answers`` are all, with those before the start; ``errors``
        are answers other than 200 and broken connections, and ``unlike`` are inconsistent answers.
        """
        p50, p99 = np.percentile(np.array(self._taken or [np.nan]) * 1000, [50, 99])
        return {
            "requests_per_s": round(len(self._taken) / (self._end - self._start), 1),
            "p50_ms": round(float(p50), 2),
            "p99_ms": round(float(p99), 2),
            "slowest_ms": round(1000 * max(self._taken, default=np.nan), 2),
            "pause_ms": round(1000 * self._pause, 2),
            "answers": self._answers,
            "errors": len(self.failures),
            "releases": len({release for _, release in self._first}),
            "unlike": self._unlike,
        }


async def _measure(
    address: tuple[str, int], path: str, clients: int, seconds: float, bodies: list[bytes]
) -> dict[str, Any]:
    load = _Clients(*address, path, bodies, seconds)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, load.stop)
    await asyncio.gather(*(load.ask() for _ in range(clients)))
    return {"figures": load.figures(), "failures": load.failures}


if __name__ == "__main__":
    host, port, path, clients, seconds = sys.argv[1:]
    lines = [line.strip().encode() for line in sys.stdin]
    print(json.dumps(asyncio.run(_measure((host, int(port)), path, int(clients), float(seconds), lines))))
