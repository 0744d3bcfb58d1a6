"""Search engines of the benchmark, behind one interface."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import psutil
from numpy.typing import NDArray

from texthash.hamming import kernels
from texthash.index.memory.cost_model import Plan
from texthash.index.memory.hits import Hits
from texthash.index.memory.multi_index import MultiIndex

Codes = NDArray[np.uint8]
HALF, PERCENT = 0.5, 0.01


class Answer(NamedTuple):
    """Answer of an engine: distances of each query, and, if the engine reports them, plans and numbers of codes met."""

    distances: list[NDArray[Any]]
    plans: list[str]
    candidates: NDArray[np.int64]


@dataclass(frozen=True)
class Engine:
    """Engine with an index of the codes.

    Attributes:
        search: Function of query codes, k and number of threads.
        size_bytes: Memory of the index.
        scans: Whether this is the scan with which the other engines are compared.
        allowed: Rows that may be returned, bool [N]; None: all of them.
    """

    search: Callable[[Codes, int, int], Answer]
    size_bytes: int
    scans: bool = False
    allowed: NDArray[np.bool_] | None = None


def _texthash_flat(codes: Codes, share: float | None = None) -> Engine:
    """Return texthash's scan; with a random share of the documents allowed, it measures the cost of a label filter."""
    index = MultiIndex(codes, np.arange(len(codes)))
    if share is None:
        return Engine(
            lambda queries, k, threads: _answer(index.search(queries, k, threads=threads, plan="flat")),
            index.size_bytes,
            True,
        )
    allowed = np.random.default_rng(1).random(len(codes)) < share
    mask = kernels.pack_allow(allowed)
    return Engine(
        lambda queries, k, threads: _answer(index.search(queries, k, allow=mask, threads=threads, plan="flat")),
        index.size_bytes + mask.nbytes,
        True,
        allowed,
    )


def _texthash(codes: Codes, plan: Plan) -> Engine:
    index = MultiIndex(codes, np.arange(len(codes))).prepare()
    index.search(codes[:1], 1, plan=plan)  # builds the tables of a small index, which prepare does not
    return Engine(
        lambda queries, k, threads: _answer(index.search(queries, k, threads=threads, plan=plan)), index.size_bytes
    )


def _faiss(codes: Codes, make: Callable[[Any, int, int], Any]) -> Engine:
    import faiss

    before = psutil.Process().memory_info().rss
    index = make(faiss, 8 * codes.shape[1], len(codes))
    index.add(codes)
    grown = psutil.Process().memory_info().rss - before

    def search(queries: Codes, k: int, threads: int) -> Answer:
        faiss.omp_set_num_threads(threads)
        distances, rows = index.search(queries, k)
        return Answer([near[found >= 0] for near, found in zip(distances, rows, strict=True)], [], _NONE)

    return Engine(search, max(grown, codes.nbytes))


def _faiss_flat(faiss: Any, bits: int, documents: int) -> Any:
    return faiss.IndexBinaryFlat(bits)


def _faiss_mih(faiss: Any, bits: int, documents: int) -> Any:
    """Return faiss' multi-index hashing, which is not exact, since it flips a limited number of bits."""
    width = max(4, min(bits, round(math.log2(max(2, documents)))))
    index = faiss.IndexBinaryMultiHash(bits, max(1, bits // width), width)
    index.nflip = 2
    return index


def _faiss_hnsw(faiss: Any, bits: int, documents: int) -> Any:
    index = faiss.IndexBinaryHNSW(bits, 16)
    index.hnsw.efSearch = 64
    return index


def _usearch(codes: Codes) -> Engine:
    from usearch.index import MetricKind, search

    def found(queries: Codes, k: int, threads: int) -> Answer:
        matches = search(codes, queries, k, MetricKind.Hamming, exact=True, threads=threads, dtype="b1")
        return Answer(list(np.atleast_2d(matches.distances).astype(np.int64)), [], _NONE)

    return Engine(found, codes.nbytes)


def _answer(hits: Hits) -> Answer:
    return Answer(hits.distances, hits.plans, hits.candidates)


_NONE = np.empty(0, np.int64)
ENGINES: dict[str, Callable[[Codes], Engine]] = {
    "texthash_flat": _texthash_flat,
    "texthash_flat_half_allowed": lambda codes: _texthash_flat(codes, HALF),
    "texthash_flat_percent_allowed": lambda codes: _texthash_flat(codes, PERCENT),
    "texthash_mih": lambda codes: _texthash(codes, "mih"),
    "texthash_auto": lambda codes: _texthash(codes, "auto"),
    "faiss_flat": lambda codes: _faiss(codes, _faiss_flat),
    "faiss_mih": lambda codes: _faiss(codes, _faiss_mih),
    "faiss_hnsw": lambda codes: _faiss(codes, _faiss_hnsw),
    "usearch_exact": _usearch,
}
# The others are measured on request only: with 10 million codes they take minutes to build, or search 100 times slower.
BY_DEFAULT = tuple(name for name in ENGINES if name not in ("faiss_mih", "faiss_hnsw", "usearch_exact"))
PACKAGES = {"faiss_flat": "faiss", "faiss_mih": "faiss", "faiss_hnsw": "faiss", "usearch_exact": "usearch"}
