"""The Ray cluster that a program runs on: the one it is told of, or a local one of its own."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from texthash.errors import TexthashError
from texthash.private import scratch, use_token
from texthash.processes import adopt_orphans, alive, command_of, descendants, end, has_open, name_of
from texthash.progress import log_line, warn

_OBJECT_STORE_BYTES = 500_000_000
_ADDRESS = "RAY_ADDRESS"
# Ray would take an address of the network for a cluster of one machine too, and listen there. It only leaves it at
# 127.0.0.1 where clusters of several machines are ruled out, as on macOS; this is the setting for that.
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
_VITAL = ("raylet", "gcs_server")
_LOOK_EVERY_S = 1.0
# How long a program may take to end after its cluster has died. It is ended then, wherever it waits.
_LEAVE_S = 15.0
_TOKEN = " If it runs and asks for a token, set RAY_AUTH_MODE=token, and have its token in ~/.ray/auth_token."


class ClusterLostError(TexthashError):
    """The local cluster of this program has died."""


@contextmanager
def cluster(address: str | None = None) -> Iterator[bool]:
    """Be connected to Ray; disconnect, and end a cluster that was started here, at the end.

    What Ray and its workers print meanwhile goes to stderr, so that stdout stays the program's.

    Args:
        address: Of a running cluster, or ``"auto"``; None: RAY_ADDRESS (which a submitted job finds set), else a new
            local cluster on 127.0.0.1 with this machine's cores.

    Yields:
        Whether the cluster ends with this program.

    Raises:
        TexthashError: there is no cluster at the address, or none can be started here.
        ClusterLostError: the local cluster died meanwhile. What it had started is ended; a program that does not leave
            the block within some seconds is ended too, with status 1.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Lines of different workers that look alike are progress of different things.
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    os.environ.setdefault("RAY_TRAIN_ENABLE_PRINT_PATCH", "0")  # else workers print each line twice
    if address:
        _check_listens(address)  # a wrong address is wrong whatever this process is connected to
    wanted = address or os.environ.get(_ADDRESS)
    if not wanted and "ray" not in sys.modules:  # Ray reads these when it is imported
        os.environ.update({**use_token(), **LOOPBACK})
    import ray

    if ray.is_initialized():
        yield False
        return
    with redirect_stdout(sys.stderr):
        if not wanted:
            with _local():
                yield True
            return
        _check_listens(wanted)
        try:
            ray.init(address=wanted, **_quiet())
        except Exception as error:
            raise _no_cluster(wanted, error, _TOKEN) from error
        try:
            yield False
        finally:
            ray.shutdown()


def _check_listens(address: str) -> None:
    """Raise :class:`TexthashError` at once where nothing listens; Ray would try for minutes."""
    parsed = urlsplit(address if "://" in address else f"//{address}")
    if parsed.hostname and parsed.port:
        try:
            socket.create_connection((parsed.hostname, parsed.port), timeout=10).close()
        except OSError as error:
            raise _no_cluster(address, error) from error


def _no_cluster(address: str, error: Exception, further: str = "") -> TexthashError:
    return TexthashError(
        f"there is no Ray cluster at {address}: {_first_line(error)}",
        f"start one (ray start --head), or unset {_ADDRESS} to use a local one.{further}",
    )


@contextmanager
def _local() -> Iterator[None]:
    """A cluster of this program's own, of which nothing is left at the end, however it ends."""
    import ray

    adopt_orphans()
    earlier = descendants()
    session = _start_local(earlier)
    watch = _Watch(earlier)
    try:
        yield
    finally:
        watch.stop()
        if watch.lost:
            end(descendants() - earlier)
            watch.ended()
            raise ClusterLostError(
                f"the local Ray cluster has died: {watch.lost}.",
                f"run the command again; {session}/logs says more, and so does the system's log where memory ran out.",
            )
        ray.shutdown()
        end(process for process in descendants() - earlier if _is_ours(process, session))


def _start_local(earlier: set[psutil.Process]) -> str:
    """Start the cluster; returns the directory of its session."""
    import ray

    use_token()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    temporary = scratch()
    _end_leftovers(temporary)
    try:
        started: Any = ray.init(
            address="local",
            num_cpus=max(2, cores),
            object_store_memory=_OBJECT_STORE_BYTES,
            include_dashboard=False,
            **_quiet(),
            _node_ip_address="127.0.0.1",
            _temp_dir=str(temporary),
        )
    except Exception as error:
        end(descendants() - earlier)
        raise TexthashError(
            f"no local Ray cluster could be started: {_first_line(error)}",
            f"run it again when the machine is less busy; see that memory, open files (ulimit -n) and {temporary} have "
            f"room. {temporary}/session_latest/logs says more.",
        ) from error
    log_line(f"ray: started a local cluster of {max(2, cores)} CPUs")
    return str(started.address_info["session_dir"])


