"""Keys of the service, and what each of them opens."""

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
# All that is not listed here needs a key, so that a new route is closed until somebody opens it.
_PAGES = frozenset({"", "/", "/favicon.svg"})
_OPEN = ("/health", "/docs/assets/", "/problems/")
# A browser has no way to send a bearer key for a page: here the password of its own dialogue is taken as well.
_DOCUMENTATION = frozenset({"/docs", "/redoc", "/openapi.json"})
# What a read-only key may do with an unsafe method; all that is not listed is a write.
_READS = frozenset({"/v1/search", "/v1/encode", "/v1/documents/count"})


@dataclass(frozen=True)
class Keys:
    """Keys that open the service.

    Attributes:
        read_write: Opens everything; None: the service is open.
        read_only: Opens what does not change the index; None: there is no such key.
    """

    read_write: str | None = None
    read_only: str | None = None

    @classmethod
    def of_environment(cls) -> Keys:
        """Return the keys that TEXTHASH_API_KEY and TEXTHASH_READ_KEY set.

        Raises:
            UsageError: one is set, and empty or not plain ASCII, or the two are equal, or the read-only one is alone: a
                service that was meant to be closed must not be open.
        """
        write, read = (_from_environment(name) for name in (KEY_VARIABLE, READ_KEY_VARIABLE))
        if read is not None and write is None:
            raise UsageError(
                f"{READ_KEY_VARIABLE} is set and {KEY_VARIABLE} is not.", f"set {KEY_VARIABLE} too: it is for writes."
            )
        if read is not None and read == write:
            raise UsageError(
                f"{READ_KEY_VARIABLE} and {KEY_VARIABLE} are the same key.", "give one of them another value."
            )
        return cls(write, read)

    def __bool__(self) -> bool:
        return self.read_write is not None

    def name_of(self, given: bytes) -> str | None:
        """Return which key was given, after comparing with each in constant time; None: neither."""
        found = None
        for name, key in ((READ_WRITE, self.read_write), (READ_ONLY, self.read_only)):
            if hmac.compare_digest(given, (key or "").encode()) and key is not None:
                found = name
        return found


class Auth:
    """Let through what a key opens.

    Args:
        app: Application behind.
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
                "this server asks for a key, and the request has none or another.",
                headers={"WWW-Authenticate": f'{"Basic" if documentation else "Bearer"} realm="texthash"'},
            )
        scope["state"]["key"] = name
        if name == READ_ONLY and not is_safe(scope) and path not in _READS:
            raise Problem("read-only-key", f"the key of this request opens no {scope['method']} of {path}.")


def _given(headers: Headers, documentation: bool) -> bytes:
    """Return the key of a request; header bytes are Latin-1 by the time they are here."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    given = value.strip().encode("latin-1")
    if scheme.lower() == "bearer":
        return given
    if scheme.lower() == "basic" and documentation:
        try:
            return base64.b64decode(given, validate=True).partition(b":")[2]
        except binascii.Error:
            return b""
    return b""


def _from_environment(variable: str) -> str | None:
    key = os.environ.get(variable)
    if key is not None and not _KEY.fullmatch(key):
        raise UsageError(f"{variable} is no key.", "give 1 to 128 visible ASCII characters, or unset it.")
    return key
