"""Exact search over random codes, beside other libraries and beside the time it takes to read the codes once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Annotated, Any

import numba
import numpy as np
import typer
from numpy.typing import NDArray

from benchmarks.reporting import JsonOption, alternate, report
from texthash.errors import UsageError, nearest_name
from texthash.hamming import kernels
from texthash.hamming.codes import check_bits, to_words
from texthash.progress import say
from texthash.search.flat import FlatIndex

Codes = NDArray[np.uint8]
Distances = NDArray[np.integer[Any]]
# An engine with codes in it: a search of query codes for their distances, and the bytes it holds.
Prepared = tuple[Callable[[Codes], Distances], int]
Engine = Callable[[Codes, int, int], Prepared]


def command(
    json: JsonOption,
    documents: Annotated[int, typer.Option(min=1, help="Codes in the index.")] = 10_000_000,
    bits: Annotated[list[int] | None, typer.Option(help="Bits of a code; may be given several times.")] = None,
    k: Annotated[int, typer.Option(min=1, help="Hits per query.")] = 100,
    threads: Annotated[int, typer.Option(min=1, help="Threads per call.")] = 1,
    queries: Annotated[list[int] | None, typer.Option(help="Queries per call; may be given several times.")] = None,
    engine: Annotated[
        list[str] | None, typer.Option(help="An engine to measure; may be given several times. All but usearch.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of which the median is taken.")] = 9,
    seed: Annotated[int, typer.Option(help="Seed of the random codes.")] = 0,
) -> None:
    """Time exact search (rows as DESIGN names them; ``share_of_read`` = time of reading the codes once / time)."""
    engines = _chosen(engine)
    rows: list[dict[str, Any]] = []
    for width in bits or [64]:
        rows += _measure(engines, documents, check_bits(width), k, threads, queries or [1, 64], rounds, seed)
    report(f"exact search, {documents:,} random codes", rows, json)


def _chosen(names: list[str] | None) -> list[str]:
    """Return the engines to measure, without those whose package is not installed."""
    for name in names or ():
        if name not in _ENGINES:
            raise UsageError(f"there is no engine {name!r}", nearest_name(name, _ENGINES))
    chosen = []
    for name in names or _BY_DEFAULT:
        package = _PACKAGES.get(name)
        if package and not find_spec(package):
            say(f"{name} is left out: {package} is not installed (pip install 'texthash[bench]')")
        else:
            chosen.append(name)
    return chosen


def _measure(
    names: list[str], documents: int, bits: int, k: int, threads: int, batches: list[int], rounds: int, seed: int
) -> list[dict[str, Any]]:
    random = np.random.default_rng(seed)
    codes = random.integers(0, 256, (documents, bits // 8), dtype=np.uint8)
    engines = {}
    for name in names:
        say(f"{bits} bits: preparing {name}")
        engines[name] = _ENGINES[name](codes, k, threads)
    words = to_words(codes).reshape(-1)
    rows = []
    for count in batches:
        queries = random.integers(0, 256, (count, bits // 8), dtype=np.uint8)
        expected = {
            half: _nearest_distances(codes[_half(documents)] if half else codes, queries[:2], k)
            for half in (False, True)
        }
        exact = {
            name: np.array_equal(search(queries)[:2], expected[name == "texthash_flat_half_allowed"])
            for name, (search, _) in engines.items()
        }
        say(f"{bits} bits, {count} queries a call: {rounds} rounds")
        calls: dict[str, Callable[[], Any]] = {"read_once": partial(_read, words)}
        calls |= {name: partial(search, queries) for name, (search, _) in engines.items()}
        times = alternate(calls, rounds)
        shared = {"bits": bits, "documents": documents, "queries": count, "threads": threads, "k": k}
        for name, taken in times.items():
            row = {"engine": name, **shared, "ms_per_query": taken / count, "share_of_read": None}
            if name == "read_once":
                # One thread reads; the time is what one call of one query would need if reading were all of it.
                row |= {
                    "threads": 1,
                    "k": 0,
                    "queries": 1,
                    "ms_per_query": taken,
                    "gb_per_s": words.nbytes / taken / 1e6,
                }
            else:
                row |= {
                    "share_of_read": times["read_once"] / (taken / count),
                    "exact": exact[name],
                    "bytes_per_document": engines[name][1] / documents,
                }
            rows.append(row)
    return rows


def _texthash(codes: Codes, k: int, threads: int) -> Prepared:
    index = FlatIndex(codes, np.arange(len(codes)))
    return lambda queries: np.stack(index.search(queries, k, threads=threads).distances), index.size_bytes


def _texthash_half(codes: Codes, k: int, threads: int) -> Prepared:
    """Search the same way with a mask that allows a random half of the documents: what a label filter costs."""
    index = FlatIndex(codes, np.arange(len(codes)))
    allow = kernels.pack_allow(_half(len(codes)))
    return (
        lambda queries: np.stack(index.search(queries, k, allow=allow, threads=threads).distances),
        index.size_bytes + allow.nbytes,
    )


def _faiss(codes: Codes, k: int, threads: int) -> Prepared:
    import faiss

    faiss.omp_set_num_threads(threads)
    index = faiss.IndexBinaryFlat(8 * codes.shape[1])
    index.add(codes)
    return lambda queries: index.search(queries, k)[0], codes.nbytes


def _usearch(codes: Codes, k: int, threads: int) -> Prepared:
    from usearch.index import MetricKind, search

    def found(queries: Codes) -> Distances:
        matches = search(codes, queries, k, MetricKind.Hamming, exact=True, threads=threads, dtype="b1")
        return np.atleast_2d(matches.distances).astype(np.int64)

    return found, codes.nbytes


def _half(documents: int) -> NDArray[np.bool_]:
    return np.random.default_rng(1).random(documents) < 0.5


def _nearest_distances(codes: Codes, queries: Codes, k: int) -> Distances:
    """Return the k smallest distances of each query, by numpy alone."""
    nearest = []
    for query in queries:
        distances = np.zeros(len(codes), np.uint16)
        for byte in range(codes.shape[1]):
            distances += np.bitwise_count(codes[:, byte] ^ query[byte])
        nearest.append(np.sort(np.partition(distances, min(k, len(codes)) - 1)[:k]))
    return np.stack(nearest)


@numba.njit(nogil=True, cache=True)
def _read(words: NDArray[np.uint64]) -> int:
    """Read every word once, and add them up for the compiler not to leave it out."""
    total = np.uint64(0)
    for i in range(len(words)):
        total += words[i]
    return total


_ENGINES: dict[str, Engine] = {
    "texthash_flat": _texthash,
    "texthash_flat_half_allowed": _texthash_half,
    "faiss_flat": _faiss,
    "usearch_exact": _usearch,
}
# usearch takes a hundred times as long as the others: only when asked for.
_BY_DEFAULT = ("texthash_flat", "texthash_flat_half_allowed", "faiss_flat")
_PACKAGES = {"faiss_flat": "faiss", "usearch_exact": "usearch"}
