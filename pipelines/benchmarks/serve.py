"""Searches per second over HTTP: the service on Ray Serve, beside one process of FastAPI with faiss."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import httpx
import psutil
import typer

from benchmarks.enlarged import enlarge
from benchmarks.load import search_bodies, search_load
from benchmarks.programs import PIPELINES, Program, beside, serve_program, started
from benchmarks.reporting import JsonOption, report
from texthash.cluster import free_port
from texthash.errors import TexthashError
from texthash.index.releases.release import read_release
from texthash.paths import StateDir, resolve_home
from texthash.progress import log_line

_START_S = 120.0
_SETTLE_S = 5.0  # until workers that are not used have ended


_Engine = Callable[[StateDir, str], AbstractContextManager[Program]]


def command(
    json: JsonOption = None,
    clients: Annotated[list[int] | None, typer.Option(min=1, help="Clients; may be given several times.")] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="Length of one measurement.")] = 8.0,
    rounds: Annotated[int, typer.Option(min=1, help="Measurements of each row, by turns; medians are shown.")] = 1,
    engine: Annotated[
        list[str] | None, typer.Option(help="texthash, texthash_remote or fastapi_faiss; all by default.")
    ] = None,
    mode: Annotated[list[str] | None, typer.Option(help="Modes of the searches; semantic by default.")] = None,
    proxy: Annotated[str, typer.Option(help="haproxy or python, for a cluster that is started here.")] = "haproxy",
    replicas: Annotated[int, typer.Option(min=1, help="Processes of texthash that answer requests.")] = 1,
    release: Annotated[str, typer.Option(help="Release of TEXTHASH_HOME to serve.")] = "current",
    documents: Annotated[
        int | None, typer.Option(min=1, help="Repeat those of the release, with bits flipped, until there are so many.")
    ] = None,
    characters: Annotated[
        int | None,
        typer.Option(min=1, help="Keep so much of the texts of these documents, and no words to search for."),
    ] = None,
) -> None:
    """Load a service of the released index with text queries from a separate process."""
    with ExitStack() as until_the_end:
        home = resolve_home()
        name = read_release(home, release).name
        if documents is not None:
            place = until_the_end.enter_context(tempfile.TemporaryDirectory(prefix="texthash-serve-"))
            home = enlarge(home, read_release(home, name), documents, Path(place), characters)
            name = read_release(home).name
        settings = (f"service.ingress_replicas={replicas}",)
        engines = _engines(engine, proxy, settings)
        rows, memory = _measure(home, name, engines, mode or ["semantic"], clients or [1, 8, 32], seconds, rounds)
        empty = _memory_of_empty_serve() if set(memory) - {"fastapi_faiss"} else {}
        for row in rows if empty else ():
            row["empty_serve_mb"] = round(sum(empty.values()))
        found = read_release(home, name)
        title = f"search over HTTP, {found.documents:,} documents, {found.bits} bits, {len(found.shards)} shards"
        report(title, rows, json)
        for one, processes in memory.items():
            report(f"memory of {one} (MB), beside an empty application of Serve", beside(processes, empty))


def _engines(chosen: list[str] | None, proxy: str, settings: tuple[str, ...]) -> Mapping[str, _Engine]:
    known: Mapping[str, _Engine] = {
        "texthash": partial(serve_program, proxy=proxy, settings=(*settings, "service.placement=auto")),
        "texthash_remote": partial(serve_program, proxy=proxy, settings=(*settings, "service.placement=remote")),
        "fastapi_faiss": _faiss,
    }
    if unknown := [one for one in chosen or () if one not in known]:
        raise typer.BadParameter(f"there is no engine {unknown[0]!r}; there are {', '.join(known)}.")
    return {one: known[one] for one in chosen or known}


def _measure(
    home: StateDir,
    name: str,
    engines: Mapping[str, _Engine],
    modes: list[str],
    clients: list[int],
    seconds: float,
    rounds: int,
) -> tuple[list[dict[str, Any]], dict[str, dict[str, float]]]:
    """Measure all engines by turns, so that what else the machine does meets all of them alike.

    Returns:
        Rows of the measurements, and the memory after them by engine and process.
    """
    bodies = {mode: search_bodies(home, name, mode) for mode in modes}
    with ExitStack() as running:
        servers = {one: running.enter_context(start(home, name)) for one, start in engines.items()}
        cells = [(one, mode, count) for count in clients for one in engines for mode in _modes(one, modes)]
        taken: dict[tuple[str, str, int], list[dict[str, Any]]] = {cell: [] for cell in cells}
        for turn, (one, mode, count) in product(range(rounds), cells):
            log_line(f"{one}, {mode}: {count} clients, round {turn + 1} of {rounds}")
            taken[one, mode, count].append(_load(servers[one], count, seconds, bodies[mode]))
        memory = {one: server.memory() for one, server in servers.items()} if sys.platform == "linux" else {}
    rows = [
        {"engine": one, "mode": mode, "clients": count, **_median(figures), "start_s": servers[one].start_s}
        | {"pss_mb": round(sum(memory.get(one, {}).values())) or None}
        for (one, mode, count), figures in taken.items()
    ]
    return rows, memory


def _load(server: Program, clients: int, seconds: float, bodies: str) -> dict[str, Any]:
    """Return the figures of a load, and the milliseconds of CPU that all processes of the server took for an answer."""
    before = server.cpu_s()
    figures = search_load(server.port, clients, seconds, bodies)
    answers = figures.pop("answers")
    return {**figures, "cpu_ms": round(1e3 * (server.cpu_s() - before) / max(1, answers), 3)}


def _modes(engine: str, modes: list[str]) -> list[str]:
    return modes[:1] if engine == "fastapi_faiss" else modes


def _median(figures: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the median of each figure over the rounds, and the sum of the errors."""
    middle = {key: median(row[key] for row in figures) for key in figures[0]}
    return {**middle, "errors": sum(row["errors"] for row in figures)}


def _memory_of_empty_serve() -> dict[str, float]:
    """Return the memory of an application of Serve that does nothing, by process."""
    log_line("empty application of Serve: started for its memory")
    port = free_port()
    with started([sys.executable, "-m", "benchmarks.empty_serve", str(port)], port) as running:
        time.sleep(_SETTLE_S)
        return running.memory()


@contextmanager
def _faiss(home: StateDir, release: str) -> Iterator[Program]:
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.faiss_server", str(home.root), release, str(port)]
    # faiss sets its number of threads for the calling thread alone, and FastAPI answers in others.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryFile("w+", encoding="utf-8") as log:
        began = time.monotonic()
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=PIPELINES, env=environment)
        try:
            _wait(process, port)
            yield Program(port, psutil.Process(process.pid), round(time.monotonic() - began, 1))
        finally:
            process.terminate()
            process.wait(20)


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    end = time.monotonic() + _START_S
    while time.monotonic() < end and process.poll() is None:
        try:
            httpx.get(f"http://127.0.0.1:{port}/docs")
            return
        except httpx.TransportError:
            time.sleep(0.2)
    raise TexthashError(
        "the FastAPI and faiss server did not start.", "install the extra: pip install 'texthash[bench]'"
    )
