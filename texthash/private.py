"""Private directories and files of the user: scratch directories and the token of Ray's clusters."""

from __future__ import annotations

import os
import secrets
import stat
import uuid
from pathlib import Path

from texthash.errors import TexthashError, UsageError
from texthash.progress import log_line

AUTH_MODE = "RAY_AUTH_MODE"
_TOKEN, _TOKEN_PATH = "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def private_directory(path: Path) -> Path:
    """Create a directory that no other user can enter, or check that an existing one is private.

    Every user can write to /tmp, so a directory of another user under a predictable name is rejected.

    Raises:
        TexthashError: The directory cannot be created, is not a directory, or belongs to another user.
    """
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
    except OSError as error:
        raise TexthashError(f"{path} cannot be created: {error.strerror}.", "have the existing file removed.") from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise TexthashError(f"{path} is not a directory of this user.", "have it removed.")
    if found.st_mode & _OTHERS:
        path.chmod(0o700)
    return path


def scratch() -> Path:
    """Return the user's directory for sockets, sessions and logs of local Ray clusters, in RAY_TMPDIR or /tmp.

    Ray opens its directory to all users; the parent directory keeps them out. Names are short, because the paths of
    sockets are limited in length.
    """
    chosen = os.environ.get("RAY_TMPDIR")
    top = Path(chosen).absolute() if chosen else private_directory(Path(f"/tmp/th{os.getuid()}"))
    return private_directory(top / "ray")


def use_token() -> dict[str, str]:
    """Return settings that make Ray's processes require the user's token, and create the token if it is missing.

    Raises:
        UsageError: The environment disables the token.
    """
    mode = os.environ.get(AUTH_MODE, "token")
    if mode.lower() != "token":
        raise UsageError(
            f"{AUTH_MODE}={mode}: without a token anyone who can reach a port of Ray can run programs as you.",
            f"unset {AUTH_MODE}, or set it to token.",
        )
    if not os.environ.get(_TOKEN):
        _ensure_token(Path(os.environ.get(_TOKEN_PATH) or Path.home() / ".ray" / "auth_token"))
    return {AUTH_MODE: "token"}


def _ensure_token(path: Path) -> None:
    """Create the token atomically, even if two programs do so at once, and remove other users' access to it."""
    try:
        found = path.stat()
        if found.st_mode & _OTHERS and found.st_uid == os.getuid():
            path.chmod(0o600)
            log_line(f"{path} was readable by other users; their access has been removed")
        return
    except FileNotFoundError:
        pass
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(secrets.token_hex(32))
        os.link(partial, path)
    except FileExistsError:
        return  # Another program has created the token meanwhile.
    finally:
        partial.unlink(missing_ok=True)
