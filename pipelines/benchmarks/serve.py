"""Searches per second over HTTP: the service on Ray Serve, beside one process of FastAPI with faiss."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import httpx
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
        rows = _measure(home, name, engine, mode or ["semantic"], proxy, clients or [1, 8, 32], seconds, rounds)
        found = read_release(home, name)
        title = f"search over HTTP, {found.documents:,} documents, {found.bits} bits, {len(found.shards)} shards"
        report(title, rows, json)


def _measure(
    home: StateDir,
    name: str,
    engine: list[str] | None,
    modes: list[str],
    proxy: str,
    clients: list[int],
    seconds: float,
    rounds: int,
) -> list[dict[str, Any]]:
    """Measure all engines by turns, so that what else the machine does meets all of them alike."""
    bodies = {mode: search_bodies(home, name, mode) for mode in modes}
    engines: dict[str, Callable[[StateDir, str, str], AbstractContextManager[int]]] = {
        "texthash": partial(_texthash, placement="auto"),
        "texthash_remote": partial(_texthash, placement="remote"),
        "fastapi_faiss": _faiss,
    }
    chosen = engine or list(engines)
    if unknown := [one for one in chosen if one not in engines]:
        raise typer.BadParameter(f"there is no engine {unknown[0]!r}; there are {', '.join(engines)}.")
    with ExitStack() as running:
        ports = {one: running.enter_context(engines[one](home, name, proxy)) for one in chosen}
        cells = [(one, mode, count) for count in clients for one in chosen for mode in _modes(one, modes)]
        taken: dict[tuple[str, str, int], list[dict[str, Any]]] = {cell: [] for cell in cells}
        for turn, (one, mode, count) in product(range(rounds), cells):
            log_line(f"{one}, {mode}: {count} clients, round {turn + 1} of {rounds}")
            taken[one, mode, count].append(search_load(ports[one], count, seconds, bodies[mode]))
    return [
        {"engine": one, "mode": mode, "clients": count, **_median(figures)}
        for (one, mode, count), figures in taken.items()
    ]


def _modes(engine: str, modes: list[str]) -> list[str]:
    return modes[:1] if engine == "fastapi_faiss" else modes


def _median(figures: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the median of each figure over the rounds, and the sum of the errors."""
    middle = {key: median(row[key] for row in figures) for key in figures[0]}
    return {**middle, "errors": sum(row["errors"] for row in figures)}


@contextmanager
def _texthash(home: StateDir, release: str, proxy: str, placement: str) -> Iterator[int]:
    """Serve a release by a program and on a cluster of its own, so that several placements run side by side."""
    port = free_port()
    command = [sys.executable, "-m", "texthash", "--home", str(home.root), "serve", "--release", release]
    command += [f"service.port={port}", f"service.placement={placement}"]
    command += ["--python-proxy"] if proxy == "python" else []
    with tempfile.TemporaryFile("w+", encoding="utf-8") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, encoding="utf-8")
        try:
            assert process.stdout is not None
            if not process.stdout.readline():  # the URL, once the service is ready
                log.seek(0)
                raise TexthashError(f"the service did not start: {log.read()[-500:]}", "see the message above.")
            yield port
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)


@contextmanager
def _faiss(home: StateDir, release: str, proxy: str) -> Iterator[int]:
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.faiss_server", str(home.root), release, str(port)]
    # faiss sets its number of threads for the calling thread alone, and FastAPI answers in others.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryFile("w+", encoding="utf-8") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=Path(__file__).parents[1], env=environment)
        try:
            _wait(process, port)
            yield port
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
