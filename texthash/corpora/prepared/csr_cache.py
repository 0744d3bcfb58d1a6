"""Memory-mapped arrays of a split, built once from its Parquet shards: random access without loading the corpus."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from texthash.corpora.prepared.manifest import SplitCounts
from texthash.errors import CorpusError
from texthash.io.atomic import partial_name, read_parquet
from texthash.io.listing import matching
from texthash.io.ragged import from_arrow

CACHE = "csr-cache"
# Names of the cached arrays by list column of the shards.
LISTS = {"word_ids": "words", "tokens": "tokens", "label_ids": "labels"}
_ROWS_AT_A_TIME = 2048


def open_cache(shards: Path, cache: Path, counts: SplitCounts) -> dict[str, NDArray]:
    """Return the memory-mapped arrays of one split, which are built if this node has none.

    Args:
        shards: Directory of the split's Parquet shards.
        cache: Directory of the corpus' cache.
        counts: Sizes of the split, from the manifest.

    Returns:
        ``words``, ``tokens``, ``labels`` int32 with ``<name>_indptr`` int64 [documents + 1], and ``counts`` int32
        beside ``words``.
    """
    directory = make_once(cache / shards.name, lambda partial: _fill(shards, partial, counts))
    return load_arrays(directory)


def load_arrays(directory: Path) -> dict[str, NDArray]:
    """Return the memory-mapped arrays of a directory by name."""
    return {file.stem: np.load(file, mmap_mode="r") for file in matching(directory, "*.npy")}


def make_once(directory: Path, fill: Callable[[Path], None]) -> Path:
    """Return a directory of arrays, which is filled if it does not exist.

    It is written under a temporary name, then renamed; if two processes race, the directory of the first is kept.

    Raises:
        CorpusError: The directory cannot be written.
    """
    if directory.is_dir():
        return directory
    partial = partial_name(directory)
    try:
        partial.mkdir(parents=True)
        fill(partial)
        try:
            partial.rename(directory)
        except OSError:
            if not directory.is_dir():
                raise
    except OSError as error:
        raise CorpusError(
            f"memory-mapped arrays cannot be written to {directory}: {error}",
            "make it writable (TEXTHASH_CACHE names it for a corpus in a store), with room for about the size of the "
            "corpus' shards.",
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return directory


def _fill(shards: Path, partial: Path, counts: SplitCounts) -> None:
    sizes = {"words": counts.words, "tokens": counts.tokens, "labels": counts.labels}
    arrays = {name: _create(partial / f"{name}.npy", np.int32, size) for name, size in sizes.items()}
    arrays["counts"] = _create(partial / "counts.npy", np.int32, counts.words)
    for name in sizes:
        arrays[f"{name}_indptr"] = _create(partial / f"{name}_indptr.npy", np.int64, counts.documents + 1)
    row, filled = 0, dict.fromkeys(sizes, 0)
    for shard in matching(shards, "part-*.parquet"):
        for table in read_parquet(shard, [*LISTS, "counts"], _ROWS_AT_A_TIME):
            for column, name in LISTS.items():
                offsets, values = from_arrow(table.column(column))
                start = filled[name]
                arrays[name][start : start + len(values)] = values
                arrays[f"{name}_indptr"][row + 1 : row + 1 + len(table)] = start + offsets[1:]
                if column == "word_ids":
                    arrays["counts"][start : start + len(values)] = from_arrow(table.column("counts"))[1]
                filled[name] += len(values)
            row += len(table)
    if row != counts.documents or filled != sizes:
        raise CorpusError(
            f"the shards in {shards} hold {row} documents and {filled}, the manifest says {counts}.",
            "the corpus is damaged: delete its directory and prepare it again.",
        )
    for array in arrays.values():
        if isinstance(array, np.memmap):
            array.flush()


def _create(path: Path, dtype: type, size: int) -> NDArray:
    if size == 0:  # an empty file cannot be mapped
        np.save(path, np.empty(0, dtype))
        return np.empty(0, dtype)
    return np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=(size,))
