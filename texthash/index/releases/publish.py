"""Publication of releases: record a new one, move the pointer, roll back, and delete old records."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from texthash.errors import ModelMismatchError, StorageUnavailableError, TexthashError
from texthash.index.releases.release import (
    CURRENT,
    FORMAT_VERSION,
    RELEASE_NAME,
    Release,
    SearchDefaults,
    ShardState,
    made_of_a_live_one,
    read_pointer,
    read_release,
    record_of,
    releases_path,
)
from texthash.index.storage.shard_format import ShardManifest, read_index, shard_path
from texthash.io.atomic import is_local
from texthash.io.conditional import UnknownOutcomeError
from texthash.io.fsync import replace_durably, write_once
from texthash.io.listing import matching
from texthash.io.places import ABSENT, Version, create, locked, swap, version_of
from texthash.io.records import sealed
from texthash.progress import log_line

if TYPE_CHECKING:
    from texthash.models.hasher import Hasher
    from texthash.paths import StateDir

KEPT_WRITES = 20
# Attempts to move the pointer of an object store, where each is of one read version.
_ATTEMPTS = 20
# Longer than the longest request.
KEPT_SECONDS = 35.0


class ReleaseMovedError(TexthashError):
    """Error raised when another release became current during a write; nothing of the write was published."""


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
    defaults: SearchDefaults | None = None,
    written: bool | None = None,
    switch: bool = True,
    replaceable: Callable[[Release], None] | None = None,
) -> Release:
    """Record a new release and, by default, make it the current one.

    Args:
        home: State directory.
        hasher_dir: Directory of the saved model.
        index: Directory of an index that was built by this model.
        model: Name in the model registry; None takes the model's own name.
        model_version: Version in the model registry.
        run: Tracking run that trained the model.
        commit: Git commit of the program.
        source: Name of the release that the new one will replace with the same documents. It is recorded as the
            parent, so that a record left over is pruned like that of a write.
        defaults: Order of search results; None if none was chosen.
        written: Whether the documents may differ from those of a corpus; None: if the name of the index says so.
        switch: Move the pointer to the new release.
        replaceable: Function that is called with the current release, if there is one, while no write can be
            published, and raises an error if it must stay the current one; the new release is then withdrawn.

    Raises:
        ModelMismatchError: The index was built by another model; nothing is written.
        UsageError: The model only re-ranks.
    """
    from texthash.models.files import digest
    from texthash.models.hasher import Hasher
    from texthash.models.shared import shared_model

    hasher, fingerprint = Hasher.load(hasher_dir), digest(hasher_dir)
    hasher.check_searchable()
    manifests = read_index(index)
    first = manifests[0]
    _check_made_by(hasher, fingerprint, first, f"the model {hasher_dir} does not fit the index {index}")
    base = {
        "created": _now(),
        "model": model or hasher.name,
        "model_version": model_version,
        "model_uri": _uri(home, shared_model(home, hasher_dir)),
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
        "keywords": first.keywords,
        "defaults": defaults,
        "attributes": dict(first.attributes),
        "written": made_of_a_live_one(str(index)) if written is None else written,
    }
    release = _record(home, base)
    if switch:
        with _withdrawn_unless_current(home, release):
            switch_to(home, release.name, replaceable)
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


def switch_to(home: StateDir, name: str, replaceable: Callable[[Release], None] | None = None) -> Release:
    """Make a release the current one, atomically and durably. :func:`publish` explains ``replaceable``."""
    release = read_release(home, name)
    for attempt in range(_ATTEMPTS):
        try:
            with _pointer_locked(home) as version:
                now = read_pointer(home)
                if now["release"] != release.name:
                    if replaceable is not None and now["release"] is not None:
                        replaceable(read_release(home, now["release"]))
                    _point_to(home, version, release.name, now["release"])
            break
        except ReleaseMovedError:
            if attempt + 1 == _ATTEMPTS:
                raise
    return release


def advance(home: StateDir, parent: Release, shards: Sequence[ShardState], next_number: int, **others: Any) -> Release:
    """Publish the result of a write to the current release. The new release is durable and current on return.

    Args:
        home: State directory.
        parent: Release that was changed.
        shards: New states of its shards.
        next_number: Document number of the next insert.
        others: Other fields in which the new release differs from its parent.

    Raises:
        ReleaseMovedError: ``parent`` is no longer current; nothing is published.
    """
    same = {field.name: getattr(parent, field.name) for field in fields(Release)}
    same.update(shards=tuple(shards), next_number=next_number, parent=parent.name, created=_now())
    same.update({"written": parent.was_written, **others})
    del same["name"], same["version"]
    with _pointer_locked(home) as version:
        now = read_pointer(home)
        if now["release"] != parent.name:
            raise ReleaseMovedError(
                f"release {parent.name} was to be changed, but {now['release']} is current now.",
                "nothing was written; repeat the write on the current release.",
            )
        release = _record(home, same)
        with _withdrawn_unless_current(home, release):
            _point_to(home, version, release.name, now["previous"])
    return release


def hand_over(home: StateDir, successor: Callable[[Release], Release]) -> Release:
    """Replace the current release by one over another index, between two writes.

    No write is published meanwhile, and a running one raises :class:`ReleaseMovedError`. In an object store, where
    nothing can be locked, a write that is published meanwhile has this call raise it instead.

    Args:
        home: State directory.
        successor: Function that returns the replacement of the current release, which it is called with. The
            replacement gets a new name, version, time and parent. Writers wait until the function returns.
    """
    with _pointer_locked(home) as version:
        now = read_release(home)
        made = successor(now)
        same = {field.name: getattr(made, field.name) for field in fields(Release)}
        del same["name"], same["version"]
        release = _record(home, {**same, "parent": None, "created": _now()})
        with _withdrawn_unless_current(home, release):
            _point_to(home, version, release.name, now.name)
    return release


def withdraw(home: StateDir, release: Release) -> None:
    """Delete the record of a release that never became current."""
    (releases_path(home) / f"{release.name}.json").unlink(missing_ok=True)


def prune(home: StateDir, kept: Collection[str], keep: int = KEPT_WRITES, age_s: float = KEPT_SECONDS) -> None:
    """Delete old records of releases that were made by writes.

    Their Lance versions remain until the index is compacted. Broken records remain too.

    Args:
        home: State directory.
        kept: Names of releases to keep, such as those of snapshots.
        keep: Number of newest releases that are always kept.
        age_s: Least age of a deleted record in seconds; running requests may still read from a younger release.
    """
    needed = {*kept, *read_pointer(home).values()}
    found = [path for path in matching(releases_path(home), "r*.json") if RELEASE_NAME.fullmatch(path.stem)]
    for path in sorted(found, key=lambda path: int(path.stem[1:]))[:-keep]:
        old = time.time() - path.stat().st_mtime > age_s
        if old and path.stem not in needed and _by_a_write(home, path.stem):
            path.unlink()


def _by_a_write(home: StateDir, name: str) -> bool:
    """Return whether the record of a release can be read and says that a write made it."""
    try:
        return read_release(home, name).parent is not None
    except TexthashError:
        return False


def rollback(home: StateDir) -> Release:
    """Return to the previous release; a second call undoes the first.

    If the current release cannot be opened, move to the newest one that can, among the releases that were current
    before or that a snapshot holds.

    Only the pointer moves: no file of an index changes, and almost no disk space is needed.

    Raises:
        StorageUnavailableError: An object store does not answer, which says nothing of the releases in it.
        TexthashError: There is no earlier release, or none of them can be opened.
    """
    try:
        pointer = read_pointer(home)
    except StorageUnavailableError:
        raise
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
    from texthash.index.releases.snapshots import readable_snapshots

    recorded = {path.stem for path in matching(releases_path(home), "r*.json") if RELEASE_NAME.fullmatch(path.stem)}
    names = recorded
    if current is not None:
        # A writer that died between two steps may have left the record of a release that never became current.
        held = [snapshot.release for snapshot in readable_snapshots(home)]
        ancestors = (*_ancestors(home, current, recorded), *_ancestors(home, previous, recorded))
        names = recorded & {*ancestors, *held, *_without_parent(home, recorded)}
    for name in sorted(names - {current}, key=_version, reverse=True):
        fault = _fault(home, name)
        if fault is None:
            with _pointer_locked(home) as version:
                for other in recorded:
                    _set_aside_unreadable(home, other)
                _point_to(home, version, name, None if previous == name else previous)
            return read_release(home, name)
        log_line(f"rollback: {name} cannot be opened either: {fault}")
    raise TexthashError(
        f"no release in {home.name} can be opened.", "`texthash index restore-backup` brings back a backup."
    )


def _set_aside_unreadable(home: StateDir, name: str) -> None:
    """Rename a record that cannot be read, so that it blocks no write. Its number stays taken."""
    path = releases_path(home) / f"{name}.json"
    try:
        read_release(home, name)
    except StorageUnavailableError:
        raise
    except TexthashError as error:
        if path.exists():
            path.rename(path.with_suffix(".broken.json"))
            log_line(f"rollback: set aside as {path.stem}.broken.json: {error.problem}")


def _ancestors(home: StateDir, name: str | None, names: Collection[str]) -> Iterator[str]:
    """Yield a release and its ancestors. If a record is missing or broken, the next older release follows it."""
    following = name
    while following is not None:
        current = following
        yield current
        try:
            following = read_release(home, current).parent
        except StorageUnavailableError:
            raise
        except TexthashError:
            older = [other for other in names if _version(other) < _version(current)]
            following = max(older, key=_version, default=None)


def _version(name: str) -> int:
    return int(name[1:])


def _without_parent(home: StateDir, names: Collection[str]) -> Iterator[str]:
    for name in names:
        try:
            if read_release(home, name).parent is None:
                yield name
        except StorageUnavailableError:
            raise
        except TexthashError:
            continue  # A release with an unreadable record cannot be opened.


def _fault(home: StateDir, name: str) -> str | None:
    """Return the reason why a release cannot be served, or None if it can."""
    try:
        read_release(home, name).try_out(home)
    except StorageUnavailableError:
        raise
    except TexthashError as error:
        return error.problem
    return None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@contextmanager
def _pointer_locked(home: StateDir) -> Iterator[Version]:
    """Hold the lock of the pointer, and yield its version, over which it is replaced in an object store."""
    directory = releases_path(home)
    with locked(directory):
        yield ABSENT if is_local(directory) else version_of(directory / CURRENT)


def _uri(home: StateDir, path: Path) -> str:
    if not is_local(path):
        inside = not is_local(home.state) and path.is_relative_to(home.state)
        return path.relative_to(home.state).as_posix() if inside else str(path)
    absolute = path.absolute()
    return str(absolute.relative_to(home.root) if absolute.is_relative_to(home.root) else absolute)


def _record(home: StateDir, base: dict[str, Any]) -> Release:
    """Write the record under the next free version. Concurrent publishers get different versions."""
    directory = releases_path(home)
    if is_local(directory):
        directory.mkdir(parents=True, exist_ok=True)
    taken = [RELEASE_NAME.match(path.name) for path in matching(directory, "r*.json")]
    version = max((int(name[0][1:]) for name in taken if name), default=0)
    while True:
        version += 1
        release = Release(**{**base, "name": f"r{version:06d}", "version": version, "format": FORMAT_VERSION})
        target = directory / f"{release.name}.json"
        if (write_once if is_local(target) else create)(target, record_of(release)):
            return release


@contextmanager
def _withdrawn_unless_current(home: StateDir, release: Release) -> Iterator[None]:
    """Delete the record of a release if the block fails before it has made that release current."""
    try:
        yield
    except (UnknownOutcomeError, StorageUnavailableError):  # The release may have been current, or may yet be.
        raise
    except BaseException:
        if read_pointer(home)["release"] != release.name:
            withdraw(home, release)
        raise


def _point_to(home: StateDir, version: Version, name: str, previous: str | None) -> None:
    """Move the pointer, within the block of :func:`_pointer_locked` that yielded the version."""
    path, record = releases_path(home) / CURRENT, sealed({"release": name, "previous": previous})
    if is_local(path):
        replace_durably(path, record)
    elif not swap(path, record, version):
        raise ReleaseMovedError(
            f"{name} was to become the current release, but another process has moved the pointer meanwhile.",
            "nothing was published; run the command again.",
        )
