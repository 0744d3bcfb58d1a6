"""Searches per second of a service whose shards are on nodes of their own, which deploy/nodes.sh starts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer

from benchmarks.load import search_bodies, search_load
from benchmarks.programs import PIPELINES
from benchmarks.reporting import JsonOption, report
from texthash.errors import TexthashError
from texthash.index.releases.release import read_release
from texthash.paths import StateDir, resolve_home
from texthash.progress import log_line
from texthash.service.haproxy import FAST

_SCRIPT = PIPELINES.parent / "deploy" / "nodes.sh"
_HEAD = "10.77.0.11"
_PORT = 8000
_RAY = ("--num-cpus=2", "--object-store-memory=150000000", "--disable-usage-stats")
_SERVE = """
import sys
from texthash.cluster import cluster
from texthash.config import load_config
from texthash.paths import resolve_home
from texthash.service.run import serve_release
home, release, *settings = sys.argv[1:]
with cluster("auto"):
    serve_release(resolve_home(home), load_config(None, settings).service, release=release)
"""
_SHARD = "ServeReplica:texthash:shard-"


def command(
    json: JsonOption = None,
    clients: Annotated[list[int] | None, typer.Option(min=1, help="Clients; may be given several times.")] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="Length of one measurement.")] = 8.0,
    nodes: Annotated[int, typer.Option(min=1, help="Nodes; the head is one of them.")] = 2,
) -> None:
    """Load the current release, with at most one shard a node, from a process outside of the nodes. Needs root.

    `places` is the number of nodes that hold a shard. The nodes share the processors of this machine.
    """
    home = resolve_home()
    found = read_release(home)
    bodies = search_bodies(home, found.name)
    rows: list[dict[str, Any]] = []
    with _served(home, found.name, nodes):
        places = len({os.readlink(f"/proc/{process.pid}/ns/net") for process in _shards()})
        for count in clients or [1, 32]:
            log_line(f"{count} clients")
            figures = search_load(_PORT, count, seconds, bodies, host=_HEAD)
            kept = ("requests_per_s", "p50_ms", "p99_ms", "errors", "unlike")
            rows.append({"nodes": nodes, "places": places, "clients": count, **{name: figures[name] for name in kept}})
    report(f"remote shards, {found.documents:,} documents, {found.bits} bits, {len(found.shards)} shards", rows, json)


@contextmanager
def _served(home: StateDir, release: str, nodes: int) -> Iterator[None]:
    """Serve a release on nodes of this machine, and end them after the block."""
    folder = Path(os.environ.get("NODES_DIR", "/tmp/thn")) / "home" / "ray"
    _script("start", str(nodes))
    try:
        head = (f"--node-ip-address={_HEAD}", "--port=6379", f"--temp-dir={folder}")
        _script("run", "1", "ray", "start", "--head", *head, *_RAY)
        for node in range(2, nodes + 1):
            own = f"--node-ip-address=10.77.0.{10 + node}"
            _script("run", str(node), "ray", "start", f"--address={_HEAD}:6379", own, *_RAY)
        settings = ("service.host=0.0.0.0", f"service.port={_PORT}", "service.placement=remote")
        log_line(f"service: {nodes} nodes")
        _script(
            "run", "1", sys.executable, "-c", _SERVE, home.name, release, *settings, "service.max_replicas_per_node=1"
        )
        yield
    finally:
        _script("stop")


def _script(*words: str) -> None:
    """Run deploy/nodes.sh.

    Raises:
        TexthashError: It fails; for instance this machine permits no nodes.
    """
    given = {name: value for name, value in os.environ.items() if name not in ("RAY_ADDRESS", "TMPDIR")}
    environment = {**given, **FAST, "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
    environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment.setdefault("PYTHONPATH", str(PIPELINES.parent))
    done = subprocess.run(
        ["bash", str(_SCRIPT), *words], capture_output=True, text=True, check=False, env=environment, encoding="utf-8"
    )
    if done.returncode:
        raise TexthashError(f"deploy/nodes.sh {words[0]} failed: {done.stderr[-500:]}", "see the message above.")


def _shards() -> Iterator[psutil.Process]:
    for process in psutil.process_iter(["cmdline"]):
        if any(_SHARD in word for word in process.info["cmdline"] or ()):
            yield process
