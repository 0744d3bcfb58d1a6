"""Authentication by keys, and the routes that each key opens."""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import re
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers

from texthash.errors import UsageError
from texthash.service.middleware.scope import is_safe, path_of
from texthash.service.problems import Problem

KEY_VARIABLE = "TEXTHASH_API_KEY"
READ_KEY_VARIABLE = "TEXTHASH_READ_KEY"
READ_WRITE, READ_ONLY = "read-write", "read-only"
_KEY = re.compile(r"[\x21-\x7e]{1,128}")
# Every other path needs a key, so that a new route is closed until it is listed here.
_PAGES = frozenset({"", "/", "/favicon.svg"})
_OPEN = ("/health", "/docs/assets/", "/problems/")
# A browser cannot send a bearer key for a page, so these paths also accept the password of HTTP Basic.
_DOCUMENTATION = frozenset({"/docs", "/redoc", "/openapi.json"})
# Paths that a read-only key may call with an unsafe method; every other one is a write.
_READS = frozenset({"/v1/search", "/v1/encode", "/v1/facets", "/v1/documents/count", "/v1/documents/scroll"})


@dataclass(frozen=True)
class Keys:
    """Keys of the service.

    Attributes:
        read_write: Key that opens everything; None leaves the service open.
        read_only: Key that opens what does not change the index; None if there is no such key.
    """

    read_write: str | None = None
    read_only: str | None = None

    @classmethod
    def of_environment(cls) -> Keys:
        """Return the keys that TEXTHASH_API_KEY and TEXTHASH_READ_KEY set.

        Raises:
            UsageError: A key is empty or not visible ASCII, the two keys are equal, or the read-only key is set alone:
                a service that was meant to be closed must not be open.
        """
        write, read = (_from_environment(name) for name in (KEY_VARIABLE, READ_KEY_VARIABLE))
        if read is not None and write is None:
            raise UsageError(
                f"{READ_KEY_VARIABLE} is set and {KEY_VARIABLE} is not.", f"set {KEY_VARIABLE} too, for writes."
            )
        if read is not None and read == write:
            raise UsageError(
                f"{READ_KEY_VARIABLE} and {KEY_VARIABLE} are the same key.", "give one of them another value."
            )
        return cls(write, read)

    def __bool__(self) -> bool:
        return self.read_write is not None

    def name_of(self, given: bytes) -> str | None:
        """Return the name of a key, after comparison with each in constant time; None if it is neither."""
        match = None
        for name, key in ((READ_WRITE, self.read_write), (READ_ONLY, self.read_only)):
            if hmac.compare_digest(given, (key or "").encode()) and key is not None:
                match = name
        return match


class Auth:
    """Reject requests whose key does not open their route.

    Args:
        app: Next ASGI application.
        keys: Keys of the service.
    """

    def __init__(self, app: Any, keys: Keys) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and self._keys:
            path = path_of(scope)
            if path not in _PAGES and not path.startswith(_OPEN):
                self._check(scope, path)
        await self._app(scope, receive, send)

    def _check(self, scope: Any, path: str) -> None:
        documentation = path in _DOCUMENTATION
        name = self._keys.name_of(_given(Headers(scope=scope), documentation))
        if name is None:
            raise Problem(
                "unauthorized",
                "this server requires a key, and the request has none or a wrong one.",
                headers={"WWW-Authenticate": f'{"Basic" if documentation else "Bearer"} realm="texthash"'},
            )
        scope["state"]["key"] = name
        if name == READ_ONLY and not is_safe(scope) and path not in _READS:
            raise Problem("read-only-key", f"the key of this request does not allow {scope['method']} {path}.")


def _given(headers: Headers, documentation: bool) -> bytes:
    """Return the key of a request; ASGI servers decode header bytes as Latin-1."""
    authorization = headers.get("authorization", "").encode("latin-1")
    scheme, _, value = authorization.partition(b" ")
    if scheme.lower() == b"basic" and documentation:
        try:
            return base64.b64decode(value.strip(), validate=True).partition(b":")[2]
        except binascii.Error:
            return b""
    return bearer(authorization)


def bearer(authorization: bytes) -> bytes:
    """Return the key of an ``Authorization`` header; empty without one."""
    scheme, _, value = authorization.partition(b" ")
    return value.strip() if scheme.lower() == b"bearer" else b""


def _from_environment(variable: str) -> str | None:
    key = os.environ.get(variable)
    if key is not None and not _KEY.fullmatch(key):
        raise UsageError(f"{variable} is not a valid key.", "give 1 to 128 visible ASCII characters, or unset it.")
    return key
