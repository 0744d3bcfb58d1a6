"""Snapshots: names for states of the index that are kept whatever is written later.

    snapshots/<name>.json    {"name": ..., "release": "r000012", "created": ...}

A snapshot copies nothing: it holds on to a release, and with it to the Lance version of every shard.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from texthash.api.requests import SNAPSHOT_NAME
from texthash.errors import TexthashError, UsageError, nearest_name
from texthash.index.releases.release import Release, read_release
from texthash.index.storage.free_space import explaining_full_disk
from texthash.io.fsync import write_once
from texthash.io.records import read_record, sealed, typed

if TYPE_CHECKING:
    from texthash.paths import StateDir

_REMEDY = "restore it from a copy, or delete it; the documents of the index are not in it."


@dataclass(frozen=True)
class Snapshot:
    """A named state.

    Attributes:
        name: Given by a person.
        release: Name of the release that it holds.
        created: Time, ISO 8601, UTC.
    """

    name: str
    release: str
    created: str


def take_snapshot(home: StateDir, name: str) -> Snapshot:
    """Hold on to what is served now.

    Raises:
        UsageError: a name that cannot be a file's.
        DiskFullError: there is no space for the record.
        TexthashError: the name is taken, or nothing is released.
    """
    if not SNAPSHOT_NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot name a snapshot.", "use letters, digits, '.', '_' and '-', at most 100.")
    snapshot = Snapshot(name, read_release(home).name, datetime.now(UTC).isoformat(timespec="seconds"))
    path = _path(home, name)
    with explaining_full_disk(str(path.parent)):
        path.parent.mkdir(parents=True, exist_ok=True)
        written = write_once(path, sealed(asdict(snapshot)))
    if not written:
        raise TexthashError(f"there is a snapshot {name!r} already.", "choose another name, or drop that one.")
    return snapshot


def list_snapshots(home: StateDir) -> list[Snapshot]:
    """All snapshots, oldest first."""
    found = []
    for path in _path(home, "x").parent.glob("*.json"):
        with suppress(FileNotFoundError):  # dropped a moment ago
            snapshot = typed(Snapshot, read_record(path, _REMEDY), path, _REMEDY)
            if snapshot.name != path.stem:
                raise TexthashError(f"{path} is broken: it is of the snapshot {snapshot.name!r}.", _REMEDY)
            found.append(snapshot)
    return sorted(found, key=lambda snapshot: (snapshot.created, snapshot.name))


def read_snapshot(home: StateDir, name: str) -> Snapshot:
    """Read a snapshot; raises :class:`TexthashError` naming the nearest if there is none of that name."""
    for snapshot in (snapshots := list_snapshots(home)):
        if snapshot.name == name:
            return snapshot
    hint = nearest_name(name, [snapshot.name for snapshot in snapshots]) if snapshots else "there is none"
    raise TexthashError(f"there is no snapshot {name!r} ({hint}).", "`texthash index snapshots` lists them.")


def drop_snapshot(home: StateDir, name: str) -> None:
    """Let go of a state; its space is freed when the index is compacted."""
    _path(home, read_snapshot(home, name).name).unlink()


def snapshot_releases(home: StateDir) -> dict[str, Release]:
    """The releases that snapshots hold, by name."""
    return {snapshot.release: read_release(home, snapshot.release) for snapshot in list_snapshots(home)}


def _path(home: StateDir, name: str) -> Path:
    return home.root / "snapshots" / f"{name}.json"
