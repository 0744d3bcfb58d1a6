"""Search beside other libraries, and beside the time of reading the codes once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from itertools import cycle
from pathlib import Path
from typing import Annotated, Any

import numba
import numpy as np
import typer
from numpy.typing import NDArray

from benchmarks.code_sets import Codes, CodeSet, clustered_codes, learned_codes, random_codes
from benchmarks.engines import BY_DEFAULT, ENGINES, PACKAGES, Answer, Engine
from benchmarks.reporting import JsonOption, alternate, report
from benchmarks.search_plot import plot as draw
from texthash.errors import UsageError, nearest_name
from texthash.hamming._threads import run_parallel
from texthash.hamming.codes import check_bits, to_words
from texthash.progress import log_line

_DOCUMENTS = 10_000_000
# Numbers of queries whose answers are compared with those of the scan; for the scan itself, with those of numpy.
_CHECKED, _CHECKED_BY_NUMPY = 64, 2


def command(
    json: JsonOption = None,
    documents: Annotated[
        int | None, typer.Option(min=1, help="Number of codes in the index; default: 10 million, or all of --codes.")
    ] = None,
    bits: Annotated[list[int] | None, typer.Option(help="Bits of random codes; may be given several times.")] = None,
    codes: Annotated[
        list[Path] | None,
        typer.Option(help="A .npy file of codes (`benchmark.py codes`) instead of random ones; several times."),
    ] = None,
    clustered: Annotated[
        bool, typer.Option(help="Search 14 times the codes of the file: each with neighbours.")
    ] = False,
    k: Annotated[list[int] | None, typer.Option(help="Hits per query; may be given several times. 100.")] = None,
    threads: Annotated[list[int] | None, typer.Option(help="Threads per call; may be given several times. 1.")] = None,
    queries: Annotated[
        list[int] | None, typer.Option(help="Queries per call; may be given several times. 1 and 64.")
    ] = None,
    engine: Annotated[
        list[str] | None, typer.Option(help=f"May be given several times. Default: {', '.join(BY_DEFAULT)}.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of which the median is taken.")] = 9,
    plot: Annotated[Path | None, typer.Option(help="A PNG file for the times as bars.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the codes.")] = 0,
) -> None:
    """Measure the time of searches; ``bandwidth_share`` is the time of reading the codes once over the time."""
    engines = _chosen(engine)
    for option, values in (("--k", k), ("--threads", threads), ("--queries", queries)):
        if any(value < 1 for value in values or ()):
            raise UsageError(f"{option} is {min(values or ())}.", "give 1 or more.")
    if clustered and not codes:
        raise UsageError("--clustered needs codes.", "give --codes FILE.npy.")
    if codes and bits:
        raise UsageError("--bits is given with --codes, whose files determine the width.", "leave one of them out.")
    batches, counts = queries or [1, 64], threads or [1]
    asked = (rounds + 1) * max(batches)
    sets: Iterator[CodeSet]
    if codes:
        sets = ((clustered_codes if clustered else learned_codes)(path, documents, asked, seed) for path in codes)
    else:
        sets = (random_codes(documents or _DOCUMENTS, check_bits(width), asked, seed) for width in bits or [64])
    rows: list[dict[str, Any]] = []
    for searched in sets:
        rows += _measure(engines, searched, batches, k or [100], counts, rounds)
    report("search", rows, json)
    if plot:
        draw(rows, plot)


def _chosen(names: list[str] | None) -> list[str]:
    """Return the engines to measure, without those whose package is not installed."""
    for name in names or ():
        if name not in ENGINES:
            raise UsageError(f"there is no engine {name!r}", nearest_name(name, ENGINES))
    chosen = []
    for name in names or BY_DEFAULT:
        package = PACKAGES.get(name)
        if package and not find_spec(package):
            log_line(f"{name} is left out: {package} is not installed (pip install 'texthash[bench]')")
        else:
            chosen.append(name)
    return chosen


def _measure(
    names: list[str], searched: CodeSet, batches: list[int], ks: list[int], threads: list[int], rounds: int
) -> list[dict[str, Any]]:
    engines = {}
    for name in names:
        log_line(f"{searched.bits} bits: preparing {name}")
        engines[name] = ENGINES[name](searched.codes)
    words = to_words(searched.codes).reshape(-1)
    truth = ENGINES["texthash_flat"](searched.codes)
    rows = []
    for k in ks:
        judged = {name: _judged(engine, truth, searched, k) for name, engine in engines.items()}
        for count in batches:
            for used in threads:
                log_line(f"{searched.bits} bits, k = {k}, {count} queries a call, {used} threads: {rounds} rounds")
                calls: dict[str, Callable[[], Any]] = {"read_once": partial(_read_on, words, used)}
                calls |= {
                    name: partial(_next, engine, _blocks(searched.queries, count), k, used)
                    for name, engine in engines.items()
                }
                times = alternate(calls, rounds)
                shared = {
                    "codes": searched.kind,
                    "bits": searched.bits,
                    "documents": len(searched.codes),
                    "queries": count,
                    "threads": used,
                    "k": k,
                }
                reading = times.pop("read_once")
                # Time of one call of one query if it only read the codes. Two threads may read no faster than one if
                # memory, or a core that they share, is the limit.
                rows.append(
                    {"engine": "read_once", **shared, "k": 0, "queries": 1, "ms_per_query": reading}
                    | {"gb_per_s": words.nbytes / reading / 1e6}
                )
                for name, taken in times.items():
                    answer = engines[name].search(searched.queries[:count], k, used)
                    rows.append(
                        {"engine": name, **shared, "ms_per_query": taken / count}
                        | judged[name]
                        | {
                            "bytes_per_document": engines[name].size_bytes / len(searched.codes),
                            "bandwidth_share": reading / (taken / count),
                            "plan": _plan(answer),
                            "candidates": float(np.median(answer.candidates)) if len(answer.candidates) else None,
                        }
                    )
    return rows


def _blocks(queries: Codes, count: int) -> Iterator[Codes]:
    """Yield other queries in each round, the same for every engine, since the time of tables depends on the query."""
    return cycle([queries[start : start + count] for start in range(0, len(queries) - count + 1, count)])


def _next(engine: Engine, blocks: Iterator[Codes], k: int, threads: int) -> Answer:
    return engine.search(next(blocks), k, threads)


def _judged(engine: Engine, flat: Engine, searched: CodeSet, k: int) -> dict[str, Any]:
    """Return whether the distances are those of the k nearest codes, and the share of answers that are as near.

    The scan is compared with numpy, on few queries because numpy is slow, and any other engine with the scan.
    """
    if engine.scans:
        queries = searched.queries[:_CHECKED_BY_NUMPY]
        codes = searched.codes if engine.allowed is None else searched.codes[engine.allowed]
        expected = _nearest_distances(codes, queries, k)
    else:
        queries = searched.queries[:_CHECKED]
        expected = flat.search(queries, k, 1).distances
    found = engine.search(queries, k, 1).distances
    near = [int((mine <= true[-1]).sum()) if len(true) else 0 for mine, true in zip(found, expected, strict=True)]
    return {
        "exact": all(np.array_equal(mine, true) for mine, true in zip(found, expected, strict=True)),
        "recall": sum(near) / max(1, sum(len(true) for true in expected)),
    }


def _plan(answer: Answer) -> str | None:
    """Return the plans of the queries, the most frequent first."""
    return "+".join(name for name, _ in Counter(answer.plans).most_common()) or None


def _nearest_distances(codes: Codes, queries: Codes, k: int) -> list[NDArray[Any]]:
    """Return the k smallest distances of each query, by numpy alone."""
    nearest = []
    for query in queries:
        distances = np.zeros(len(codes), np.uint16)
        for byte in range(codes.shape[1]):
            distances += np.bitwise_count(codes[:, byte] ^ query[byte])
        nearest.append(np.sort(np.partition(distances, min(k, len(codes)) - 1)[:k]))
    return nearest


def _read_on(words: NDArray[np.uint64], threads: int) -> None:
    run_parallel([partial(_read, part) for part in np.array_split(words, threads)])


@numba.njit(nogil=True, cache=True)
def _read(words: NDArray[np.uint64]) -> np.uint64:
    """Read every word once, and return their sum, so that the compiler does not remove the reading."""
    total = np.uint64(0)
    for i in range(len(words)):
        total += words[i]
    return total
