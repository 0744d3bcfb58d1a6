"""Documents of a shard in an Arrow file that is mapped into memory, beside the Lance dataset that holds the same rows.

    shard-0000/maps/
      00000000000000000002.arrow   every column but words and vectors, with the row address of each row, ascending

A map is written when a shard is built or compacted, named after the version that it was made from, and never changed. A
row is read from it in microseconds, where Lance takes a millisecond. Rows that were written later are not in it and are
read from Lance. A map in an object store is copied to the disk of the node that searches. Nothing depends on a map: a
shard without one, such as one of an earlier version, has the same answers.

A row address, fragment and row in it, names the same row in every version that has the fragment. A restore may use the
number of a fragment again, so a map also names the data files of its fragments, whose names are unique.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from copy import copy as copy_of
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from texthash.index.storage.arrow_schema import VECTOR, WORDS
from texthash.index.storage.lance_errors import reading
from texthash.io.atomic import is_local, readable, whole
from texthash.io.listing import matching
from texthash.io.local_copies import HeldCopy
from texthash.paths import as_path

if TYPE_CHECKING:
    import lance

Copy = Callable[[Path], HeldCopy | None]
FOLDER = "maps"
_FRAGMENTS = b"fragments"
_ADDRESS = "_rowaddr"
_ROWS = 65_536
_OFFSET_BITS = np.uint64(32)
# Up to so many rows of a batch, values are read one by one.
_FEW = 64


class DocumentMap:
    """Mapped documents of one version of a shard, opened by :meth:`of`.

    Args:
        path: Path of the file in the shard.
        reader: Reader of the mapped file, or of its local copy.
        fragments: Fragments of the file that the version has, uint64, ascending.
        complete: True if these are all fragments of the file.
        held: Local copy that the file is, held as long as the map is used; None for a file of the shard itself.
    """

    def __init__(
        self,
        path: Path,
        reader: pa.RecordBatchFileReader,
        fragments: NDArray[np.uint64],
        complete: bool,
        held: HeldCopy | None = None,
    ) -> None:
        self._path = path
        self._fragments = fragments
        self._complete = complete
        self._held = held
        batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
        self._batches = sorted(batches, key=lambda batch: batch.column(_ADDRESS)[0].as_py())
        self._addresses = [batch.column(_ADDRESS).to_numpy() for batch in self._batches]
        self._firsts = np.array([own[0] for own in self._addresses], np.uint64)
        self.columns = frozenset(reader.schema.names) - {_ADDRESS}

    @classmethod
    def of(
        cls, shard: Path, dataset: lance.LanceDataset, copy: Copy | None = None, before: DocumentMap | None = None
    ) -> DocumentMap | None:
        """Open the newest map of a shard that has rows of a version; None without one.

        Args:
            shard: Directory of the shard.
            dataset: Version of its documents.
            copy: Function that returns the local copy of a map in an object store, given its path there, or None if
                there is no room for it; None opens only maps of this file system.
            before: Map of another version of the shard, whose open file is used again if it is the same one.
        """
        if not is_local(shard) and copy is None:
            return None
        newest = _newest(shard, dataset)
        if newest is None:
            return None
        path, own, complete = newest
        if before is not None and before._path == path:
            return before._of_version(own, complete)
        held = None
        if copy is not None and not is_local(path):
            held = copy(path)
            if held is None:
                return None
        file = path if held is None else held.path
        with reading(str(file)):
            return cls(path, _open(file), own, complete, held)

    def _of_version(self, fragments: NDArray[np.uint64], complete: bool) -> DocumentMap:
        """Return the same file as the map of another version."""
        other = copy_of(self)
        other._fragments, other._complete = fragments, complete
        return other

    @property
    def is_copy(self) -> bool:
        """True if the file is a local copy, so that the rows that it lacks are in an object store."""
        return self._held is not None

    def holds(self, addresses: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Return which row addresses of the version are in the map, bool [N]."""
        found = np.zeros(len(addresses), np.bool_)
        for batch, rows in self._by_batch(addresses):
            own = self._addresses[batch]
            at = np.minimum(np.searchsorted(own, addresses[rows]), len(own) - 1)
            found[rows] = own[at] == addresses[rows]
        if not self._complete:
            found &= ~self.lacks(addresses)
        return found

    def lacks(self, addresses: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Return which row addresses of the version are in fragments that the map does not have, bool [N]."""
        return ~np.isin(addresses >> _OFFSET_BITS, self._fragments)

    def rows(self, addresses: NDArray[np.uint64], columns: Sequence[str]) -> list[dict[str, Any]]:
        """Return columns of the rows at some addresses, all of which are in the map, in their order."""
        found: list[dict[str, Any]] = [{}] * len(addresses)
        for number, rows in self._by_batch(addresses):
            batch = self._batches[number].select(list(columns))
            at = np.searchsorted(self._addresses[number], addresses[rows])
            if len(rows) > _FEW:
                values = batch.take(pa.array(at)).to_pylist()
            else:
                parts = [[column[place].as_py() for place in at.tolist()] for column in batch.columns]
                values = [dict(zip(columns, own, strict=True)) for own in zip(*parts, strict=True)]
            for row, value in zip(rows.tolist(), values, strict=True):
                found[row] = value
        return found

    def _by_batch(self, addresses: NDArray[np.uint64]) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """Yield batches with the positions of the addresses that can be in them."""
        batches = np.searchsorted(self._firsts, addresses, "right") - 1
        if len(self._firsts) == 1 and len(batches) and batches.min() == 0:
            yield 0, np.arange(len(addresses))
            return
        order = np.argsort(batches, kind="stable")
        for batch, rows in groupby(order.tolist(), key=batches.__getitem__):
            if batch >= 0:
                yield int(batch), np.fromiter(rows, np.int64)


def write_map(shard: Path, dataset: lance.LanceDataset) -> None:
    """Write the map of a version of a shard."""
    if not dataset.count_rows():
        return
    names = [name for name in dataset.schema.names if name not in (WORDS, VECTOR)]
    fragments = {str(fragment.fragment_id): _files(fragment) for fragment in dataset.get_fragments()}
    columns = pa.schema([dataset.schema.field(name) for name in names]).append(pa.field(_ADDRESS, pa.uint64()))
    columns = columns.with_metadata({_FRAGMENTS: json.dumps(fragments).encode()})
    with (
        whole(shard / FOLDER / _name(dataset.version)) as partial,
        pa.OSFile(str(partial), "wb") as sink,
        pa.ipc.new_file(sink, columns) as file,
    ):
        # Scanned as a whole, Lance would read far ahead: of a small shard all texts.
        for first in range(0, dataset.count_rows(), _ROWS):
            part = dataset.scanner(columns=names, with_row_address=True, scan_in_order=True, offset=first, limit=_ROWS)
            (rows,) = part.to_table().select(columns.names).cast(columns).combine_chunks().to_batches()
            file.write_batch(rows)


def map_files(shard: Path, dataset: lance.LanceDataset) -> set[str]:
    """Return the map that a version of a shard uses, relative to the directory of the shard, if there is one."""
    newest = _newest(shard, dataset)
    return set() if newest is None else {f"{FOLDER}/{newest[0].name}"}


def newest_map(files: Iterable[str], version: int) -> str | None:
    """Return which of some files of a shard is the newest map up to a version; None if there is none."""
    maps = [name for name in files if name.startswith(f"{FOLDER}/") and _version(Path(name)) <= version]
    return max(maps, default=None)


def drop_maps(shard: Path, versions: Collection[int]) -> None:
    """Delete the maps that none of the remaining versions of a shard uses."""
    paths = {f"{FOLDER}/{path.name}": path for path in _maps(shard, max(versions))}
    used = {newest_map(paths, version) for version in versions}
    for name, path in paths.items():
        if name not in used:
            path.unlink(missing_ok=True)


def _maps(shard: Path, version: int) -> Iterator[Path]:
    """Yield the maps that were made from this version or an earlier one, newest first."""
    numbered = (path for path in matching(shard / FOLDER, "*.arrow") if path.stem.isdigit())
    yield from sorted((path for path in numbered if _version(path) <= version), key=_version, reverse=True)


def _newest(shard: Path, dataset: lance.LanceDataset) -> tuple[Path, NDArray[np.uint64], bool] | None:
    """Return the newest map with rows of a version, the fragments that the version has, and whether these are all."""
    for path in _maps(shard, dataset.version):
        with reading(str(path)):
            known = _fragments_of(path) if is_local(path) else _fragments_of_object(str(path))
        own = _of_version(known, dataset)
        if len(own):
            return path, own, len(own) == len(known)
    return None


def _open(path: Path) -> pa.RecordBatchFileReader:
    """Open a mapped file, or an object, of which only the end is fetched."""
    return pa.ipc.open_file(pa.memory_map(str(path)) if is_local(path) else readable(path))


def _of_version(known: dict[str, list[str]], dataset: lance.LanceDataset) -> NDArray[np.uint64]:
    """Return the fragments of a map that a version has, with the same files."""
    own = [
        fragment.fragment_id
        for fragment in dataset.get_fragments()
        if set(known.get(str(fragment.fragment_id), [""])) <= set(_files(fragment))
    ]
    return np.array(sorted(own), np.uint64)


def _fragments_of(path: Path) -> dict[str, list[str]]:
    """Return the data files of each fragment of a map."""
    found: dict[str, list[str]] = json.loads((_open(path).schema.metadata or {}).get(_FRAGMENTS, b"{}"))
    return found


@lru_cache(maxsize=1024)
def _fragments_of_object(name: str) -> dict[str, list[str]]:
    """Return what :func:`_fragments_of` does, asking the object store once: a map never changes."""
    return _fragments_of(as_path(name))


def _files(fragment: lance.LanceFragment) -> list[str]:
    return [file.path for file in fragment.metadata.files]


def _version(path: Path) -> int:
    return int(path.stem)


def _name(version: int) -> str:
    return f"{version:020d}.arrow"
