"""Searches per second over HTTP: the service on Ray Serve, beside one process of FastAPI with faiss."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from benchmarks.enlarged import enlarge
from benchmarks.load import search_bodies, search_load
from benchmarks.reporting import JsonOption, report
from benchmarks.serving import served
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
    engine: Annotated[list[str] | None, typer.Option(help="texthash or fastapi_faiss; both by default.")] = None,
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
        _measure(home, name, engine, mode or ["semantic"], proxy, clients or [1, 8, 32], seconds, json)


def _measure(
    home: StateDir,
    name: str,
    engine: list[str] | None,
    modes: list[str],
    proxy: str,
    clients: list[int],
    seconds: float,
    json: str | None,
) -> None:
    bodies = {mode: search_bodies(home, name, mode) for mode in modes}
    rows: list[dict[str, Any]] = []
    engines = {"texthash": _texthash, "fastapi_faiss": _faiss}
    for chosen in engine or engines:
        if chosen not in engines:
            raise typer.BadParameter(f"there is no engine {chosen!r}; there are {', '.join(engines)}.")
        with engines[chosen](home, name, proxy) as port:
            for count, mode in product(clients, modes if chosen == "texthash" else modes[:1]):
                log_line(f"{chosen}, {mode}: {count} clients")
                figures = search_load(port, count, seconds, bodies[mode])
                rows.append({"engine": chosen, "mode": mode, "clients": count, **figures})
    found = read_release(home, name)
    report(
        f"search over HTTP, {found.documents:,} documents, {found.bits} bits, {len(found.shards)} shards", rows, json
    )


def _texthash(home: StateDir, release: str, proxy: str) -> AbstractContextManager[int]:
    return served(home, release, proxy == "haproxy")


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
