"""Making releases: record a new one, move the pointer to one, go back to the one before, drop old ones."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from texthash.errors import ModelMismatchError, TexthashError
from texthash.index.releases.release import (
    CURRENT,
    FORMAT_VERSION,
    RELEASE_NAME,
    Release,
    ShardState,
    read_pointer,
    read_release,
    record_of,
    releases_path,
)
from texthash.index.storage.shard_format import ShardManifest, read_index, shard_path
from texthash.io.atomic import is_local
from texthash.io.fsync import replace_durably, write_once
from texthash.io.records import sealed
from texthash.progress import log_line

if TYPE_CHECKING:
    from texthash.models.hasher import Hasher
    from texthash.paths import StateDir

KEPT_WRITES = 20
# Longer than a request may take.
KEPT_SECONDS = 35.0


class ReleaseMovedError(TexthashError):
    """Another release became current while a write was on its way; nothing of the write was published."""


def publish(
    home: StateDir,
    hasher_dir: Path,
    index: Path,
    *,
    model: str | None = None,
    model_version: str | None = None,
    run: str | None = None,
    commit: str | None = None,
    source: str | None = None,
    switch: bool = True,
) -> Release:
    """Record a new release and, unless told otherwise, make it the current one.

    Args:
        home: State directory.
        hasher_dir: The saved model.
        index: An index that this model made.
        model: Name in the model registry; None: the model's own name.
        model_version: Version in the model registry.
        run: Tracking run that made the model.
        commit: Git commit of the program.
        source: Name of the release whose documents the index has, where it is made only to take over from it: recorded
            as its parent, so that the record goes the way of a write's if it is left over.
        switch: Whether to move the pointer to it.

    Raises:
        ModelMismatchError: the model did not make the index; nothing is written.
    """
    from texthash.models.hasher import Hasher, digest

    hasher, fingerprint = Hasher.load(hasher_dir), digest(hasher_dir)
    manifests = read_index(index)
    first = manifests[0]
    _check_made_by(hasher, fingerprint, first, f"the model {hasher_dir} does not fit the index {index}")
    base = {
        "created": _now(),
        "model": model or hasher.name,
        "model_version": model_version,
        "model_uri": _uri(home, hasher_dir),
        "model_digest": fingerprint,
        "run": run,
        "method": hasher.method.card.name,
        "bits": hasher.bits,
        "corpus": hasher.corpus,
        "edition": hasher.edition.name,
        "vocabulary_hash": hasher.vocabulary_hash,
        "index_uri": _uri(home, index),
        "shards": tuple(
            ShardState(_uri(home, shard_path(index, m.shard)), m.lance_version, m.documents, m.checksum)
            for m in manifests
        ),
        "next_number": first.next_number,
        "parent": source,
        "commit": commit,
        "vectors": first.vectors,
    }
    release = _record(home, base)
    if switch:
        with _withdrawn_unless_current(home, release):
            switch_to(home, release.name)
    return release


def _check_made_by(hasher: Hasher, fingerprint: str, first: ShardManifest, problem: str) -> None:
    differing = [
        f"{what} {theirs} of the index is not the model's {ours}"
        for what, theirs, ours in (
            ("width", first.bits, hasher.bits),
            ("vocabulary", first.vocabulary_hash[:12], hasher.vocabulary_hash[:12]),
            ("model", first.model[:12], fingerprint[:12]),
        )
        if theirs != ours
    ]
    if differing:
        raise ModelMismatchError(f"{problem}: {'; '.join(differing)}.", "build an index with this model.")


def switch_to(home: StateDir, name: str) -> Release:
    """Make a release the current one, in one atomic step that is on disk when this returns."""
    release = read_release(home, name)
    with _pointer_held(home):
        now = read_pointer(home)
        if now["release"] != release.name:
            _point_to(home, release.name, now["release"])
    return release


def advance(
    home: StateDir, parent: Release, shards: Sequence[ShardState], next_number: int, **others: str | int | None
) -> Release:
    """Publish what a write made of the current release. It is on disk, and current, when this returns.

    Args:
        home: State directory.
        parent: The release that was changed.
        shards: Its shards as they are now.
        next_number: The document number that the next insert gets.
        others: Further fields of the release that are not those of its parent.

    Raises:
        ReleaseMovedError: ``parent`` is not current any more; then nothing is published.
    """
    same = {field.name: getattr(parent, field.name) for field in fields(Release)}
    same.update(shards=tuple(shards), next_number=next_number, parent=parent.name, created=_now(), **others)
    del same["name"], same["version"]
    with _pointer_held(home):
        now = read_pointer(home)
        if now["release"] != parent.name:
            raise ReleaseMovedError(
                f"release {parent.name} was to be changed, but {now['release']} is current now.",
                "nothing was written; send the write again, to what is current.",
            )
        release = _record(home, same)
        with _withdrawn_unless_current(home, release):
            _point_to(home, release.name, now["previous"])
    return release


def hand_over(home: StateDir, successor: Callable[[Release], Release]) -> Release:
    """Replace the current release by one over another index, between two writes: none is published meanwhile, and one
    that is on its way ends in a :class:`ReleaseMovedError`.

    Args:
        home: State directory.
        successor: Given the release that is current, makes what replaces it; name, version, time and parent are given
            anew. Writers wait until it returns.
    """
    with _pointer_held(home):
        now = read_release(home)
        made = successor(now)
        same = {field.name: getattr(made, field.name) for field in fields(Release)}
        del same["name"], same["version"]
        release = _record(home, {**same, "parent": None, "created": _now()})
        with _withdrawn_unless_current(home, release):
            _point_to(home, release.name, now.name)
    return release


def withdraw(home: StateDir, release: Release) -> None:
    """Drop the record of a release that never became current."""
    (releases_path(home) / f"{release.name}.json").unlink(missing_ok=True)


def prune(home: StateDir, kept: Collection[str], keep: int = KEPT_WRITES, age_s: float = KEPT_SECONDS) -> None:
    """Drop the records of releases that writes made and that nobody serves any more. Their Lance versions stay until
    the index is compacted.

    Args:
        home: State directory.
        kept: Names of releases to keep, such as those of snapshots.
        keep: How many of the newest stay in any case.
        age_s: How old, in seconds, a record has to be: requests in flight may still be answered from a younger one.
    """
    needed = {*kept, *read_pointer(home).values()}
    found = [path for path in releases_path(home).glob("r*.json") if RELEASE_NAME.fullmatch(path.stem)]
    for path in sorted(found, key=lambda path: int(path.stem[1:]))[:-keep]:
        old = time.time() - path.stat().st_mtime > age_s
        if old and path.stem not in needed and read_release(home, path.stem).parent is not None:
            path.unlink()


def rollback(home: StateDir) -> Release:
    """Go back to the release that was current before; a second call comes back. Where the current one cannot be opened,
    go to the newest that can, among those that were current before or that a snapshot holds.

    Only the pointer is moved: it takes no more space than that, and changes no file of an index.

    Raises:
        TexthashError: there was none before, or none of them can be opened.
    """
    try:
        pointer = read_pointer(home)
    except TexthashError as error:
        log_line(f"rollback: {error.problem}")
        pointer = {"release": None, "previous": None}
    current, previous = pointer["release"], pointer["previous"]
    fault = None if current is None else _fault(home, current)
    if current is None or fault is not None:
        log_line(f"rollback: {current or 'no release'} cannot be opened: {fault or 'the pointer names none'}")
        return _newest_that_opens(home, current, previous)
    if previous is None:
        raise TexthashError("there is no earlier release to go back to.", "`texthash index info` lists the releases.")
    fault = _fault(home, previous)
    if fault is not None:
        raise TexthashError(
            f"release {previous}, which was current before, cannot be opened: {fault}",
            f"{current} stays the current one; `texthash index restore` brings back a snapshot.",
        )
    return switch_to(home, previous)


def _newest_that_opens(home: StateDir, current: str | None, previous: str | None) -> Release:
    from texthash.index.releases.snapshots import list_snapshots

    recorded = {path.stem for path in releases_path(home).glob("r*.json") if RELEASE_NAME.fullmatch(path.stem)}
    names = recorded
    if current is not None:
        # The record of a release that never became current may be left where a writer died between two steps.
        held = [snapshot.release for snapshot in list_snapshots(home)]
        lines = (*_line(home, current, recorded), *_line(home, previous, recorded))
        names = recorded & {*lines, *held, *_built(home, recorded)}
    for name in sorted(names - {current}, key=_version, reverse=True):
        fault = _fault(home, name)
        if fault is None:
            with _pointer_held(home):
                for other in recorded:
                    _set_aside_unreadable(home, other)
                _point_to(home, name, None if previous == name else previous)
            return read_release(home, name)
        log_line(f"rollback: {name} cannot be opened either: {fault}")
    raise TexthashError(
        f"no release in {home.root} can be opened.", "`texthash index restore-backup` brings back a backup."
    )


def _set_aside_unreadable(home: StateDir, name: str) -> None:
    """Rename a record that cannot be read, so that it stands in the way of no write. Its number stays taken."""
    path = releases_path(home) / f"{name}.json"
    try:
        read_release(home, name)
    except TexthashError as error:
        if path.exists():
            path.rename(path.with_suffix(".broken.json"))
            log_line(f"rollback: set aside as {path.stem}.broken.json: {error.problem}")


def _line(home: StateDir, name: str | None, names: Collection[str]) -> Iterator[str]:
    """A release and those that writes turned into it. Where a record is gone or broken, the one before it is next."""
    following = name
    while following is not None:
        now = following
        yield now
        try:
            following = read_release(home, now).parent
        except TexthashError:
            older = [other for other in names if _version(other) < _version(now)]
            following = max(older, key=_version, default=None)


def _version(name: str) -> int:
    return int(name[1:])


def _built(home: StateDir, names: Collection[str]) -> Iterator[str]:
    for name in names:
        with suppress(TexthashError):  # a record that cannot be read is of no release that opens
            if read_release(home, name).parent is None:
                yield name


def _fault(home: StateDir, name: str) -> str | None:
    """Why a release cannot be served; None if it can."""
    try:
        read_release(home, name).try_out(home)
    except TexthashError as error:
        return error.problem
    return None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@contextmanager
def _pointer_held(home: StateDir) -> Iterator[None]:
    """Nobody else moves the pointer meanwhile."""
    directory = releases_path(home)
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _uri(home: StateDir, path: Path) -> str:
    if not is_local(path):
        return str(path)
    absolute = path.absolute()
    return str(absolute.relative_to(home.root) if absolute.is_relative_to(home.root) else absolute)


def _record(home: StateDir, base: dict[str, Any]) -> Release:
    """Write the record under the next free version; two publishers at once get two versions."""
    directory = releases_path(home)
    directory.mkdir(parents=True, exist_ok=True)
    taken = [RELEASE_NAME.match(path.name) for path in directory.glob("r*.json")]
    version = max((int(name[0][1:]) for name in taken if name), default=0)
    while True:
        version += 1
        release = Release(**{**base, "name": f"r{version:06d}", "version": version, "format": FORMAT_VERSION})
        target = directory / f"{release.name}.json"
        if write_once(target, record_of(release)):
            return release


@contextmanager
def _withdrawn_unless_current(home: StateDir, release: Release) -> Iterator[None]:
    """Drop the record of a release if the block, which makes it the current one, fails before it is."""
    try:
        yield
    except BaseException:
        if read_pointer(home)["release"] != release.name:
            withdraw(home, release)
        raise


def _point_to(home: StateDir, name: str, previous: str | None) -> None:
    replace_durably(releases_path(home) / CURRENT, sealed({"release": name, "previous": previous}))
