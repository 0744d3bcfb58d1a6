"""Addresses of stores, whose passwords are kept out of records and logs."""

from __future__ import annotations

import os
from typing import Any

from texthash.uri import with_password, without_secrets

PASSWORD_VARIABLE = "TEXTHASH_TRACKING_PASSWORD"
_known: dict[str, str] = {}  # full addresses that this process has used, by the address without secrets


class StoreAddress(str):
    """Address of a store. As a string it has no password, so that records, messages and parameters have none.

    Attributes:
        full: Address with its password, for the client alone; it is pickled with the string.
    """

    full: str

    def __new__(cls, full: str) -> StoreAddress:
        address = super().__new__(cls, without_secrets(full))
        address.full = full
        if full != address:
            _known[str(address)] = full
        return address

    def __reduce__(self) -> tuple[Any, ...]:
        return StoreAddress, (self.full,)


def full_address(uri: str) -> str:
    """Return the address by which a store is opened, with its password.

    An address that was read from a record has lost its password. It takes the one with which this process opened the
    same store before, or TEXTHASH_TRACKING_PASSWORD if the address names a user.
    """
    if isinstance(uri, StoreAddress) and uri.full != str(uri):
        return uri.full
    if uri in _known:
        return _known[str(uri)]
    password = os.environ.get(PASSWORD_VARIABLE)
    return with_password(str(uri), password) if password else str(uri)
