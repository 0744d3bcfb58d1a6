"""Searches per second over HTTP: the service on Ray Serve, beside one process of FastAPI with faiss."""

from __future__ import annotations

import os
import re
import signal
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
from typing import Annotated, Any, NamedTuple

import httpx
import psutil
import typer

from benchmarks.enlarged import enlarge
from benchmarks.load import search_bodies, search_load
from benchmarks.reporting import JsonOption, report
from texthash.errors import TexthashError
from texthash.index.releases.release import read_release
from texthash.paths import StateDir, resolve_home
from texthash.progress import log_line
from texthash.service.ports import free_port

_START_S = 120.0


class _Running(NamedTuple):
    """Server that is measured: its port, its process, and the seconds until its first answer."""

    port: int
    process: psutil.Process
    start_s: float

    def cpu_s(self) -> float:
        """Return the seconds of CPU of all its processes so far."""
        times = [process.cpu_times() for process in self._processes()]
        return sum(own.user + own.system for own in times)

    def memory(self) -> list[dict[str, Any]]:
        """Return the memory of each process in MB; pages that several share count once, in parts (PSS)."""
        rows = [{"process": _name(one), "pss_mb": round(one.memory_full_info().pss / 1e6)} for one in self._processes()]
        return sorted(rows, key=lambda row: -row["pss_mb"])

    def _processes(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]


_Engine = Callable[[StateDir, str], AbstractContextManager[_Running]]


def _name(process: psutil.Process) -> str:
    """Return what a process is: its name in Ray, or its program or module."""
    words = process.cmdline() or [process.name()]
    title = re.match(r"ray::[\w:]+", words[0])
    programs = [word for word in words if word.endswith(".py") or word in ("texthash", "benchmarks.faiss_server")]
    return title[0] if title else Path(programs[0] if programs else words[0]).stem


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
) -> None:
    """Load a service of the released index with text queries from a separate process."""
    with ExitStack() as until_the_end:
        home = resolve_home()
        name = read_release(home, release).name
        if documents is not None:
            place = until_the_end.enter_context(tempfile.TemporaryDirectory(prefix="texthash-serve-"))
            home = enlarge(home, read_release(home, name), documents, Path(place))
            name = read_release(home).name
        settings = (f"service.ingress_replicas={replicas}",)
        engines = _engines(engine, proxy, settings)
        rows, memory = _measure(home, name, engines, mode or ["semantic"], clients or [1, 8, 32], seconds, rounds)
        found = read_release(home, name)
        title = f"search over HTTP, {found.documents:,} documents, {found.bits} bits, {len(found.shards)} shards"
        report(title, rows, json)
        for one, processes in memory.items():
            report(f"memory of {one}", processes)


def _engines(chosen: list[str] | None, proxy: str, settings: tuple[str, ...]) -> Mapping[str, _Engine]:
    known: Mapping[str, _Engine] = {
        "texthash": partial(_texthash, proxy=proxy, settings=(*settings, "service.placement=auto")),
        "texthash_remote": partial(_texthash, proxy=proxy, settings=(*settings, "service.placement=remote")),
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
) -> tuple[list[dict[str, Any]], dict[str, list[dict[str, Any]]]]:
    """Measure all engines by turns, so that what else the machine does meets all of them alike.

    Returns:
        Rows of the measurements, and those of the memory after them by engine.
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
        | {"pss_mb": sum(row["pss_mb"] for row in memory.get(one, ())) or None}
        for (one, mode, count), figures in taken.items()
    ]
    return rows, memory


def _load(server: _Running, clients: int, seconds: float, bodies: str) -> dict[str, Any]:
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


@contextmanager
def _texthash(home: StateDir, release: str, *, proxy: str, settings: tuple[str, ...]) -> Iterator[_Running]:
    """Serve a release by a program and on a cluster of its own, so that several placements run side by side."""
    port = free_port()
    command = [sys.executable, "-m", "texthash", "--home", str(home.root), "serve", "--release", release]
    command += [f"service.port={port}", *settings]
    command += ["--python-proxy"] if proxy == "python" else []
    with tempfile.TemporaryFile("w+", encoding="utf-8") as log:
        began = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, encoding="utf-8")
        try:
            assert process.stdout is not None
            if not process.stdout.readline():  # the URL, once the service is ready
                log.seek(0)
                raise TexthashError(f"the service did not start: {log.read()[-500:]}", "see the message above.")
            yield _Running(port, psutil.Process(process.pid), round(time.monotonic() - began, 1))
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)


@contextmanager
def _faiss(home: StateDir, release: str) -> Iterator[_Running]:
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.faiss_server", str(home.root), release, str(port)]
    # faiss sets its number of threads for the calling thread alone, and FastAPI answers in others.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryFile("w+", encoding="utf-8") as log:
        began = time.monotonic()
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=Path(__file__).parents[1], env=environment)
        try:
            _wait(process, port)
            yield _Running(port, psutil.Process(process.pid), round(time.monotonic() - began, 1))
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
