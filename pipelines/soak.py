"""Soak test: searches and writes for minutes, from another process, against a service of the current release.

    python pipelines/soak.py --minutes 30 --plot soak.png
    python pipelines/soak.py --minutes 30 --fill-disk       # with TEXTHASH_HOME on a small disk, filled and emptied

Samples the memory of every process of the service and the files of the index each second. At the end it checks every
acknowledged document, deletes them all, and prints the measurements. Exit status 1 if a request failed, or a document
differs from what was acknowledged.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from benchmarks.ballast import Ballast, ballast
from benchmarks.programs import memory_of
from common import parser, run

from texthash.config import Config
from texthash.errors import TexthashError
from texthash.index.releases.release import read_release, releases_path
from texthash.paths import StateDir
from texthash.progress import step
from texthash.service.haproxy import haproxy_environment
from texthash.service.local_cluster import service_cluster

_QUERIES = 500
_WORDS = 8
_MIB = 2**20


def main(arguments: argparse.Namespace, config: Config, home: StateDir) -> dict[str, Any]:
    release = read_release(home)
    shard = release.open_shard(home, 0)
    numbers = shard.numbers[:: max(1, len(shard) // _QUERIES)][:_QUERIES]
    queries = [" ".join(found["text"].split()[:_WORDS]) for found in shard.documents(numbers, ["text"])]
    with haproxy_environment(), service_cluster():
        from texthash.service.run import serve_release  # Serve reads its settings on import

        url = serve_release(home, config.service)
        with step(f"{arguments.minutes:g} minutes of searches and writes"):
            options = [url, str(60 * arguments.minutes), str(arguments.readers), str(arguments.writers)]
            options.append(str(arguments.pause))
            kept = config.service.limits.min_free_bytes
            filling = ballast(home.root, 60 * arguments.minutes, kept) if arguments.fill_disk else nullcontext()
            with filling as weight:
                outcome, samples = _load(options, queries, (home.path(release.index_uri), releases_path(home)), weight)
    figures = figures_of(outcome, samples)
    if arguments.plot:
        _plot(outcome, samples, arguments.plot)
    if outcome["failures"] or outcome["wrong"]:
        raise TexthashError(
            f"{len(outcome['failures'])} requests failed (first: {outcome['failures'][:1]}), "
            f"{len(outcome['wrong'])} of {outcome['documents']} documents are not as acknowledged "
            f"(first: {outcome['wrong'][:1]}): {figures}",
            "see the Serve logs of the Ray cluster.",
        )
    return figures


def _load(
    options: list[str], queries: list[str], places: Sequence[Path], weight: Ballast | None
) -> tuple[dict[str, Any], list[dict]]:
    """Run the load in another process, sample meanwhile, and fill and empty the disk if there is a ballast."""
    command = [sys.executable, "-m", "benchmarks.mixed", *options]
    start, seconds = time.monotonic(), float(options[1])
    samples: list[dict[str, Any]] = []
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent,
        encoding="utf-8",
    ) as process:
        assert process.stdin is not None
        process.stdin.write("\n".join(queries))
        process.stdin.close()
        process.stdin = None
        while process.poll() is None and time.monotonic() - start < seconds:
            if weight is not None:
                weight.at(time.monotonic() - start)
            samples.append({"seconds": time.monotonic() - start, **_memory(process.pid), **_files(places)})
            time.sleep(1.0 if weight is None else min(1.0, seconds / 50))
        if weight is not None:
            weight.empty()
        printed, _ = process.communicate()
    if process.returncode:
        raise TexthashError("the load ended in an error.", "see the message above.")
    outcome: dict[str, Any] = json.loads(printed)
    return outcome, samples


def _memory(load: int) -> dict[str, float]:
    """Return the private memory of each process of the service in MB, without that of the load, and their sum."""
    found = memory_of(psutil.Process(), kind="uss", without=load)
    return {**found, "memory": sum(found.values())}


def _files(places: Sequence[Path]) -> dict[str, float]:
    sizes = []
    for root in places:
        for path in root.rglob("*"):
            try:
                if path.is_file():
                    sizes.append(path.stat().st_size)
            except FileNotFoundError:  # the file was deleted meanwhile
                continue
    return {"files": len(sizes), "files_mib": sum(sizes) / _MIB}


def figures_of(outcome: dict[str, Any], samples: list[dict[str, Any]]) -> dict[str, Any]:
    """Return latencies of the first and the last third, and resource use in the middle and at the end."""
    figures: dict[str, Any] = {"documents_checked": outcome["documents"], "wrong": len(outcome["wrong"])}
    figures["failures"] = len(outcome["failures"])
    figures["refused"] = len(outcome["refused"])
    end = samples[-1]["seconds"]
    for name in ("searches", "writes"):
        when, taken = _times(outcome, name)
        figures[f"{name}_per_s"] = round(len(taken) / end, 1)
        for part, chosen in (("first_third", when < end / 3), ("last_third", when > 2 * end / 3)):
            figures[f"{name}_{part}"] = _latency(1e3 * taken[chosen])
    third = len(samples) // 3 or 1
    for name in sorted(set(samples[-1]) - {"seconds"}):
        middle, last = (
            [s[name] for s in part if name in s] for part in (samples[third : 2 * third + 1], samples[-third:])
        )
        figures[name] = {"middle": round(float(np.median(middle)), 1), "end": round(float(np.median(last)), 1)}
    figures["memory"]["mb_per_hour"] = _slope(samples[third:], "memory")
    return figures


def _times(outcome: dict[str, Any], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return when requests of a kind began and how long they took, in seconds; empty if there were none."""
    began, taken = np.array(outcome[name], dtype=float).reshape(-1, 2).T
    return began, taken


