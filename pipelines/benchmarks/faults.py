"""Effect of failures on clients: processes of the service are killed (``kill -9``) one after the other under load."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from dataclasses import dataclass
from itertools import count
from typing import Annotated, Any

import httpx
import psutil
import typer

from benchmarks.reporting import JsonOption, report
from benchmarks.serving import PlacementOption, served
from texthash.errors import TexthashError, UsageError
from texthash.index.releases.release import read_release
from texthash.paths import resolve_home
from texthash.progress import log_line

# Name of each part in the title of its process.
PARTS = {
    "shard": "ServeReplica:texthash:shard-0",
    "encoder": "ServeReplica:texthash:encoder",
    "writer": "ServeReplica:texthash:writer",
    "ingress": "ServeReplica:texthash:ingress",
    "haproxy": "bin/haproxy ",
    "manager": "ray::HAProxyManager",
    "controller": "ray::ServeController",
}
_REMOTE = ("shard", "encoder")  # parts of the ingress in the other placement
LABEL = "faults"
_APART_S = 0.1
_SLOW_S = 1.0  # an answer that takes longer has waited for the killed part
_CALM_S = 5.0
_BEFORE_S = 2.0
_PATIENCE_S = 120.0
_TIMEOUT_S = 40.0
_QUERY = {"queries": [{"text": "sort the values of an array"}], "limit": 3}


@dataclass(frozen=True)
class Reply:
    """Begin and end of a request, in seconds since the kill, and its answer.

    The answer is a status, with the type of a problem, or an error of the connection.
    """

    began: float
    ended: float
    answer: str

    @property
    def well(self) -> bool:
        """True if the request succeeded without delay."""
        return self.answer == "200" and self.ended - self.began < _SLOW_S


def command(
    json: JsonOption = None,
    part: Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(PARTS)}; all by default.")] = None,
    placement: PlacementOption = "remote",
) -> None:
    """Kill the parts of a service of the current release, one after the other, under ten searches and writes a second.

    The documents that are written are deleted at the end.
    """
    parts = part or [name for name in PARTS if placement == "remote" or name not in _REMOTE]
    unknown = [name for name in parts if name not in PARTS]
    if unknown:
        raise UsageError(f"there is no part {unknown[0]!r}.", f"there are {', '.join(PARTS)}.")
    home = resolve_home()
    found = read_release(home)
    with served(home, placement=placement) as port:
        rows = asyncio.run(_measure(port, parts))
    report(
        f"killed parts, {found.documents:,} documents, {len(found.shards)} shards, placement {placement}", rows, json
    )


async def _measure(port: int, parts: list[str]) -> list[dict[str, Any]]:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=_TIMEOUT_S) as client:
        return [await _kill(client, part) for part in parts]


async def _kill(client: httpx.AsyncClient, part: str) -> dict[str, Any]:
    """Kill one part under load, continue until all requests succeed again, and check the acknowledged writes."""
    log_line(f"{part}: killed under load")
    load = _Load(client, part)
    async with asyncio.TaskGroup() as requests:
        victim: int | None = processes_of(part)[0]
        while (now := load.now()) < _PATIENCE_S and not load.calm(now):
            requests.create_task(load.search())
            requests.create_task(load.write())
            if victim is not None and now >= 0:
                os.kill(victim, signal.SIGKILL)
                victim = None
            await asyncio.sleep(_APART_S)
    lost = await load.clear()
    return {"part": part, **_row("searches", load.searches), **_row("writes", load.writes), "writes_lost": lost}


class _Load:
    """Searches and writes at a constant rate, independent of the answers to earlier ones."""

    def __init__(self, client: httpx.AsyncClient, part: str) -> None:
        self.searches: list[Reply] = []
        self.writes: list[Reply] = []
        self._client = client
        self._ids = (f"{LABEL}/{part}/{number}" for number in count())
        self._written: list[str] = []
        self._open: set[float] = set()
        self._start = time.perf_counter() + _BEFORE_S

    def now(self) -> float:
        """Seconds since the kill; below zero before it."""
        return time.perf_counter() - self._start

    def calm(self, now: float) -> bool:
        """Return whether the last failure was long enough ago."""
        troubles = [asked.ended for asked in (*self.searches, *self.writes) if not asked.well]
        waiting = any(began < now - _SLOW_S for began in self._open)
        return not waiting and now > max(troubles, default=0.0) + _CALM_S

    async def search(self) -> None:
        await self._ask(self.searches, "POST", "/v1/search", _QUERY)

    async def write(self) -> None:
        id_ = next(self._ids)
        document = {"id": id_, "text": "parse a date from a string", "labels": [LABEL]}
        if await self._ask(self.writes, "PUT", "/v1/documents", {"documents": [document]}):
            self._written.append(id_)

    async def clear(self) -> int:
        """Delete the documents; return the number of acknowledged ones that are missing."""
        # This write waits until all parts of the service see it; then they also see all earlier writes.
        (await self._client.post("/v1/documents/delete?wait=true", json={"ids": [LABEL]})).raise_for_status()
        found = [(await self._client.get(f"/v1/documents/{id_}")).status_code for id_ in self._written]
        everything = {"filter": {"labels": [LABEL]}}
        (await self._client.post("/v1/documents/delete?wait=true", json=everything)).raise_for_status()
        return sum(status != 200 for status in found)

    async def _ask(self, kept: list[Reply], method: str, path: str, body: dict[str, Any]) -> bool:
        began = self.now()
        self._open.add(began)
        try:
            reply = await self._client.request(method, path, json=body)
            answer = str(reply.status_code)
            if "problem" in reply.headers.get("content-type", ""):
                answer += f" {reply.json()['type'].rpartition('/')[2]}"
        except httpx.TransportError as error:
            answer = type(error).__name__
        self._open.remove(began)
        kept.append(Reply(began, self.now(), answer))
        return answer == "200"


def _row(name: str, replies: list[Reply]) -> dict[str, Any]:
    """Return the time of recovery, the failed requests by answer, and the time of the slowest successful request."""
    failed = Counter(one.answer for one in replies if one.answer != "200")
    back = max((one.ended for one in replies if not one.well), default=0.0)
    slowest = max((one.ended - one.began for one in replies if one.answer == "200"), default=0.0)
    return {
        f"{name}_well_after_s": round(back, 1),
        f"{name}_failed": "; ".join(f"{times} x {answer}" for answer, times in failed.items()) or "none",
        f"{name}_slowest_s": round(slowest, 1),
    }


def processes_of(part: str) -> list[int]:
    """Return the process ids of the replicas of a part; there is at least one."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if PARTS[part] in f"{' '.join(process.cmdline())} ":
                found.append(process.pid)
        except psutil.Error:  # it has ended
            continue
    if found:
        return found
    raise TexthashError(f"there is no process of the {part}.", "kill a part that this form of the service has.")
