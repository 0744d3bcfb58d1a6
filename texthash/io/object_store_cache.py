"""Download cache of this node for files of an object store, so that readers only deal with local files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from pathlib import Path, PurePath
from typing import IO

from texthash.config import CorpusConfig
from texthash.errors import CorpusError, TexthashError
from texthash.io.atomic import exclusive, is_local, whole, write_json
from texthash.io.records import read_typed
from texthash.paths import DATA_VARIABLE, StateDir, as_path, is_address, is_dataset
from texthash.progress import log_line, megabytes, transfer

_BLOCK = 1 << 24
_looking = ContextVar("looking", default=False)


@dataclass(frozen=True)
class _Version:
    """Version of an object: its size and ETag."""

    bytes: int
    etag: str


def is_remote(config: CorpusConfig) -> bool:
    """Return whether the files of a corpus are in an object store."""
    names = (config.path, config.data_dir or os.environ.get(DATA_VARIABLE))
    return any(is_address(name) and not is_dataset(name) for name in names if name)


def here(config: CorpusConfig, home: StateDir) -> CorpusConfig:
    """Fetch the object or prefix ``path`` of a configuration, and return the configuration with the local path.

    Hidden objects below a prefix are skipped, and logged. Copies of objects that no longer exist are removed.

    Raises:
        CorpusError: There is no such object, and none below the prefix.
    """
    if config.path is None or not is_address(config.path) or is_dataset(config.path):
        return config
    root = as_path(config.path)
    objects, hidden = _objects(root)
    if hidden:
        log_line(f"{root}: {len(hidden)} hidden objects are left out, the first is {hidden[0]}")
    for path in objects:
        mirrored(path, home)
    if not _looking.get():
        _forget_deleted(root, objects, home)
    return config.derive(path=str(_target(root, home)))


def _forget_deleted(root: Path, objects: list[Path], home: StateDir) -> None:
    """Remove the copies of objects below ``root`` that are neither among ``objects`` nor in the store.

    The store is checked as well, because another process may have fetched newer objects.
    """
    top = _target(root, home)
    kept = {_target(path, home) for path in objects}
    copies = [] if top.is_file() else sorted(top.rglob("*"))
    for copy in copies:
        below = copy.relative_to(top)
        if copy in kept or _is_hidden(below) or not copy.is_file() or (root / below.as_posix()).is_file():
            continue
        log_line(f"{root / below.as_posix()} is not in the store any more: its copy is removed")
        with _held(copy, home):
            _note(copy, home).unlink(missing_ok=True)
            copy.unlink(missing_ok=True)


def sizes(address: str) -> set[tuple[str, int]]:
    """Return name and bytes of an object, or of all objects below a prefix except hidden ones, without fetching."""
    return {(path.name, path.stat().st_size) for path in _objects(as_path(address))[0]}


@contextmanager
def looking() -> Iterator[None]:
    """Prevent :func:`mirrored` from fetching within the block, for callers that only check whether files exist."""
    token = _looking.set(True)
    try:
        yield
    finally:
        _looking.reset(token)


def mirrored(path: Path, home: StateDir) -> Path:
    """Return a local file unchanged, or the cached copy of an object, which is fetched if it is missing or outdated.

    The copy is below ``stores/``, under bucket and key. It is current if size and ETag match those that were recorded.

    Raises:
        CorpusError: The object was received incompletely, or changed during the transfer.
    """
    if is_local(path) or _looking.get():
        return path
    target = _target(path, home)
    note = _note(target, home)
    with _held(target, home):
        version = _version(path)
        present = target.is_file() and target.stat().st_size == version.bytes
        if present and _noted(note) == version:
            return target
        note.unlink(missing_ok=True)
        log_line(f"fetching {path} ({megabytes(version.bytes)}) to {target}")
        with whole(target) as partial:
            with path.open("rb") as source, partial.open("wb") as file:
                for block in transfer(_blocks(source), f"fetching {path.name}", total=version.bytes):
                    file.write(block)
            if partial.stat().st_size != version.bytes or _version(path) != version:
                raise CorpusError(f"{path} changed while it was fetched.", "start again when it is complete.")
        write_json(note, asdict(version))
    return target


def _objects(root: Path) -> tuple[list[Path], list[Path]]:
    """Return the object, or all visible objects below a prefix; and the hidden ones, by any part of their key."""
    if root.is_file():
        return [root], []
    objects: list[Path] = []
    hidden: list[Path] = []
    with suppress(FileNotFoundError):  # The bucket may not exist.
        for path in sorted((path for path in root.rglob("*") if path.is_file()), key=str):
            (hidden if _is_hidden(path.relative_to(root)) else objects).append(path)
    if not objects:
        only = f" but {len(hidden)} hidden objects, such as {hidden[0]}" if hidden else ""
        raise CorpusError(f"corpus.path={root} does not exist, or is empty{only}.", "name an object or a prefix.")
    return objects, hidden


def _is_hidden(below: PurePath) -> bool:
    return any(part.startswith(".") for part in below.parts)


def _held(target: Path, home: StateDir) -> AbstractContextManager[None]:
    """Return the context in which this process alone changes a copy."""
    lock = _note(target, home).with_suffix(".lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    return exclusive(lock)


def _note(target: Path, home: StateDir) -> Path:
    """Return the path of the record of the object that a file is a copy of.

    It is not beside the copy, where a reader of the folder would take it for a file of the corpus. No bucket has a name
    that begins with a dot.
    """
    stores = home.downloads / "stores"
    return stores / ".copies" / target.relative_to(stores).with_name(f"{target.name}.json")


def _noted(note: Path) -> _Version | None:
    """Return the version of which a copy was made; None if there is none, or if its record is broken."""
    try:
        return read_typed(_Version, note, "the object is fetched again.") if note.is_file() else None
    except TexthashError:
        return None


def _target(path: Path, home: StateDir) -> Path:
    return home.downloads / "stores" / str(path).partition("://")[2].strip("/")


def _version(path: Path) -> _Version:
    facts = path.fs.info(path.path, refresh=True)  # type: ignore[attr-defined]
    return _Version(int(facts["size"]), str(facts.get("ETag") or facts.get("etag") or facts.get("mtime") or ""))


def _blocks(source: IO[bytes]) -> Iterator[bytes]:
    while block := source.read(_BLOCK):
        yield block