def _latency(milliseconds: np.ndarray) -> dict[str, float] | None:
    """Return the median and the 99th percentile; None if no request fell into this part of a short or slow run."""
    if len(milliseconds) == 0:
        return None
    p50, p99 = np.percentile(milliseconds, [50, 99])
    return {"p50_ms": round(float(p50), 1), "p99_ms": round(float(p99), 1)}


def _slope(samples: list[dict[str, Any]], name: str) -> float:
    """Return the growth of a figure in an hour, by least squares."""
    hours = np.array([sample["seconds"] for sample in samples]) / 3600
    return round(float(np.polyfit(hours, [sample[name] for sample in samples], 1)[0]), 1) if len(hours) > 1 else 0.0


def _plot(outcome: dict[str, Any], samples: list[dict[str, Any]], path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 8), layout="constrained")
    FigureCanvasAgg(figure)
    above, middle, below = figure.subplots(3, 1, sharex=True)
    seconds = [sample["seconds"] for sample in samples]
    styles = ("-", "--", "-.", ":")
    replicas = sorted(set(samples[-1]) - {"seconds", "files", "files_mib", "memory"})
    for place, name in enumerate(replicas):
        above.plot(seconds, [s.get(name, np.nan) for s in samples], styles[place % len(styles)], label=name)
    above.set_ylabel("memory of a process (MB)")
    middle.plot(seconds, [s["files"] for s in samples], "-", color="black", label="files")
    middle.set_ylabel("files of index and releases")
    space = middle.twinx()
    space.plot(seconds, [s["files_mib"] for s in samples], "--", color="grey", label="MiB")
    space.set_ylabel("MiB (dashed)")
    for name, marker in (("searches", "."), ("writes", "x")):
        when, taken = _times(outcome, name)
        below.plot(when, 1e3 * taken, marker, markersize=2, linestyle="none", label=name)
    below.set_yscale("log")
    below.set_ylabel("milliseconds")
    below.set_xlabel("seconds")
    for axis in (above, below):
        axis.set_ylim(bottom=0 if axis is above else None)
        axis.legend(fontsize=8)
    unfinished = path.with_name(f".{path.stem}.partial.png")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(unfinished, dpi=150)
    unfinished.replace(path)


if __name__ == "__main__":
    options = parser(__doc__)
    options.add_argument("--minutes", type=float, default=10.0)
    options.add_argument("--readers", type=int, default=4, help="number of clients that search")
    options.add_argument("--writers", type=int, default=2, help="number of clients that write")
    options.add_argument("--pause", type=float, default=0.0, help="seconds that a client waits between two requests")
    options.add_argument("--fill-disk", action="store_true", help="fill the disk of the state directory, and empty it")
    options.add_argument("--plot", type=Path, help="PNG of memory, files and latencies over time")
    sys.exit(run(options, main))