def _end_leftovers(temporary: Path) -> None:
    """End what is left of clusters whose programs were killed: Ray's agents look for theirs for a minute or more.

    Args:
        temporary: Directory of sessions, which are named after the process that started them.
    """
    sessions = [path for path in temporary.glob("session_*_*") if not path.is_symlink()]
    dead = tuple(f"{path}/" for path in sessions if not psutil.pid_exists(int(path.name.rpartition("_")[2])))
    left = [
        process
        for process in psutil.process_iter()
        if "".join(command_of(process)[:1]).startswith("ray::") and has_open(process, dead)
    ]
    if left:
        log_line(f"ray: ending {len(left)} processes of a cluster whose program was killed")
        end(left)


class _Watch:
    """Ends the wait of a program whose local cluster has died: nothing of Ray would.

    Args:
        earlier: Processes from before the cluster, which are none of its own.
    """

    def __init__(self, earlier: set[psutil.Process]) -> None:
        self.lost = ""
        self._earlier = earlier
        self._stopped, self._ended = threading.Event(), threading.Event()
        self._vital = {process: name for process in descendants() - earlier if (name := name_of(process)) in _VITAL}
        threading.Thread(target=self._run, name="texthash-cluster-watch", daemon=True).start()

    def stop(self) -> None:
        """Call when the block has ended: a cluster that is shut down from now on has not died."""
        self._stopped.set()

    def ended(self) -> None:
        """Call when nothing of the cluster is left."""
        self._ended.set()

    def _run(self) -> None:
        while not self._stopped.wait(_LOOK_EVERY_S):
            dead = [
                f"its {name} (process {process.pid}) has ended"
                for process, name in self._vital.items()
                if not alive(process)
            ]
            if dead and not self._stopped.is_set():
                self.lost = " and ".join(dead)
                warn(f"ray: the local cluster has died: {self.lost}; ending")
                _interrupt_main_thread()
                self._insist()
                return

    def _insist(self) -> None:
        """End the program where it does not leave the block by itself."""
        if self._ended.wait(_LEAVE_S):
            return
        end(descendants() - self._earlier)
        warn("the local Ray cluster has died, and this program could not end in order; run it again")
        os._exit(1)


def _interrupt_main_thread() -> None:
    """Raise in the main thread, by a real signal, which also ends a call of the system in which it waits."""
    number = signal.SIGINT if callable(signal.getsignal(signal.SIGINT)) else signal.SIGTERM
    signal.pthread_kill(threading.main_thread().ident or 0, number)


def _is_ours(process: psutil.Process, session: str) -> bool:
    """Whether a process belongs to the cluster of a session; a program may have started others."""
    command = command_of(process)
    return bool(command) and (command[0].startswith("ray::") or any(session in word for word in command))


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), repr(error))


def _quiet() -> dict[str, Any]:
    """Of Ray and its workers only errors: what there is to know is said by the steps themselves."""
    import ray
    import ray.data  # sets its own level when it is imported

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    return {"logging_level": logging.WARNING, "logging_config": ray.LoggingConfig(log_level="ERROR")}


def check_shared(*places: Path) -> None:
    """Check that every node of the cluster sees a directory or a place in an object store, where there are several.

    Raises:
        TexthashError: naming the nodes that do not.
    """
    import ray

    nodes = [node for node in ray.nodes() if node["Alive"]]
    if len(nodes) > 1:
        for place in dict.fromkeys(places):
            _check_seen(place, nodes)


def _check_seen(place: Path, nodes: list[dict[str, Any]]) -> None:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    is_directory = isinstance(place, Path)
    if is_directory:
        place.mkdir(parents=True, exist_ok=True)
    marker = place / f".seen-{uuid.uuid4().hex}"
    marker.write_bytes(b"")
    look = ray.remote(num_cpus=0)(_unseen)
    try:
        answers = {
            node["NodeManagerHostname"]: look.options(
                scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            ).remote(str(marker))
            for node in nodes
        }
        blind = {name: reason for name, answer in answers.items() if (reason := ray.get(answer))}
    finally:
        marker.unlink()
    if blind:
        names = ", ".join(f"{name} ({reason})" for name, reason in sorted(blind.items()))
        remedy = "set TEXTHASH_HOME to a directory on storage that all nodes share."
        if not is_directory:
            remedy = "install texthash[s3] on each node, and give its workers AWS_ENDPOINT_URL and credentials (AWS_*)."
        raise TexthashError(f"{place} is not seen by {len(blind)} of {len(nodes)} nodes: {names}.", remedy)


def _unseen(name: str) -> str:
    """Why this node does not see a file or object; empty if it does."""
    try:
        if "://" not in name:
            return "" if Path(name).exists() else "it is not there"
        from upath import UPath

        return "" if UPath(name).exists() else "it is not there"
    except Exception as error:  # noqa: BLE001  (each store's client raises its own, and the person has to see it)
        return f"{type(error).__name__}: {error}"
