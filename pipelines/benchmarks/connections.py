"""Answers of the service while thousands of connections are open, most of them idle."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer

from benchmarks.load import search_bodies, search_load
from benchmarks.programs import Program, serve_program
from benchmarks.reporting import JsonOption, report
from benchmarks.serving import PlacementOption
from texthash.errors import TexthashError
from texthash.index.releases.release import read_release
from texthash.paths import resolve_home
from texthash.progress import log_line

_REQUEST = b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
_AT_ONCE = 50  # connections that are opened together
_EVERY_S = 0.02
_SPARE_FILES = 200


def command(
    json: JsonOption = None,
    connections: Annotated[
        list[int] | None, typer.Option(min=0, help="Idle connections; may be given several times.")
    ] = None,
    clients: Annotated[int, typer.Option(min=1, help="Clients that search.")] = 32,
    seconds: Annotated[float, typer.Option(min=0.1, help="Length of one measurement, less than a minute.")] = 8.0,
    placement: PlacementOption = "local",
) -> None:
    """Ask for /health/live every 20 ms while connections are kept open idle and clients search from another process.

    `live` are the answers on a connection of its own, `new` those on a new connection each. `broken` are the idle
    connections on which a request at the end gets no answer; the service closes them when they are idle for a minute.
    """
    home = resolve_home()
    found = read_release(home)
    bodies = search_bodies(home, found.name)
    numbers = [0, 2000] if connections is None else connections
    rows = []
    with _files(max(numbers)), serve_program(home, found.name, settings=(f"service.placement={placement}",)) as service:
        for number in numbers:
            log_line(f"{number:,} idle connections, {clients} clients")
            rows.append({"idle": number, **asyncio.run(_measure(service, number, clients, seconds, bodies))})
    report(f"idle connections beside {clients} clients, {found.documents:,} documents", rows, json)


@contextmanager
def _files(connections: int) -> Iterator[None]:
    """Allow this process as many open files as it needs.

    Raises:
        TexthashError: The system does not allow as many.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections + _SPARE_FILES
    if hard not in (resource.RLIM_INFINITY, -1) and needed > hard:
        raise TexthashError(f"{needed} files have to be open, {hard} are allowed.", "raise the limit: ulimit -Hn")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class _Connection(NamedTuple):
    """Connection that is kept open."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def open(cls, port: int) -> _Connection:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def live(self) -> float:
        """Return the seconds until ``/health/live`` is answered.

        Raises:
            TexthashError: The status is not 200.
            OSError, EOFError: The connection is closed.
        """
        began = time.perf_counter()
        self.writer.write(_REQUEST)
        first, *lines = (await self.reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
        await self.reader.readexactly(next(int(line[15:]) for line in lines if line.startswith(b"content-length:")))
        if b" 200 " not in first:
            raise TexthashError(f"/health/live answers {first.decode()}.", "see the Serve logs of the Ray cluster.")
        return time.perf_counter() - began


async def _measure(service: Program, number: int, clients: int, seconds: float, bodies: str) -> dict[str, Any]:
    opened: list[_Connection] = []
    while len(opened) < number:
        several = min(_AT_ONCE, number - len(opened))
        opened += await asyncio.gather(*(_Connection.open(service.port) for _ in range(several)))
    try:
        await _each(opened)
        before = service.cpu_s()
        load = asyncio.create_task(asyncio.to_thread(search_load, service.port, clients, seconds, bodies))
        live = await _probe(service.port, load)
        figures = await load
        cpu_ms = 1e3 * (service.cpu_s() - before) / figures["answers"]
        broken = await _each(opened)
    finally:
        for connection in opened:
            connection.writer.close()
    searches = {name: figures[name] for name in ("requests_per_s", "p50_ms", "p99_ms", "errors")}
    return {**live, "broken": broken, **searches, "cpu_ms": round(cpu_ms, 3)}


async def _each(opened: list[_Connection]) -> int:
    """Send a request over each connection, and return how many are broken."""
    broken = 0
    for start in range(0, len(opened), _AT_ONCE):
        answers = await asyncio.gather(
            *(connection.live() for connection in opened[start : start + _AT_ONCE]), return_exceptions=True
        )
        broken += sum(isinstance(answer, BaseException) for answer in answers)
    return broken


async def _probe(port: int, load: asyncio.Task[Any]) -> dict[str, Any]:
    """Ask on a kept and on a new connection until the load ends; milliseconds of the answers."""
    kept = await _Connection.open(port)
    taken: list[float] = []
    new: list[float] = []
    while not taken or not load.done():
        taken.append(await kept.live())
        began = time.perf_counter()
        fresh = await _Connection.open(port)
        await fresh.live()
        new.append(time.perf_counter() - began)
        fresh.writer.close()
        await asyncio.sleep(_EVERY_S)
    kept.writer.close()
    return {
        f"{name}_{part}_ms": round(1e3 * float(np.percentile(times, percent)), 2)
        for name, times in (("live", taken), ("new", new))
        for part, percent in (("p50", 50), ("p99", 99))
    }
