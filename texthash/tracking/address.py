"""Addresses of stores, which may hold a password that nothing else shall hold."""

from __future__ import annotations

import os
from typing import Any

from texthash.uri import with_password, without_secrets

PASSWORD_VARIABLE = "TEXTHASH_TRACKING_PASSWORD"
_known: dict[str, str] = {}  # addresses without secrets that this process has seen with them


class StoreAddress(str):
    """Address of a store. As a text it has no password, so that records, messages and parameters have none.

    Attributes:
        full: The address with its password, for the client alone; it travels to other processes with the text.
    """

    full: str

    def __new__(cls, full: str) -> StoreAddress:
        made = super().__new__(cls, without_secrets(full))
        made.full = full
        if full != made:
            _known[str(made)] = full
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return StoreAddress, (self.full,)


def full_address(uri: str) -> str:
    """Return the address by which a store is opened.

    One that was read from a record has lost its password: it is the one that this process opened the same store with,
    or TEXTHASH_TRACKING_PASSWORD where the address names a user.
    """
    if isinstance(uri, StoreAddress) and uri.full != str(uri):
        return uri.full
    if uri in _known:
        return _known[str(uri)]
    password = os.environ.get(PASSWORD_VARIABLE)
    return with_password(str(uri), password) if password else str(uri)
