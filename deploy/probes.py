"""Probes of ports and URLs of this machine, and the messages of the quickstart."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx

HOST = "127.0.0.1"
_STARTED = time.monotonic()


class Failure(Exception):
    """Error of the quickstart: what failed, what to do, and the log to read."""


def say(message: str) -> None:
    """Print a message with the time on stderr."""
    print(f"[{time.strftime('%H:%M:%S')} +{time.monotonic() - _STARTED:.0f} s] {message}", file=sys.stderr, flush=True)


def tool(name: str) -> str:
    """Return the path of a console script of this virtual environment."""
    return str(Path(sys.executable).with_name(name))


def fresh(log: Path) -> Path:
    """Create or empty a log file, and return its path."""
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes(b"")
    return log


def answers_port(port: int) -> bool:
    """Return whether a process listens on a port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


def require_free(port: int, option: str) -> None:
    """Raise Failure if a port is taken; ``option`` is the option that changes it."""
    if answers_port(port):
        raise Failure(f"port {port} is taken by another program; choose one with {option}.")


def answers(url: str) -> bool:
    """Return whether a URL answers with status 200, or with 401, which asks for a token that this probe lacks."""
    try:
        return httpx.get(url, timeout=5, trust_env=False).status_code in {200, 401}
    except httpx.TransportError:
        return False


def wait(ready: Callable[[], bool], alive: Callable[[], bool], what: str, log: Path, seconds: float) -> None:
    """Wait until a started process is ready.

    Args:
        ready: Returns whether it is ready.
        alive: Returns whether it still runs.
        what: Name of the process, for the error.
        log: Path of its log, for the error.
        seconds: Maximum time to wait.

    Raises:
        Failure: It ended, or was not ready in time.
    """
    deadline = time.monotonic() + seconds
    while not ready():
        if not alive():
            raise Failure(f"{what} ended before it was ready; see {log}, and run this again.")
        if time.monotonic() > deadline:
            raise Failure(f"{what} was not ready after {seconds:.0f} s; see {log}, run --stop and then this again.")
        time.sleep(0.5)
