"""Addresses with passwords: how they are shown, and how a password gets into one."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

_SECRET = re.compile(r"pass|pwd|secret|token|credential|api_?key", re.IGNORECASE)


def without_secrets(uri: str) -> str:
    """Return an address without its password and without parameters that are named as secrets are.

    An HTTP address loses the user name too, since services take tokens there.
    """
    parts = urlsplit(uri)
    login, at, host = parts.netloc.rpartition("@")
    user = "" if parts.scheme in ("http", "https") else login.partition(":")[0]
    parameters = parse_qsl(parts.query, keep_blank_values=True)
    kept = [(name, value) for name, value in parameters if not _SECRET.search(name)]
    if not at and kept == parameters:
        return uri
    query = parts.query if kept == parameters else urlencode(kept)
    return urlunsplit(parts._replace(netloc=f"{user}@{host}" if user else host, query=query))


def with_password(uri: str, password: str) -> str:
    """Return an address that names a user with a password for it; any other address is returned as it came."""
    parts = urlsplit(uri)
    user, at, host = parts.netloc.rpartition("@")
    if not at or ":" in user:
        return uri
    return urlunsplit(parts._replace(netloc=f"{user}:{quote(password, safe='')}@{host}"))


def password_in(uri: str) -> str | None:
    """Return the password of an address as it is written there; None: it has none."""
    login, _, _ = urlsplit(uri).netloc.rpartition("@")
    return login.partition(":")[2] or None


def scrubbed(text: str, uri: str) -> str:
    """Return a text, such as the message of an error, without the secrets of an address that it may repeat."""
    text = text.replace(uri, without_secrets(uri))
    password = password_in(uri)
    for secret in (password, unquote(password)) if password else ():
        text = text.replace(f":{secret}@", ":***@")
        if len(secret) >= 4:  # a shorter one would be found in words that have nothing to do with it
            text = text.replace(secret, "***")
    return text
