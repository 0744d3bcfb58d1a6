"""Checks of the ports on which the service is to listen."""

from __future__ import annotations

import errno
import re
import socket

import psutil

from texthash.config import ServiceConfig
from texthash.errors import TexthashError
from texthash.processes import command_of, end, listener
from texthash.progress import warn

# Configuration of a HAProxy that texthash.service.haproxy or the quickstart started.
_CONFIGURATION = re.compile(r"/tmp/th[\w-]+/.*haproxy\.cfg$")


def check_ports(service: ServiceConfig) -> None:
    """Check that the service can listen on its ports. A HAProxy that an earlier service left behind is ended.

    Raises:
        TexthashError: A port cannot be used; the error names the process that listens there and the setting to change.
    """
    _check(service.host, service.port, "service.port")
    if service.grpc_port is not None:
        _check("0.0.0.0", service.grpc_port, "service.grpc_port")  # Serve's proxy takes no host for gRPC


def _check(host: str, port: int, setting: str) -> None:
    holder = listener(port)
    if holder is not None and _left_behind(holder):
        warn(f"port {port}: ending process {holder.pid}, the HAProxy of a service that has died")
        end([holder])
        holder = None
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        remedy = f"choose another {setting}, or end the process that listens there."
        if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
            remedy = "set service.host to an address of this machine; 0.0.0.0 means all of them."
        by = f" by process {holder.pid} ({' '.join(command_of(holder))[:100]})" if holder is not None else ""
        raise TexthashError(f"{host}:{port} cannot be listened on: {error.strerror}{by}.", remedy) from None


def _left_behind(process: psutil.Process) -> bool:
    """Return whether a process is the HAProxy of a local service whose Ray process has died."""
    if not any(_CONFIGURATION.match(word) for word in command_of(process)):
        return False
    try:
        parent = process.parent()
        return process.name() == "haproxy" and not (parent and command_of(parent)[:1][0].startswith("ray::"))
    except (psutil.NoSuchProcess, IndexError):
        return False
