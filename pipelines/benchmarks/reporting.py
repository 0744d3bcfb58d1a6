"""Output of a benchmark: machine, commit and rows, as a table on stderr and optionally as JSON."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer
from rich.console import Console
from rich.table import Table

JsonOption = Annotated[str | None, typer.Option("--json", help="Also write JSON to this file; - for stdout.")]

_PACKAGES = ("numpy", "numba", "torch", "ray")


def milliseconds(call: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the duration of one call by a clock of seconds."""
    start = clock()
    call()
    return 1e3 * (clock() - start)


def alternate(
    calls: Mapping[str, Callable[[], Any]], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Return the median milliseconds of each call over rounds in which each is called once.

    Calls alternate, so that a machine that is shared or slows down affects all of them alike. There is a warm-up round.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 1):
        for name, call in calls.items():
            taken = milliseconds(call, clock)
            if turn:
                times[name].append(taken)
    return {name: statistics.median(taken) for name, taken in times.items()}


def report(
    title: str,
    rows: list[dict[str, Any]],
    destination: str | None = None,
    further: dict[str, list[dict[str, Any]]] | None = None,
) -> None:
    """Print ``rows`` as a table on stderr, and optionally write ``{"machine", "commit", "rows"}`` to a file.

    The destination ``-`` is stdout. Rows with other columns, ``further``, become tables by title, and further members
    of the JSON.
    """
    tables = {title: rows, **(further or {})}
    for name, content in tables.items():
        if content:
            _print(name, content)
    if destination is None:
        return
    every = [row for content in tables.values() for row in content]
    text = json.dumps({"machine": _machine(), "commit": _commit(), "rows": every}, indent=2) + "\n"
    if destination == "-":
        sys.stdout.write(text)
        return
    path = Path(destination)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".tmp")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)


def _print(title: str, rows: list[dict[str, Any]]) -> None:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    table = Table(*columns, title=title)
    for row in rows:
        table.add_row(*(_shown(row.get(name)) for name in columns))
    Console(stderr=True, width=None if sys.stderr.isatty() else 180).print(table)


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:,.3f}" if isinstance(value, float) else f"{value:,}" if type(value) is int else str(value)


def _machine() -> dict[str, Any]:
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: version(name) for name in _PACKAGES},
    }


def _cpu() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _commit() -> str | None:
    """Return the commit of the program, followed by ``+`` if files differ from it; None outside a checkout."""
    here = Path(__file__).resolve().parent
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=False, encoding="utf-8"
    )
    if commit.returncode:
        return None
    changed = subprocess.run(
        ["git", "status", "--porcelain", "--untracked-files=no"],
        cwd=here,
        capture_output=True,
        text=True,
        check=False,
        encoding="utf-8",
    )
    return commit.stdout.strip() + ("+" if changed.stdout.strip() else "")
