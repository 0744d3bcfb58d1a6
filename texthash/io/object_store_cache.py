"""Files of an object store, fetched once to the download cache of this node, so that readers find files as ever."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from pathlib import Path, PurePath
from typing import IO

from texthash.config import CorpusConfig
from texthash.errors import CorpusError
from texthash.io.atomic import exclusive, is_local, read_json, whole, write_json
from texthash.paths import DATA_VARIABLE, StateDir, as_path, is_address
from texthash.progress import log_line, megabytes, transfer

_BLOCK = 1 << 24
_looking = ContextVar("looking", default=False)


@dataclass(frozen=True)
class _Version:
    """What tells one content of an object from another."""

    bytes: int
    etag: str


def is_remote(config: CorpusConfig) -> bool:
    """Whether the files of a corpus are looked for in an object store."""
    names = (config.path, config.data_dir or os.environ.get(DATA_VARIABLE))
    return any(is_address(name) for name in names if name)


def here(config: CorpusConfig, home: StateDir) -> CorpusConfig:
    """The configuration with ``path`` on this node: the object, or all that is below it but what is hidden, fetched.

    Hidden objects are counted and named. Copies of objects that are in the store no more are removed.

    Raises:
        CorpusError: if there is no such object and none below it.
    """
    if config.path is None or not is_address(config.path):
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
    """Remove the copies of objects below ``root`` that are not among ``objects``, and not in the store either: another
    process may have fetched what came since."""
    top = _target(root, home)
    kept = {_target(path, home) for path in objects}
    copies = [] if top.is_file() else sorted(top.rglob("*"))
    for copy in copies:
        below = copy.relative_to(top)
        if copy in kept or _is_hidden(below) or not copy.is_file() or (root / below.as_posix()).is_file():
            continue
        log_line(f"{root / below.as_posix()} is not in the store any more: its copy is removed")
        with exclusive(copy.with_name(f".{copy.name}.lock")):
            _note(copy).unlink(missing_ok=True)
            copy.unlink(missing_ok=True)


def sizes(address: str) -> set[tuple[str, int]]:
    """Name and bytes of an object, or of all that is below it but what is hidden; nothing is fetched."""
    return {(path.name, path.stat().st_size) for path in _objects(as_path(address))[0]}


@contextmanager
def looking() -> Iterator[None]:
    """Within the block :func:`mirrored` fetches nothing: for who asks only whether files are there."""
    token = _looking.set(True)
    try:
        yield
    finally:
        _looking.reset(token)


def mirrored(path: Path, home: StateDir) -> Path:
    """The file itself, or the copy of an object in the download cache: fetched if it is not there, or another now.

    The copy lies below ``stores/``, under bucket and key. It is the object's if size and ETag are those noted beside.

    Raises:
        CorpusError: if what arrives is not the whole object, or the object changed meanwhile.
    """
    if is_local(path) or _looking.get():
        return path
    target = _target(path, home)
    note = _note(target)
    with exclusive(target.with_name(f".{target.name}.lock")):
        version = _version(path)
        there = target.is_file() and target.stat().st_size == version.bytes
        if there and note.is_file() and read_json(note) == asdict(version):
            return target
        note.unlink(missing_ok=True)
        log_line(f"fetching {path} ({megabytes(version.bytes)}) to {target}")
        with whole(target) as partial:
            with path.open("rb") as source, partial.open("wb") as file:
                for block in transfer(_blocks(source), f"fetching {path.name}", total=version.bytes):
                    file.write(block)
            if partial.stat().st_size != version.bytes or _version(path) != version:
                raise CorpusError(f"{path} changed while it was fetched.", "start again when it is written.")
        write_json(note, asdict(version))
    return target


def _objects(root: Path) -> tuple[list[Path], list[Path]]:
    """The object, or all below a prefix; and those below it that are hidden, themselves or by a part of their key."""
    if root.is_file():
        return [root], []
    objects: list[Path] = []
    hidden: list[Path] = []
    with suppress(FileNotFoundError):  # the bucket
        for path in sorted((path for path in root.rglob("*") if path.is_file()), key=str):
            (hidden if _is_hidden(path.relative_to(root)) else objects).append(path)
    if not objects:
        only = f" but {len(hidden)} hidden objects, such as {hidden[0]}" if hidden else ""
        raise CorpusError(f"corpus.path={root} does not exist, or is empty{only}.", "name an object or a prefix.")
    return objects, hidden


def _is_hidden(below: PurePath) -> bool:
    return any(part.startswith(".") for part in below.parts)


def _note(target: Path) -> Path:
    """Where it is noted of which object a file is the copy."""
    return target.with_name(f".{target.name}.json")


def _target(path: Path, home: StateDir) -> Path:
    return home.downloads / "stores" / str(path).partition("://")[2].strip("/")


def _version(path: Path) -> _Version:
    facts = path.fs.info(path.path, refresh=True)  # type: ignore[attr-defined]
    return _Version(int(facts["size"]), str(facts.get("ETag") or facts.get("etag") or facts.get("mtime") or ""))


def _blocks(source: IO[bytes]) -> Iterator[bytes]:
    while block := source.read(_BLOCK):
        yield block
