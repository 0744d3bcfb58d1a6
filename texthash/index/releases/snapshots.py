"""Snapshots: named states of the index that later writes do not remove.

    snapshots/<name>.json    {"name": ..., "release": "r000012", "created": ...}

A snapshot copies nothing: it keeps a release, and with it the Lance version of every shard.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from texthash.api.requests import SNAPSHOT_NAME
from texthash.errors import TexthashError, UsageError, nearest_name
from texthash.index.releases.release import Release, read_release
from texthash.index.storage.free_space import explaining_full_disk
from texthash.io.atomic import is_local
from texthash.io.fsync import write_once
from texthash.io.listing import matching
from texthash.io.places import create
from texthash.io.records import read_all, read_typed, sealed

if TYPE_CHECKING:
    from texthash.paths import StateDir

_REMEDY = "restore it from a copy, or delete it; it contains no documents."


@dataclass(frozen=True)
class Snapshot:
    """Record of a snapshot.

    Attributes:
        name: Name chosen by the user.
        release: Name of the release that the snapshot keeps.
        created: Time of creation, ISO 8601, UTC.
    """

    name: str
    release: str
    created: str


def take_snapshot(home: StateDir, name: str) -> Snapshot:
    """Take a snapshot of the current release.

    Raises:
        UsageError: The name is not valid as a file name.
        DiskFullError: There is no space for the record.
        TexthashError: The name is taken, or there is no release.
    """
    if not SNAPSHOT_NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot name a snapshot.", "use letters, digits, '.', '_' and '-', at most 100.")
    snapshot = Snapshot(name, read_release(home).name, datetime.now(UTC).isoformat(timespec="seconds"))
    path = _path(home, name)
    with explaining_full_disk(str(path.parent)):
        if is_local(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        written = (write_once if is_local(path) else create)(path, sealed(asdict(snapshot)))
    if not written:
        raise TexthashError(f"there is a snapshot {name!r} already.", "choose another name, or drop that one.")
    return snapshot


def list_snapshots(home: StateDir) -> list[Snapshot]:
    """Return all snapshots, oldest first.

    Raises:
        TexthashError: A record is broken.
    """
    return _snapshots(home, broken="raise")


def readable_snapshots(home: StateDir) -> list[Snapshot]:
    """Return the snapshots with a readable record, oldest first. Broken records are logged."""
    return _snapshots(home, broken="log")


def _snapshots(home: StateDir, broken: Literal["raise", "log"]) -> list[Snapshot]:
    found = read_all(matching(_path(home, "x").parent, "*.json"), _read, broken=broken)
    return sorted(found, key=lambda snapshot: (snapshot.created, snapshot.name))


def _read(path: Path) -> Snapshot:
    snapshot = read_typed(Snapshot, path, _REMEDY)
    if snapshot.name != path.stem:
        raise TexthashError(f"{path} is broken: it is of the snapshot {snapshot.name!r}.", _REMEDY)
    return snapshot


def read_snapshot(home: StateDir, name: str) -> Snapshot:
    """Read a snapshot.

    Raises:
        TexthashError: There is no snapshot of that name, and the error names the nearest; or its record is broken.
    """
    if SNAPSHOT_NAME.fullmatch(name):
        with suppress(FileNotFoundError):
            return _read(_path(home, name))
    snapshots = readable_snapshots(home)
    hint = nearest_name(name, [snapshot.name for snapshot in snapshots]) if snapshots else "there is none"
    raise TexthashError(f"there is no snapshot {name!r} ({hint}).", "`texthash index snapshots` lists them.")


def drop_snapshot(home: StateDir, name: str) -> None:
    """Delete a snapshot. Its space is freed when the index is compacted."""
    _path(home, read_snapshot(home, name).name).unlink()


def snapshot_releases(home: StateDir) -> dict[str, Release]:
    """Return the releases that snapshots keep, by name."""
    return {snapshot.release: read_release(home, snapshot.release) for snapshot in list_snapshots(home)}


def _path(home: StateDir, name: str) -> Path:
    return home.state / "snapshots" / f"{name}.json"
