"""Effect of an ingress that dies (``kill -9``) under a continuous load of searches, while another one lives."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from typing import Annotated, Any

import httpx
import typer

from benchmarks.faults import processes_of
from benchmarks.load import search_bodies, search_load, searched_during
from benchmarks.reporting import JsonOption, report
from benchmarks.serving import served
from texthash.errors import TexthashError
from texthash.index.releases.release import read_release
from texthash.paths import resolve_home
from texthash.progress import log_line

_PATIENCE_S = 120.0


def command(
    json: JsonOption = None,
    clients: Annotated[int, typer.Option(min=1, help="Clients that search.")] = 32,
    seconds: Annotated[float, typer.Option(min=0.1, help="Length of the measurement without a kill.")] = 5.0,
    kills: Annotated[int, typer.Option(min=1, help="Number of kills, one after the other.")] = 3,
    placement: Annotated[
        list[str] | None, typer.Option(help="Placement of encoder and shards: local, remote; both by default.")
    ] = None,
) -> None:
    """Kill one of two ingresses of the current release under a load of searches from a separate process.

    `failed` are the searches that got no answer, `failed_later` those of them that began after the kill; `pause_ms` is
    the longest time in which nobody got an answer, `unlike` the number of answers that differ from an earlier one to
    the same search, and `event_s` the time until there are two ingresses again.
    """
    home = resolve_home()
    found = read_release(home)
    bodies = search_bodies(home, found.name)
    rows: list[dict[str, Any]] = []
    for one in placement or ["local", "remote"]:
        with served(home, placement=one, ingress_replicas=2) as port:
            rows.append({"placement": one, "event": "none", **_row(search_load(port, clients, seconds, bodies))})
            rows += [{"placement": one, "event": "kill", **_killed(port, clients, bodies)} for _ in range(kills)]
    report(f"one of two ingresses killed, {found.documents:,} documents, {clients} clients", rows, json)


def _killed(port: int, clients: int, bodies: str) -> dict[str, Any]:
    when = 0.0

    def kill() -> None:
        nonlocal when
        both = set(processes_of("ingress"))
        if len(both) != 2:
            raise TexthashError(f"there are {len(both)} ingresses, not 2.", "see the Serve logs of the Ray cluster.")
        victim = min(both)
        log_line(f"{clients} clients search: an ingress is killed")
        when = time.time()
        os.kill(victim, signal.SIGKILL)
        _wait_for_two(victim, port)

    figures, failures = searched_during(port, clients, bodies, kill)
    kinds = Counter(failure.answer for failure in failures)
    return {
        **_row(figures),
        "failed_with": "; ".join(f"{count} x {kind}" for kind, count in kinds.items()) or "none",
        "failed_later": sum(failure.began > when for failure in failures),
        "last_failure_s": round(max((failure.ended - when for failure in failures), default=0.0), 2),
    }


def _row(figures: dict[str, Any]) -> dict[str, Any]:
    kept = ("event_s", "requests_per_s", "p50_ms", "p99_ms", "slowest_ms", "pause_ms", "answers", "unlike")
    return {name: figures[name] for name in kept if name in figures} | {"failed": figures["errors"]}


def _wait_for_two(victim: int, port: int) -> None:
    """Wait until an ingress has taken the place of one that was killed, and the service is ready."""
    end = time.monotonic() + _PATIENCE_S
    while time.monotonic() < end:
        there = set(processes_of("ingress")) - {victim}
        if len(there) == 2 and httpx.get(f"http://127.0.0.1:{port}/health/ready", timeout=30).status_code == 200:
            return
        time.sleep(0.2)
    raise TexthashError(
        f"there are no two ingresses {_PATIENCE_S:g} s after a kill.", "see the Serve logs of the Ray cluster."
    )
