"""URIs: the local paths that they name, and secrets in them, which are hidden, inserted and found."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

_SECRET = re.compile(r"pass|pwd|secret|token|credential|api_?key", re.IGNORECASE)


def local_path_of(uri: str) -> Path | None:
    """Return the path on this machine that a file URI or a plain path names; None for an address elsewhere."""
    if uri.startswith("file:"):
        return Path(unquote(urlsplit(uri).path))
    return None if ":/" in uri else Path(uri)


def without_secrets(uri: str) -> str:
    """Return a URI without its password, and without parameters whose names denote secrets.

    The user name of an HTTP URI is removed too, since services accept tokens there.
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
    """Return a URI with a password for its user. A URI without a user, or with a password, is returned unchanged."""
    parts = urlsplit(uri)
    user, at, host = parts.netloc.rpartition("@")
    if not at or ":" in user:
        return uri
    return urlunsplit(parts._replace(netloc=f"{user}:{quote(password, safe='')}@{host}"))


def password_in(uri: str) -> str | None:
    """Return the password of a URI in its encoded form; None if it has none."""
    login, _, _ = urlsplit(uri).netloc.rpartition("@")
    return login.partition(":")[2] or None


def scrubbed(text: str, uri: str) -> str:
    """Return a text, such as an error message, without the secrets of a URI that it may contain."""
    text = text.replace(uri, without_secrets(uri))
    password = password_in(uri)
    for secret in (password, unquote(password)) if password else ():
        text = text.replace(f":{secret}@", ":***@")
        if len(secret) >= 4:  # A shorter secret would also match parts of unrelated words.
            text = text.replace(secret, "***")
    return text
