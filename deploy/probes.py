"""Small questions about this machine, and how the quickstart speaks to the person who runs it."""

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
    """One line for the person: what failed, what to do, where to read more."""


def say(message: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')} +{time.monotonic() - _STARTED:.0f} s] {message}", file=sys.stderr, flush=True)


def tool(name: str) -> str:
    """A console script of this virtual environment."""
    return str(Path(sys.executable).with_name(name))


def fresh(log: Path) -> Path:
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes(b"")
    return log


def answers_port(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


def require_free(port: int, option: str) -> None:
    if answers_port(port):
        raise Failure(f"port {port} is taken by another program; choose one with {option}.")


def answers(url: str) -> bool:
    try:
        # 401: up, and asking for the token that this probe does not send.
        return httpx.get(url, timeout=5, trust_env=False).status_code in {200, 401}
    except httpx.TransportError:
        return False


def wait(ready: Callable[[], bool], alive: Callable[[], bool], what: str, log: Path, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        if not alive():
            raise Failure(f"{what} ended before it was up; see {log}, and run this again.")
        if time.monotonic() > deadline:
            raise Failure(f"{what} was not up after {seconds:.0f} s; see {log}, run --stop and then this again.")
        time.sleep(0.5)
