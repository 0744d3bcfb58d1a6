"""Start or replace the service of a release on the Ray cluster, and wait until it answers."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import ray
from ray import serve
from ray._private.authentication.authentication_utils import is_token_auth_enabled
from ray.exceptions import RayError
from ray.serve.config import HTTPOptions, ProxyLocation, gRPCOptions
from ray.serve.context import _get_global_client

from texthash.config import ServiceConfig
from texthash.errors import TexthashError
from texthash.index.releases.release import CURRENT, read_release
from texthash.paths import StateDir
from texthash.progress import log_line, warn
from texthash.service.logs import SERVE_LOGGER
from texthash.service.middleware.auth import KEY_VARIABLE, Keys
from texthash.service.middleware.origin import is_loopback
from texthash.service.ports import check_ports
from texthash.service.rpc import SERVICER
from texthash.service.serve_app import build

APPLICATION = "texthash"
# Serve's deadline comes this many seconds after the service's own, which answers with a problem instead of a cut.
_GRACE_S = 5.0
_START_S = 180.0  # until the service answers
_HEAD = "node:__internal_head__"  # resource of the head alone


def serve_release(
    home: StateDir,
    service: ServiceConfig,
    *,
    release: str = CURRENT,
) -> str:
    """Start the service of a release on the Ray cluster of this process, or replace the one that runs there.

    It listens on ``service.host`` only, 127.0.0.1 by default, and runs as long as the cluster, also after this process
    has ended. A replacement changes one replica after the other; each request is answered from one release. Started
    for ``"current"``, the service follows the current release and takes writes; started for a named release it does
    neither.

    Args:
        home: State directory, visible from all nodes.
        service: Host, port, path, batching and limits.
        release: Name of a release, or ``"current"``.

    Returns:
        URL of the service, without a trailing slash.

    Raises:
        TexthashError: The port is taken, Serve already listens on another address, or the service does not start.
        ModelMismatchError: The model and the index of the release do not belong together.
    """
    name = read_release(home, release).name
    url = _url(service)
    settings = service.model_dump()
    application = build({"home": home.name, "release": release, "service": settings})
    logging.getLogger(SERVE_LOGGER).setLevel(logging.WARNING)
    _check_token()
    with _start_errors(name):
        _start_serve(service)
        log_line(f"service: release {name} on {service.host}:{service.port}")
        if not Keys.of_environment() and not is_loopback(service.host):
            warn(f"without a key anyone who reaches {service.host} can write; set {KEY_VARIABLE} before the start")
        serve.run(application, name=APPLICATION, route_prefix=service.route_prefix)
    _wait_until_ready(url)
    return url


def _url(service: ServiceConfig) -> str:
    """Return the URL of the service for this node: Serve listens on the head alone, which may be another one.

    Raises:
        TexthashError: It is to listen on loopback of another node.
    """
    found = next((node for node in ray.nodes() if node["Alive"] and _HEAD in node["Resources"]), None)
    if found is None or found["NodeID"] == ray.get_runtime_context().get_node_id():
        return service.url
    head = found["NodeManagerAddress"]
    if is_loopback(service.host):
        raise TexthashError(
            f"the service would listen on {service.host} of the head, {head}, and this program is on another node.",
            "start it on the head, or set service.host=0.0.0.0 and a key.",
        )
    return service.url.replace("//127.0.0.1:", f"//{head}:", 1)


def check_address(service: ServiceConfig) -> None:
    """Check that the service can listen on its address on this cluster; call it before a long job.

    Raises:
        TexthashError: The port is taken, or Serve already listens on another address.
    """
    running = _serve_address()
    if running is None:
        check_ports(service)
    elif running != (service.host, service.port):
        host, port = running
        raise TexthashError(
            f"Serve already listens on {host}:{port} of this cluster, not on {service.host}:{service.port}.",
            f"set service.host={host} service.port={port}, or end it with `serve shutdown` first.",
        )


def _serve_address() -> tuple[str, int] | None:
    """Return host and port of Serve on this cluster; None if it does not run."""
    client = _get_global_client(raise_if_no_controller_running=False)
    return None if client is None else (client.http_config.host, client.http_config.port)


def _start_serve(service: ServiceConfig) -> None:
    check_address(service)
    if _serve_address() is not None:
        return
    options = HTTPOptions(
        host=service.host, port=service.port, request_timeout_s=service.limits.request_timeout_s + _GRACE_S
    )
    grpc = None
    if service.grpc_port is not None:
        log_line(f"gRPC on port {service.grpc_port} of all addresses: Serve's proxy takes no host")
        grpc = gRPCOptions(
            port=service.grpc_port, grpc_servicer_functions=[SERVICER], request_timeout_s=options.request_timeout_s
        )
    serve.start(proxy_location=ProxyLocation.HeadOnly, http_options=options, grpc_options=grpc)


@contextmanager
def _start_errors(release: str) -> Iterator[None]:
    """Raise the errors of Serve and Ray for a service that does not start as :class:`TexthashError`."""
    try:
        yield
    except (RuntimeError, TimeoutError, RayError) as error:
        raise TexthashError(
            f"the service of release {release} did not start: {_reason() or error}",
            "see session_latest/logs/serve in the directory of the Ray cluster: /tmp/th<uid>/ray, or its --temp-dir.",
        ) from error


def _check_token() -> None:
    """Warn about a cluster without a token, where anyone who reaches the replicas can run programs."""
    if not is_token_auth_enabled():
        warn(
            "this Ray cluster takes calls without a token: anyone who reaches its ports can run programs "
            "there. Set RAY_AUTH_MODE=token before `ray start` on each node."
        )


def _reason() -> str:
    """Return the last line of the messages of the deployments of the application, if it did not start."""
    try:
        application = serve.status().applications.get(APPLICATION)
    except RayError:
        return ""  # Serve itself has not started, or has died.
    messages = [deployment.message for deployment in application.deployments.values()] if application else []
    lines = [message.strip().splitlines()[-1] for message in messages if message.strip()]
    return "; ".join(dict.fromkeys(lines))


def _wait_until_ready(url: str) -> None:
    give_up = time.monotonic() + _START_S
    state = "no answer"
    while time.monotonic() < give_up:
        try:
            reply = httpx.get(f"{url}/health/ready", timeout=10.0)
            if reply.status_code == 200:
                return
            state = f"status {reply.status_code}: {reply.text[:200]}"
        except httpx.TransportError as error:
            state = repr(error)
        time.sleep(0.2)
    raise TexthashError(
        f"{url}/health/ready did not become ready within {_START_S:g} seconds ({state}).",
        "see the Serve logs of the Ray cluster.",
    )
