"""Size and SHA-256 of every file of a shard, stored beside the files, so that damage to any of them is found.

    shard-0000/digests/
      00000000000000000007.json   {"format": 1, "files": {"documents.lance/data/x.lance": [2228, "ab.."], ...}, ...}

Files of a shard never change once they are written. Each commit adds a record of its new files, named after the
version; merging the fragments of a shard also merges its records into one of the remaining files. A shard written by an
earlier version of texthash has no records, or only those of its newer files.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from texthash.errors import TexthashError
from texthash.index.storage.document_map import map_files, newest_map
from texthash.index.storage.lance_errors import reading
from texthash.io.atomic import is_local, side_by_side, write_text
from texthash.io.digests import size_and_sha256
from texthash.io.listing import matching
from texthash.io.records import read_record, sealed, typed
from texthash.paths import as_path

if TYPE_CHECKING:
    import lance

DOCUMENTS = "documents.lance"
_FOLDER = "digests"
_FORMAT = 1
_REMEDY = "restore a backup, or `texthash index rollback` to an intact release."


class FileDigest(NamedTuple):
    """Size in bytes, and SHA-256 in hexadecimal."""

    bytes: int
    sha256: str


Digests = Mapping[str, FileDigest]


@dataclass(frozen=True)
class _Record:
    format: int
    files: dict[str, FileDigest]


def files_of(dataset: lance.LanceDataset) -> set[str]:
    """Return the files of a version of a shard, relative to the directory of the shard.

    They include the map of its documents, if there is one, but not Lance's transaction files, which are never read, nor
    the shard's ``manifest.json``, which is sealed.
    """
    return _files_of_lance(dataset) | map_files(_shard_of(dataset), dataset)


def _files_of_lance(dataset: lance.LanceDataset) -> set[str]:
    with reading(f"version {dataset.version} of {dataset.uri}"):
        found = {manifest_of(dataset.version)}
        for fragment in dataset.get_fragments():
            found.update(f"{DOCUMENTS}/data/{file.path}" for file in fragment.metadata.files)
            deletions = fragment.deletion_file()
            if deletions is not None:
                found.add(f"{DOCUMENTS}/{deletions}")
        root = _shard_of(dataset)
        for index in dataset.list_indices():
            folder = f"{DOCUMENTS}/_indices/{index['uuid']}"
            names = _names(root / folder) if is_local(root) else _names_of_objects(f"{root}/{folder}")
            found.update(f"{folder}/{name}" for name in names)
    return found


def _names(folder: Path) -> list[str]:
    return [path.name for path in matching(folder, "*")]


@lru_cache(maxsize=1024)
def _names_of_objects(folder: str) -> list[str]:
    """Return what :func:`_names` does, asking the object store once: the files of an index of Lance never change."""
    return _names(as_path(folder))


def manifest_of(version: int) -> str:
    """Return the path of Lance's manifest of a version. Names are reversed, so that the newest sorts first."""
    return f"{DOCUMENTS}/_versions/{2**64 - 1 - version:020d}.manifest"


def record_added(before: set[str], after: lance.LanceDataset) -> None:
    """Record the files that a commit has added.

    Args:
        before: Result of :func:`files_of` before the commit.
        after: Dataset after the commit.
    """
    record(_shard_of(after), files_of(after) - before, after.version)


def record(shard: Path, files: Collection[str], version: int) -> None:
    """Record size and digest of newly written files under the name of a version, beside those of the same name."""
    path = shard / _FOLDER / _name(version)
    known = _read(path) if path.exists() else {}
    _write(shard, {**known, **{name: _measured(shard / name) for name in sorted(files)}}, version)


def add_missing(shard: Path, dataset: lance.LanceDataset) -> int:
    """Record the present digests of those files of a version that have none yet, and return their number."""
    known = recorded(shard)
    missing = files_of(dataset) - known.keys()
    if missing:
        measured = {name: _measured(shard / name) for name in sorted(missing)}
        _write(shard, {**known, **measured}, dataset.version)
    return len(missing)


def tidy(shard: Path, version: int) -> None:
    """Merge the records into one that covers the remaining files."""
    records = _records(shard)
    if len(records) < 2:
        return
    remaining = {name: digest for name, digest in recorded(shard).items() if (shard / name).exists()}
    _write(shard, remaining, version)
    for path in records:
        if path.name != _name(version):
            path.unlink(missing_ok=True)


def recorded(shard: Path, after: int = -1) -> dict[str, FileDigest]:
    """Return the recorded digests of the files of a shard, by name; empty without records.

    Args:
        shard: Directory of the shard.
        after: Only records of later versions than this one are read; they hold all files that these added.

    Raises:
        TexthashError: A record is damaged.
    """
    while True:
        try:
            parts = list(side_by_side(_read, [path for path in _records(shard) if int(path.stem) > after]))
        except FileNotFoundError:  # The writer has merged the records meanwhile.
            continue
        return {name: digest for part in parts for name, digest in part.items()}


