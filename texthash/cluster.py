"""Connection to a Ray cluster: an existing one by its address, or a new local one."""

from __future__ import annotations

import logging
import os
import random
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from texthash.errors import TexthashError
from texthash.interrupts import leave_on_signals
from texthash.private import scratch, use_token
from texthash.processes import adopt_orphans, alive, command_of, descendants, end, has_open, name_of
from texthash.progress import log_line, warn

_OBJECT_STORE_BYTES = 500_000_000
_ADDRESS = "RAY_ADDRESS"
_PORT = "RAY_GCS_SERVER_PORT"
_UNASSIGNED = range(20_000, 32_000)  # above Ray's workers (10,002 to 19,999), below connections (from 32,768)
# Without this setting Ray listens on an address of the network, even for a cluster of one machine. It only uses
# 127.0.0.1 if clusters of several machines are disabled, as on macOS.
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
# Calls to a node that vanished without a word, as by a loss of power, are given up after 40 seconds; by default after
# seven minutes, in which a program stands still. Ray reads these variables when it is imported, and a server ends the
# connection of a client that sends pings more often than it does itself, with the call that is under way: so they are
# set where all processes inherit them. A program that joins a cluster has those of its environment.
_KEEPALIVE = {"RAY_grpc_client_keepalive_time_ms": "20000", "RAY_grpc_client_keepalive_timeout_ms": "20000"}
_VITAL = ("raylet", "gcs_server")
_LOOK_EVERY_S = 1.0
# A program that has not ended this long after its cluster died is terminated.
_LEAVE_S = 15.0
_TOKEN = " If it runs and requires a token, set RAY_AUTH_MODE=token, and put its token into ~/.ray/auth_token."


class ClusterLostError(TexthashError):
    """Error raised when the local cluster of this program has died."""


