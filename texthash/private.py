"""What belongs to this user alone: scratch directories, the token of Ray's clusters, the state directory."""

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
    """Make a directory that no other user can enter, or check that it is one.

    /tmp is everybody's: what another user has laid there under a name that can be guessed is refused.

    Raises:
        TexthashError: it cannot be made, is no directory, or belongs to another user.
    """
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
    except OSError as error:
        raise TexthashError(f"{path} cannot be made: {error.strerror}.", "have what lies there removed.") from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise TexthashError(f"{path} is no directory of this user.", "have it removed.")
    if found.st_mode & _OTHERS:
        path.chmod(0o700)
    return path


def scratch() -> Path:
    """This user's directory for sockets, sessions and logs of local Ray clusters: RAY_TMPDIR, else one in /tmp.

    Ray opens its directory to all users; the one above keeps them out. Names are short, as those of sockets have to be.
    """
    chosen = os.environ.get("RAY_TMPDIR")
    top = Path(chosen).absolute() if chosen else private_directory(Path(f"/tmp/th{os.getuid()}"))
    return private_directory(top / "ray")


def use_token() -> dict[str, str]:
    """Settings by which Ray's processes only take calls with this user's token, which is made where it is missing.

    Raises:
        UsageError: the environment turns the token off.
    """
    mode = os.environ.get(AUTH_MODE, "token")
    if mode.lower() != "token":
        raise UsageError(
            f"{AUTH_MODE}={mode}: without a token everybody who reaches a port of Ray can run programs as you.",
            f"unset {AUTH_MODE}, or set it to token.",
        )
    if not os.environ.get(_TOKEN):
        _ensure_token(Path(os.environ.get(_TOKEN_PATH) or Path.home() / ".ray" / "auth_token"))
    return {AUTH_MODE: "token"}


def _ensure_token(path: Path) -> None:
    """Make the token, whole and once, also where two programs do so together; close it to others where it is open."""
    try:
        found = path.stat()
        if found.st_mode & _OTHERS and found.st_uid == os.getuid():
            path.chmod(0o600)
            log_line(f"{path} could be read by other users; it is now closed to them")
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
        return  # another program was faster; its token counts
    finally:
        partial.unlink(missing_ok=True)
