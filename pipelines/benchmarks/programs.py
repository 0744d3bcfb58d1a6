"""Servers that are measured as programs: their start, and CPU time and memory of all of their processes."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import psutil

from texthash.cluster import free_port
from texthash.errors import TexthashError
from texthash.paths import StateDir

PIPELINES = Path(__file__).parents[1]


class Program(NamedTuple):
    """Server that is measured: its port, its process, and the seconds until its first answer."""

    port: int
    process: psutil.Process
    start_s: float

    def cpu_s(self) -> float:
        """Return the seconds of CPU of all its processes so far."""
        return sum(_cpu(process) for process in (self.process, *self.process.children(recursive=True)))

    def memory(self) -> dict[str, float]:
        """Return the memory of its processes as :func:`memory_of`."""
        return memory_of(self.process)


@contextmanager
def serve_program(
    home: StateDir, release: str, *, proxy: str = "haproxy", settings: tuple[str, ...] = ()
) -> Iterator[Program]:
    """Serve a release by a program and on a cluster of its own, so that several services run side by side."""
    port = free_port()
    options = ["--home", str(home.root), "serve", "--release", release, f"service.port={port}", *settings]
    options += ["--python-proxy"] if proxy == "python" else []
    with started([sys.executable, "-m", "texthash", *options], port) as running:
        yield running


@contextmanager
def started(command: list[str], port: int) -> Iterator[Program]:
    """Start a program that prints a line when it is ready, and end it after the block by SIGINT."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as log:
        began = time.monotonic()
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, encoding="utf-8", cwd=PIPELINES
        )
        try:
            assert process.stdout is not None
            if not process.stdout.readline():
                log.seek(0)
                raise TexthashError(f"the service did not start: {log.read()[-500:]}", "see the message above.")
            yield Program(port, psutil.Process(process.pid), round(time.monotonic() - began, 1))
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)


def memory_of(
    program: psutil.Process, *, kind: Literal["pss", "uss"] = "pss", without: int | None = None
) -> dict[str, float]:
    """Return the memory of a program and its descendants in MB by name, those of one name together.

    Args:
        program: First process.
        kind: ``pss`` counts pages that several processes share once, in parts (Linux only); ``uss`` leaves them out, so
            that it does not depend on programs that come and go.
        without: Id of a process to leave out.
    """
    found: dict[str, float] = {}
    for process in (program, *program.children(recursive=True)):
        try:
            name, size = _name(process), getattr(process.memory_full_info(), kind) / 1e6
        except psutil.Error:  # the process has ended
            continue
        if process.pid == without:
            continue
        name = "program" if process == program else name
        found[name] = found.get(name, 0.0) + size
    return found


def beside(ours: dict[str, float], empty: dict[str, float]) -> list[dict[str, Any]]:
    """Return rows of the memory by process, largest first and the sum last, beside that of an empty application."""
    names = sorted({*ours, *empty}, key=lambda name: -max(ours.get(name, 0), empty.get(name, 0)))
    rows = [{"process": name, "pss_mb": ours.get(name), "empty_serve_mb": empty.get(name)} for name in names]
    rows.append({"process": "all", "pss_mb": sum(ours.values()), "empty_serve_mb": sum(empty.values()) or None})
    return [{key: round(value) if isinstance(value, float) else value for key, value in row.items()} for row in rows]


def _cpu(process: psutil.Process) -> float:
    try:
        own = process.cpu_times()
    except psutil.Error:  # the process has ended
        return 0.0
    return own.user + own.system


def _name(process: psutil.Process) -> str:
    """Return the name of a process in Ray, of a replica that of its deployment, or that of its program."""
    words = process.cmdline() or [process.name()]
    if replica := re.match(r"ray::ServeReplica:[\w-]+:([\w-]+)", words[0]):
        return replica[1]
    if actor := re.match(r"ray::[\w:]+", words[0]):
        return actor[0]
    return Path(next((word for word in words if word.endswith(".py")), words[0])).stem
