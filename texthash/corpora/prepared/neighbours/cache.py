"""The neighbour graphs of a training split, kept on disk beside the corpus and memory-mapped.

A graph is named by its similarity: ``cosine:<weighting>``, such as ``cosine:tfidf``, ``dense:<source>``, the cosine of
the vectors of a source such as ``dense:minilm@<digest>``, or ``hamming:<method>-<bits>``, such as ``hamming:sth-64``.
Neighbours are ordered, so a graph of more neighbours is one of fewer as well. A graph of vectors lies in their folder:
who deletes them to store others deletes it too.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

import numpy as np

from texthash.config import Weighting
from texthash.corpora.prepared.embeddings.stored import feature_folder
from texthash.corpora.prepared.neighbours.search import Neighbours, Search, blocks_of, check_k, fill
from texthash.errors import CorpusError, UsageError, nearest_name
from texthash.executor import Executor
from texthash.io.atomic import exclusive
from texthash.io.listing import matching

# Fewer are not kept: a search over the number of neighbours then computes one graph.
_KEPT = 100


@dataclass(frozen=True)
class GraphName:
    """What neighbours are by.

    Attributes:
        kind: ``cosine``, ``dense`` or ``hamming``.
        of: The weighting, the source of the vectors, or the method and bits of the codes (``sth-64``).
    """

    kind: str
    of: str

    @classmethod
    def parse(cls, name: str) -> GraphName:
        """Raises :class:`UsageError` for a name that is none."""
        kind, _, of = name.partition(":")
        if kind == "cosine" and of in get_args(Weighting):
            return cls(kind, of)
        if kind == "hamming" and re.fullmatch(r"[a-z0-9_]+-\d+", of):
            return cls(kind, of)
        if kind == "dense" and of:
            return cls(kind, of)
        known = [*(f"cosine:{weighting}" for weighting in get_args(Weighting)), "dense:minilm", "hamming:sth-64"]
        raise UsageError(
            f"there is no graph {name!r} ({nearest_name(name, known)}).", f"use one of {', '.join(known)}."
        )

    @property
    def weighting(self) -> Weighting:
        """Of a cosine graph."""
        return cast("Weighting", self.of)

    def __str__(self) -> str:
        return f"{self.kind}:{self.of}"


def open_graph(cache: Path, name: GraphName, k: int, documents: int) -> Neighbours | None:
    """Return the first k neighbours of a graph that is kept, or None; memory-mapped int32 and float32 [N, k].

    Raises:
        CorpusError: The graph is of another number of documents than N.
    """
    kept = (int(path.name) for path in matching(_folder(cache, name), "[0-9]*"))
    wide = min((number for number in kept if number >= k), default=None)
    if wide is None:
        return None
    return _load(_folder(cache, name) / str(wide), k, documents)


def make_graph(
    cache: Path,
    name: GraphName,
    k: int,
    documents: int,
    search: Callable[[], Search],
    executor: Executor | None = None,
) -> Neighbours:
    """A graph as :func:`open_graph` gives it, found and kept first if it is not there.

    Args:
        cache: Directory of the corpus' cache.
        name: Of the graph.
        k: Neighbours wanted; at least 100 are kept, where there are so many.
        documents: Number N of documents.
        search: Makes what is searched, where that has to be done.
        executor: Runs the search; None: threads of this process.

    Raises:
        UsageError: unless k is from 1 to documents - 1.
        CorpusError: it cannot be written, or is there, of another number of documents.
    """
    check_k(k, documents)
    found = open_graph(cache, name, k, documents)
    if found:
        return found
    folder, wide = _folder(cache, name), min(max(k, _KEPT), documents - 1)
    try:
        # All workers of a training ask at once: one finds it, the others wait for it.
        with exclusive(folder / ".lock"):
            if not (folder / str(wide)).is_dir():
                partial = folder / f".{wide}"
                shutil.rmtree(partial, ignore_errors=True)
                partial.mkdir()
                shape = (documents, wide)
                rows = np.lib.format.open_memmap(partial / "rows.npy", "w+", np.int32, shape)
                weights = np.lib.format.open_memmap(partial / "weights.npy", "w+", np.float32, shape)
                found_in = search()
                fill(found_in, wide, rows, weights, blocks_of(found_in, wide, executor))
                rows.flush()
                weights.flush()
                partial.rename(folder / str(wide))
    except OSError as error:
        raise CorpusError(
            f"the graph {name} cannot be written to {folder}: {error}",
            f"make the directory writable, with {documents * wide * 8 / 1e6:,.0f} MB of room.",
        ) from error
    return _load(folder / str(wide), k, documents)


def _load(directory: Path, k: int, documents: int) -> Neighbours:
    rows, weights = (np.load(directory / f"{array}.npy", mmap_mode="r")[:, :k] for array in ("rows", "weights"))
    if len(rows) != documents:
        raise CorpusError(
            f"the neighbours in {directory} are of {len(rows)} training documents, the corpus has {documents}: they "
            f"were found before the edition changed.",
            f"delete {directory.parent}; training finds the neighbours again.",
        )
    return rows, weights


def _folder(cache: Path, name: GraphName) -> Path:
    if name.kind == "dense":
        return feature_folder(cache, name.of) / "graph"
    return cache / "graphs" / f"{name.kind}-{name.of}"