def check_files(shard: Path, files: Iterable[str], known: Digests) -> int:
    """Compare files with their recorded digests, and return the number of files without a record.

    Raises:
        TexthashError: A file is missing or damaged; the error names it.
    """
    names = sorted(files)
    problems = side_by_side(lambda name: _problem(shard / name, known.get(name)), names)
    _raise_damaged(shard, [f"{name} {problem}" for name, problem in zip(names, problems, strict=True) if problem])
    return sum(name not in known for name in names)


def check_listed(shard: Path, files: Iterable[str], known: Digests) -> None:
    """Check that each file of Lance has a recorded digest. Raises the same errors as :func:`check_files`."""
    unlisted = sorted(name for name in {*files} - known.keys() if name.startswith(f"{DOCUMENTS}/"))
    _raise_damaged(shard, [f"{name} has no checksum in {_FOLDER}/" for name in unlisted])


def check_sizes(shard: Path, files: Iterable[str], known: Digests) -> None:
    """Compare only the sizes, without reading. Raises the same errors as :func:`check_files`."""
    names = sorted(name for name in files if name in known)
    sizes = side_by_side(lambda name: _size(shard / name), names)
    _raise_damaged(
        shard,
        [
            f"{name} {'is missing' if size is None else f'has {size} bytes instead of {known[name].bytes}'}"
            for name, size in zip(names, sizes, strict=True)
            if size != known[name].bytes
        ],
    )


def check_manifest(shard: Path, version: int, after: int = -1) -> Digests:
    """Check Lance's manifest of a version before it is opened, and return the recorded digests of files.

    Args:
        shard: Directory of the shard.
        version: Version to be opened.
        after: As in :func:`recorded`.

    Raises the same errors as :func:`check_files`.
    """
    known = recorded(shard, after)
    check_files(shard, {manifest_of(version)} & known.keys(), known)
    return known


def check_opened(shard: Path, dataset: lance.LanceDataset, known: Digests, listed: bool = False) -> None:
    """Compare the sizes of all files of a version, and the digests of its deletion files.

    Args:
        shard: Directory of the shard.
        dataset: The version.
        known: Recorded digests.
        listed: Whether all files have to be among these.

    Raises the same errors as :func:`check_files`.
    """
    files = _files_of_lance(dataset)
    if newest_map(known, dataset.version) is not None:
        files |= map_files(shard, dataset)
    if listed:
        check_listed(shard, files, known)
    files &= known.keys()
    check_sizes(shard, files, known)
    check_files(shard, [name for name in files if name.startswith(f"{DOCUMENTS}/_deletions/")], known)


def _raise_damaged(shard: Path, damaged: list[str]) -> None:
    if damaged:
        more = f", and {len(damaged) - 3} more" if len(damaged) > 3 else ""
        raise TexthashError(f"{shard} is damaged: {', '.join(damaged[:3])}{more}.", _REMEDY)


def _problem(path: Path, known: FileDigest | None) -> str:
    try:
        if known is None:
            return "" if path.exists() else "is missing"
        found = _measured(path)
    except FileNotFoundError:
        return "is missing"
    if found.bytes != known.bytes:
        return f"has {found.bytes} bytes instead of {known.bytes}"
    return "" if found == known else "has other bytes than were written"


def _size(path: Path) -> int | None:
    try:
        return int(path.stat().st_size)
    except FileNotFoundError:
        return None


def _measured(path: Path) -> FileDigest:
    return FileDigest(*size_and_sha256(path))


def _shard_of(dataset: lance.LanceDataset) -> Path:
    uri = dataset.uri
    return as_path(uri.removeprefix("file://")).parent


def _name(version: int) -> str:
    return f"{version:020d}.json"


def _records(shard: Path) -> list[Path]:
    return matching(shard / _FOLDER, "*.json")


def _read(path: Path) -> dict[str, FileDigest]:
    found = typed(_Record, read_record(path, _REMEDY), path, _REMEDY)
    if found.format != _FORMAT:
        raise TexthashError(f"{path} has format {found.format}, but this version reads {_FORMAT}.", "upgrade texthash.")
    for name in found.files:
        if name.startswith("/") or ".." in name.split("/"):
            raise TexthashError(f"{path} is broken: {name!r} is no file of the shard.", _REMEDY)
    return found.files


def _write(shard: Path, files: Digests, version: int) -> None:
    if not files:
        return
    path = shard / _FOLDER / _name(version)
    write_text(path, json.dumps(sealed({"format": _FORMAT, "files": {n: list(d) for n, d in files.items()}})))
