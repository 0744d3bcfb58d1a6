"""Nodes of deploy/nodes.sh with Ray, a bucket and an MLflow server: what tests of a cluster that shares nothing use."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import httpx
import pytest

from tests.io.store import Store, running
from texthash.cluster import free_port
from texthash.index.releases.release import open_release
from texthash.paths import StateDir

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "deploy" / "nodes.sh"
HOST = "10.77.0.1"
HEAD = "10.77.0.11"
QUERIES = ["sort the values of an array", "read a table from a file", "fit a linear model"]
_COMMON = ("--num-cpus=2", "--object-store-memory=150000000", "--disable-usage-stats")
_NOT_OF_NODES = ("TEXTHASH_STORE", "TMPDIR", "RAY_ADDRESS")


def nodes(*arguments: str, check: bool = True, timeout: float = 60, **named: Any) -> subprocess.CompletedProcess[str]:
    """Run deploy/nodes.sh."""
    done = subprocess.run(
        ["bash", str(SCRIPT), *arguments], capture_output=True, text=True, check=False, timeout=timeout, **named
    )
    assert not check or done.returncode == 0, f"{arguments}\n{done.stdout[-2000:]}\n{done.stderr[-6000:]}"
    return done


def answers_of(home: StateDir) -> list[Any]:
    """Distances and numbers of the hits of each shard of the current release."""
    opened = open_release(home)
    codes = opened.hasher.encode(QUERIES)
    return [[hits.distances, hits.numbers] for hits in (shard.search(codes, 10) for shard in opened.shards)]


class Cluster:
    """Nodes with Ray, and commands on them.

    Attributes:
        store: Store of the bucket.
        home: State directory in the bucket, in ``environment`` too.
        tracking: Address of the MLflow server.
        environment: Variables of every command.
    """

    def __init__(self, store: Store, home: str, tracking: str) -> None:
        self.store, self.home, self.tracking = store, home, tracking
        given = {name: value for name, value in os.environ.items() if name not in _NOT_OF_NODES}
        self.environment = given | {
            "PYTHONPATH": str(ROOT),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "TEXTHASH_HOME": home,
            "TEXTHASH_TRACKING": tracking,
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_worker_niceness": "0",
            "RAY_raylet_start_wait_time_s": "180",
            "OMP_NUM_THREADS": "1",
            # The loss of a node is noticed after some ten seconds; Ray's default is half a minute.
            "RAY_health_check_period_ms": "2000",
            "RAY_health_check_timeout_ms": "4000",
            "RAY_health_check_failure_threshold": "4",
            # A call to a node that is silent is given up after so long; by default after seven minutes.
            "RAY_grpc_client_keepalive_time_ms": "10000",
            "RAY_grpc_client_keepalive_timeout_ms": "10000",
        }

    def start_ray(self, count: int) -> None:
        """Start Ray: the head is node 1."""
        self.start_head()
        for node in range(2, count + 1):
            self.join(node)

    def start_head(self) -> None:
        """Start Ray on the head."""
        home = os.environ.get("NODES_DIR", "/tmp/thn") + "/home/ray"
        head = ["--head", f"--node-ip-address={HEAD}", "--port=6379"]
        self.run(1, "ray", "start", *head, f"--temp-dir={home}", *_COMMON)

    def join(self, node: int) -> None:
        """Start Ray on another node."""
        own = f"--node-ip-address=10.77.0.{10 + node}"
        self.run(node, "ray", "start", f"--address={HEAD}:6379", own, *_COMMON)

    def replace(self, node: int) -> None:
        """Start a node in the place of one that was lost."""
        nodes("add", str(node))
        self.join(node)

    @contextmanager
    def lost(self, node: int, name: str, count: int) -> Iterator[None]:
        """Kill a node, once in the block, when the ``count``-th object arrives whose key contains ``name``."""
        arrived = [0]

        def fault(request: dict[str, Any]) -> None:
            if request["REQUEST_METHOD"] == "PUT" and name in request["PATH_INFO"]:
                arrived[0] += 1
                if arrived[0] == count:
                    nodes("kill", str(node))

        self.store.fault = fault
        try:
            yield
        finally:
            self.store.fault = lambda _: None
        assert arrived[0] >= count, f"{arrived[0]} objects with {name} in their keys arrived, so no node was killed"

    def written(self, name: str) -> int:
        """Return how often objects were written whose keys end with ``name``, since the requests were cleared."""
        return sum(method == "PUT" and path.endswith(name) for method, path in self.store.requests)

    def run(self, node: int, *command: str, timeout: float = 400) -> str:
        """Run a command on a node, and return its output."""
        return nodes("run", str(node), *command, env=self.environment, timeout=timeout, cwd=ROOT).stdout

    def texthash(self, *words: str, node: int = 1, timeout: float = 400) -> str:
        """Run a command of texthash on a node, and return its output."""
        return self.run(node, sys.executable, "-m", "texthash", *words, timeout=timeout)


@contextmanager
def cluster_of(count: int, folder: Path, **variables: str) -> Iterator[Cluster]:
    """Run nodes with Ray, a bucket and an MLflow server for the block; skip the test where nodes cannot be started.

    Args:
        count: Number of nodes; the head is node 1.
        folder: Folder of the MLflow server.
        variables: Further variables of every command, of the start of Ray too.
    """
    refused = nodes("check", check=False)
    if refused.returncode:
        pytest.skip(f"nodes cannot be started here: {refused.stdout.strip()}")
    nodes("start", str(count))
    try:
        with running(HOST) as store:
            port = free_port()
            words = ("--host", HOST, "--port", str(port), "--workers", "1", "--allowed-hosts", "*")
            kept = ("--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder))
            tracking = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", *words, *kept],
                stdout=(folder / "mlflow.log").open("w"),
                stderr=subprocess.STDOUT,
                env={**os.environ, "HOME": str(folder)},
                start_new_session=True,
            )
            try:
                cluster = Cluster(store, f"{store.bucket()}/home", f"http://{HOST}:{port}")
                cluster.environment |= variables
                cluster.start_ray(count)
                _wait_for(f"{cluster.tracking}/health")
                yield cluster
            finally:
                os.killpg(tracking.pid, 9)
                tracking.wait()
    finally:
        nodes("stop")


class Asking:
    """Functions that are called again and again, each in a thread of its own, while a block runs.

    Args:
        ask: Called with the number of its thread.
        threads: Numbers of the threads.
        pause: Seconds between two calls, by what the first returned.
    """

    def __init__(self, ask: Callable[[int], Any], threads: Iterable[int], pause: Callable[[Any], float]) -> None:
        self._ask, self._pause, self._ended = ask, pause, threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in threads]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number: int) -> None:
        while not self._ended.is_set():
            time.sleep(self._pause(self._ask(number)))


def until(holds: Any, seconds: float, what: str) -> None:
    """Wait until a function returns something true, and fail with ``what`` if it does not in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


def _wait_for(url: str) -> None:
    def answers() -> bool:
        try:
            return httpx.get(url, timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    until(answers, 120, f"{url} does not answer")
