"""Folders that appear as a whole at a shared place, and their verified copies on other nodes.

A published folder has a list of its files, with bytes and SHA-256 of each, which is written last: without it the folder
does not exist. A folder that is published again gets the new and changed files first, and then the new list, so that a
reader has either the old list or the new one. A reader that is overtaken finds it by the digests and starts again.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from texthash.errors import TexthashError
from texthash.io.atomic import exclusive, is_local, side_by_side, whole
from texthash.io.digests import size_and_sha256
from texthash.io.fsync import FsyncTracker, sync
from texthash.io.places import ABSENT, Version, create, read, swap
from texthash.io.records import typed
from texthash.progress import log_line, megabytes

LIST = ".files.json"
_REMEDY = "publish the folder again from the node that made it."
_ATTEMPTS = 3
_BLOCK = 1 << 22


@dataclass(frozen=True)
class FileFacts:
    """Facts of a file: bytes and SHA-256 in hexadecimal."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class FolderList:
    """List of the files of a published folder, by paths relative to it."""

    files: dict[str, FileFacts]
    published: float


def publish(folder: Path, target: Path) -> None:
    """Make a local folder appear at a place, as a whole.

    In a file system the folder is moved there, in an object store it is copied. An object store takes a folder again,
    with other content, from one publisher at a time.

    Args:
        folder: Local folder; for a target in a file system on the same one.
        target: Place of the folder.

    Raises:
        FileExistsError: A file system has the folder already.
        TexthashError: Another process has published the folder meanwhile.
    """
    if is_local(target):
        if target.exists():
            raise FileExistsError(f"{target} exists")
        target.parent.mkdir(parents=True, exist_ok=True)
        FsyncTracker(folder).sync()
        folder.rename(target)
        sync(target.parent)
        return
    own = {name: _facts(folder / name) for name in _names(folder)}
    before, version = _published(target)
    known = {} if before is None else before.files
    if before is not None and own == known:
        return
    changed = [name for name in own if own[name] != known.get(name)]
    for _ in side_by_side(lambda name: _send(folder / name, target / name), changed):
        pass
    listed = {"files": {name: asdict(facts) for name, facts in own.items()}, "published": time.time()}
    written = create(target / LIST, listed) if before is None else swap(target / LIST, listed, version)
    if not written and getattr(_published(target)[0], "files", None) != own:
        raise TexthashError(f"{target} was published by another process meanwhile.", "run the command again.")
    for name in known.keys() - own.keys():
        (target / name).unlink(missing_ok=True)


def fetch(source: Path, target: Path) -> Path:
    """Bring the local copy of a published folder up to date, and return it. Each received file is verified.

    Only files that are missing or different are received. Files of the copy that are not in the list are removed if
    they are older than it; younger ones may be about to be published.

    Args:
        source: Place of the folder in an object store.
        target: Local folder of the copy.

    Raises:
        FileNotFoundError: The folder has not been published.
        TexthashError: A file is damaged.
    """
    with exclusive(target.with_name(f".{target.name}.lock")):
        for _ in range(_ATTEMPTS):
            listed, version = _published(source)
            if listed is None:
                raise FileNotFoundError(f"{source} has not been published")
            try:
                _update(source, target, listed)
                return target
            except (_DamagedError, FileNotFoundError) as error:
                if _published(source)[1] == version:
                    raise TexthashError(f"{source} is damaged: {error}.", _REMEDY) from None
    raise TexthashError(f"{source} is published again and again while it is fetched.", "wait until it is complete.")


def _update(source: Path, target: Path, folder: FolderList) -> None:
    """Receive the files that a copy lacks or has otherwise, and remove older ones that are not listed."""
    listed = folder.files
    present = set(_names(target)) if target.is_dir() else set()
    wanted = [name for name in listed if name not in present or not _same(target / name, listed[name])]
    if wanted:
        size = sum(listed[name].bytes for name in wanted)
        log_line(f"fetching {source} ({megabytes(size)}) to {target}")
    for _ in side_by_side(lambda name: _receive(source / name, target / name, listed[name]), wanted):
        pass
    for name in present - listed.keys():
        if (target / name).stat().st_mtime < folder.published:
            (target / name).unlink()


def is_published(place: Path) -> bool:
    """Return whether a folder in an object store has been published."""
    return read(place / LIST)[1] != ABSENT


def published_in(parent: Path, pattern: str = "*") -> Iterator[tuple[str, float]]:
    """Yield name and time of publication, in seconds since 1970, of the published folders in an object store.

    Args:
        parent: Place above the folders.
        pattern: Pattern of their names.
    """
    for path in parent.glob(f"{pattern}/{LIST}"):
        listed, _ = _published(path.parent)
        if listed is not None:
            yield path.parent.name, listed.published


class _DamagedError(Exception):
    """The bytes of a file are not the listed ones."""


def _published(place: Path) -> tuple[FolderList | None, Version]:
    record, version = read(place / LIST)
    return (None if record is None else typed(FolderList, record, place / LIST, _REMEDY)), version


def copy_whole(source: Path, target: Path) -> None:
    """Copy a file, or a folder with its content, to a path that does not exist; a copy that fails is removed.

    Raises:
        OSError: A file cannot be read or written. Unlike ``shutil.copytree``, the first such file ends the copy.
    """
    try:
        _copy(source, target)
    except BaseException:
        shutil.rmtree(target, ignore_errors=True) if target.is_dir() else target.unlink(missing_ok=True)
        raise


def _copy(source: Path, target: Path) -> None:
    if not source.is_dir():
        shutil.copy2(source, target)
        return
    target.mkdir()
    for path in source.iterdir():
        _copy(path, target / path.name)


def _names(folder: Path) -> list[str]:
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(path.as_posix() for path in found if not any(part.startswith(".") for part in path.parts))


def _facts(path: Path) -> FileFacts:
    return FileFacts(*size_and_sha256(path))


def _same(path: Path, facts: FileFacts) -> bool:
    return path.stat().st_size == facts.bytes and _facts(path) == facts


def _send(source: Path, target: Path) -> None:
    with whole(target) as partial:
        shutil.copyfile(source, partial)


def _receive(source: Path, target: Path, facts: FileFacts) -> None:
    with whole(target) as partial:
        with source.open("rb") as sent, partial.open("wb") as file:
            shutil.copyfileobj(sent, file, _BLOCK)
        found = _facts(partial)
        if found != facts:
            raise _DamagedError(
                f"{source} has {found.bytes} bytes with digest {found.sha256[:12]}, not {facts.bytes} with "
                f"{facts.sha256[:12]}"
            )
