"""Checks of the host name of a request and of the origin of the page that sent it.

A page in a browser of this machine can send requests to a service that listens on a loopback address. It cannot read
the responses, but a write needs none: so unsafe methods are accepted from the service's own pages and configured
origins only. The page can also have its own name point to 127.0.0.1 (DNS rebinding), which makes it a page of this
origin: so without a key the service accepts known host names only. Browsers do not speak gRPC, so gRPC calls are not
checked.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from texthash.config import ServiceConfig
from texthash.service.middleware.scope import is_safe
from texthash.service.problems import Problem

GRPC = "texthash.grpc"  # extension in the scope of gRPC calls
_ANY = "*"
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9_.-]+))(?::[0-9]{1,5})?", re.IGNORECASE)
_OWN_PAGES = ("same-origin", "none")  # none: a person typed the address, or a program set the header


def allowed_hosts(service: ServiceConfig, keyed: bool) -> frozenset[str] | None:
    """Return the host names under which a service may be called; None allows any.

    Args:
        service: Configuration of the service.
        keyed: True if the service requires a key, which a foreign page does not have.
    """
    if _ANY in service.allowed_hosts:
        return None
    if not service.allowed_hosts and (keyed or not is_loopback(service.host)):
        return None
    return _LOOPBACK | {_plain(name) for name in (service.host, *service.allowed_hosts)}


def is_loopback(host: str) -> bool:
    """Return whether an address can be reached from this machine only."""
    try:
        return ipaddress.ip_address(_plain(host)).is_loopback
    except ValueError:
        return _plain(host) == "localhost"


class Origins:
    """Reject requests under unknown host names, and unsafe ones from foreign pages.

    Args:
        app: Next ASGI application.
        hosts: Allowed host names without ports, from :func:`allowed_hosts`; None allows any.
        origins: Origins whose pages may call the service, besides its own.
    """

    def __init__(self, app: Any, hosts: frozenset[str] | None, origins: Sequence[str]) -> None:
        self._app = app
        self._hosts = hosts
        self._origins = frozenset(origin.rstrip("/").lower() for origin in origins)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and GRPC not in scope.get("extensions", {}):
            headers = Headers(scope=scope)
            if self._hosts is not None:
                self._check_host(headers, self._hosts)
            if not is_safe(scope):
                self._check_page(headers)
        await self._app(scope, receive, send)

    def _check_host(self, headers: Headers, hosts: frozenset[str]) -> None:
        given = headers.getlist("host")
        if len(given) == 1 and name_of_host(given[0]) in hosts:
            return
        raise Problem(
            "unknown-host",
            f"{', '.join(given) or 'no host'} is not a name of this server; it answers to {', '.join(sorted(hosts))}.",
        )

    def _check_page(self, headers: Headers) -> None:
        origin = headers.get("origin")
        if origin is not None and (origin.lower() in self._origins or _ANY in self._origins):
            return
        site = headers.get("sec-fetch-site")
        own = origin is None or _same_host(origin, headers.get("host", ""))
        if own if site is None else site in _OWN_PAGES:
            return
        raise Problem(
            "foreign-origin",
            f"a page of {origin or 'another origin'} sent this request; this server accepts such requests from its "
            "own pages and those of service.cors_origins only.",
        )


def _same_host(origin: str, host: str) -> bool:
    """Return whether an origin has the called host, with any scheme: TLS may end in front of the service."""
    parts = urlsplit(origin)
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()


def name_of_host(host: str) -> str | None:
    """Return the name in a ``Host`` header, without its port; None if the header is malformed."""
    match = _HOST.fullmatch(host)
    return _plain(match[1] or match[2]) if match else None


def _plain(name: str) -> str:
    return name.strip("[]").rstrip(".").lower()
