"""Ports of this machine: which are free, and what to say where one is not."""

from __future__ import annotations

import errno
import socket

from texthash.config import ServiceConfig
from texthash.errors import TexthashError


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def check_ports(service: ServiceConfig) -> None:
    """Check that the service can listen where it is told to.

    Raises:
        TexthashError: it cannot; says why, and which setting to change.
    """
    _check(service.host, service.port, "service.port")
    if service.grpc_port is not None:
        _check("0.0.0.0", service.grpc_port, "service.grpc_port")  # Serve's proxy takes no host for gRPC


def _check(host: str, port: int, setting: str) -> None:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        remedy = f"choose another {setting}, or end what listens there."
        if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
            remedy = "set service.host to an address of this machine; 0.0.0.0 means all of them."
        raise TexthashError(f"{host}:{port} cannot be listened on: {error.strerror}.", remedy) from None