@contextmanager
def cluster(address: str | None = None, *, setup: str | None = None, data: bool = True) -> Iterator[bool]:
    """Connect to Ray for the block; then disconnect, and end a cluster that was started here.

    The output of Ray and its workers goes to stderr, so that stdout belongs to the program.

    Args:
        address: Address of a running cluster, or ``"auto"``. None takes RAY_ADDRESS, which is set in a submitted job,
            or starts a local cluster on 127.0.0.1 with the cores of this machine.
        setup: Import path of a function that each worker of a local cluster calls first.
        data: False if the program does not use Ray Data, which takes 60 MB.

    Yields:
        True if the cluster ends with this program.

    Raises:
        TexthashError: There is no cluster at the address, or a local one cannot be started.
        ClusterLostError: The local cluster died during the block. Its processes are ended; a program that does not
            leave the block within some seconds is ended too, with status 1.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Equal lines of different workers report progress of different work.
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    os.environ.setdefault("RAY_TRAIN_ENABLE_PRINT_PATCH", "0")  # Otherwise workers print each line twice.
    if address:
        _check_listens(address)  # A wrong address is an error even if this process is connected to a cluster.
    chosen = address or os.environ.get(_ADDRESS)
    if not chosen and "ray" not in sys.modules:  # Ray reads these variables when it is imported.
        os.environ.update({**_KEEPALIVE, **os.environ, **use_token(), **LOOPBACK})
    import ray

    if ray.is_initialized():
        yield False
        return
    with redirect_stdout(sys.stderr):
        if not chosen:
            with _local(setup, data):
                yield True
            return
        _check_listens(chosen)
        try:
            ray.init(address=chosen, **_quiet(data))
        except Exception as error:
            raise _no_cluster(chosen, error, _TOKEN) from error
        try:
            yield False
        finally:
            ray.shutdown()


def free_port() -> int:
    """Return a port on which nothing listens now, and which is not given to another program by chance soon after.

    The system chooses the ports of connections, and Ray those of its workers, from other ranges.

    Raises:
        TexthashError: All of many ports that were tried are in use.
    """
    for port in random.sample(_UNASSIGNED, 100):
        with socket.socket() as probe:
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                continue
            return port
    raise TexthashError(
        f"100 ports between {_UNASSIGNED[0]} and {_UNASSIGNED[-1]} are in use.", "choose the ports of the service."
    )


def _check_listens(address: str) -> None:
    """Raise :class:`TexthashError` immediately if nothing listens at an address; Ray would try for minutes."""
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
def _local(setup: str | None, data: bool) -> Iterator[None]:
    """Run a local cluster during the block, and end all of its processes afterwards, even if the block fails."""
    import ray

    adopt_orphans()
    earlier = descendants()
    session = _start_local(earlier, setup, data)
    with leave_on_signals():  # Ray's own handler aborts this process
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
                    f"run the command again; for the cause see {session}/logs, and the system's log if memory ran out.",
                )
            ray.shutdown()
            end(process for process in descendants() - earlier if _belongs_to_session(process, session))


def _start_local(earlier: set[psutil.Process], setup: str | None, data: bool) -> str:
    """Start the cluster, and return the directory of its session."""
    import ray

    use_token()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    temporary = scratch()
    _end_leftovers(temporary)
    try:
        with _own_address():
            started: Any = ray.init(
                address="local",
                num_cpus=max(2, cores),
                object_store_memory=_OBJECT_STORE_BYTES,
                include_dashboard=False,
                runtime_env=None if setup is None else {"worker_process_setup_hook": setup},
                **_quiet(data),
                _node_ip_address="127.0.0.1",
                _temp_dir=str(temporary),
            )
    except Exception as error:
        end(descendants() - earlier)
        raise TexthashError(
            f"no local Ray cluster could be started: {_first_line(error)}",
            f"run it again when the machine is less busy; check free memory, the limit of open files (ulimit -n) and "
            f"the space in {temporary}. For the cause see {temporary}/session_latest/logs.",
        ) from error
    log_line(f"ray: started a local cluster of {max(2, cores)} CPUs")
    return str(started.address_info["session_dir"])


@contextmanager
def _own_address() -> Iterator[None]:
    """Give the processes of a cluster that is started in the block its address.

    Ray Train asks for the state of its controller without naming a cluster: beside a second one on this machine it
    found several, or took the other, which does not know the controller, and removed the resources of the training.
    """
    before = {name: os.environ.get(name) for name in (_ADDRESS, _PORT)}
    port = before[_PORT] or str(free_port())
    os.environ.update({_ADDRESS: f"127.0.0.1:{port}", _PORT: port})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _end_leftovers(temporary: Path) -> None:
    """End the remaining processes of clusters whose programs were killed. Ray's agents take a minute or more to notice.

    Args:
        temporary: Directory of sessions, whose names contain the id of the process that started them.
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
    """Watch over a local cluster, which interrupts the program if the cluster dies. Ray itself would wait forever.

    Args:
        earlier: Processes that were started before the cluster and do not belong to it.
    """

    def __init__(self, earlier: set[psutil.Process]) -> None:
        self.lost = ""
        self._earlier = earlier
        self._stopped, self._ended = threading.Event(), threading.Event()
        self._vital = {process: name for process in descendants() - earlier if (name := name_of(process)) in _VITAL}
        threading.Thread(target=self._run, name="texthash-cluster-watch", daemon=True).start()

    def stop(self) -> None:
        """Stop watching before the cluster is shut down."""
        self._stopped.set()

    def ended(self) -> None:
        """Record that all processes of the cluster have ended."""
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
        """End the program if it does not leave the block by itself."""
        if self._ended.wait(_LEAVE_S):
            return
        try:
            end(descendants() - self._earlier)
        finally:
            warn("the local Ray cluster has died, and this program could not end properly; run it again")
            os._exit(1)


def _interrupt_main_thread() -> None:
    """Interrupt the main thread by a real signal, which also interrupts a system call."""
    number = signal.SIGINT if callable(signal.getsignal(signal.SIGINT)) else signal.SIGTERM
    signal.pthread_kill(threading.main_thread().ident or 0, number)


def _belongs_to_session(process: psutil.Process, session: str) -> bool:
    """Return whether a process belongs to the cluster of a session; the program may have started others."""
    command = command_of(process)
    return bool(command) and (command[0].startswith("ray::") or any(session in word for word in command))


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), repr(error))


def _quiet(data: bool) -> dict[str, Any]:
    """Return settings that limit the logs of Ray and its workers to errors; the steps log their own progress."""
    import ray

    if data:
        import ray.data  # The import sets a log level, which is changed below.

        logging.getLogger(ray.data.__name__).setLevel(logging.ERROR)
    return {"logging_level": logging.WARNING, "logging_config": ray.LoggingConfig(log_level="ERROR")}
