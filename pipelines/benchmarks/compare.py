"""Texthash beside other engines of vectors, on the same codes and queries."""

from __future__ import annotations

import csv as csv_lines
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import psutil
import typer
from numpy.typing import NDArray

from benchmarks.peers import GROUPS, PEERS, Found, Peer, Rows, Search, Texts
from benchmarks.reporting import JsonOption, alternate, milliseconds, report
from texthash import train
from texthash.errors import UsageError
from texthash.progress import log_line

K, OVERSAMPLE, BATCH = 10, 10, 64
_ADDED = 1_000
_CHECKED = 100  # documents that are searched for after a write
_AT_ONCE = 256
_WARM = 1_000
_FILTERED = 100  # queries of which filtered answers are checked: Qdrant's local mode takes a second for each
_VERSIONS = {"faiss": "faiss-cpu", "lance": "pylance", "qdrant_client": "qdrant-client"}


def command(
    texts: Annotated[
        Path | None, typer.Option(help="JSON lines with a text each, plain or .gz; the encoder makes vectors of them.")
    ] = None,
    vectors: Annotated[Path | None, typer.Option(help="Instead of texts: a .npy file of vectors [N, D].")] = None,
    json: JsonOption = None,
    csv: Annotated[
        Path | None, typer.Option(help="Also write a CSV file: configs/comparison.csv is that of docs/comparison.md.")
    ] = None,
    encoder: Annotated[str, typer.Option(help="Sentence encoder of the texts.")] = "minilm",
    documents: Annotated[int, typer.Option(min=100, help="Documents in each index.")] = 50_000,
    queries: Annotated[int, typer.Option(min=BATCH, help="Queries, which are not among the documents.")] = 1_000,
    bits: Annotated[int, typer.Option(min=8, help="Bits of the codes, which ITQ learns from the documents.")] = 256,
    peer: Annotated[
        list[str] | None, typer.Option(help=f"May be given several times. Default: all of {', '.join(PEERS)}.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of which the median is taken.")] = 15,
) -> None:
    """Measure recall of the ten nearest vectors, bytes, times of searching, building and adding, and filters.

    Everything runs on one core, with one thread each, and engines take turns in every round. Times are those that the
    process was computing, so that other work of the machine does not count.
    """
    _use_one_core()
    for name in peer or ():
        if name not in PEERS:
            raise UsageError(f"there is no engine {name!r} to compare with.", f"name one of {', '.join(PEERS)}.")
    found = _vectors(texts, vectors, encoder, documents + queries + _ADDED)
    size = len(found) - queries - _ADDED
    asked, held, added = found[:queries], found[queries : queries + size], found[queries + size :]
    log_line(f"learning {bits} bits of {size} vectors")
    model = train("itq", vectors=held, bits=bits)
    searched, queried, more = (Texts(model.encode_vectors(some), some) for some in (held, asked, added))
    rows = _measure(peer or list(PEERS), searched, queried, more, rounds)
    report(f"{size} documents, {queries} queries, {bits} bits, one core", rows, json)
    if csv:
        _write(csv, rows)


def _use_one_core() -> None:
    """Give all libraries one core and one thread, before those that ask for the number of cores are imported."""
    import torch

    process = psutil.Process()
    process.cpu_affinity(process.cpu_affinity()[-1:])
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "LANCE_CPU_THREADS"):
        os.environ[name] = "1"
    torch.set_num_threads(1)


def _vectors(texts: Path | None, vectors: Path | None, encoder: str, number: int) -> NDArray[np.float32]:
    """Return up to ``number`` unit vectors in an order by chance."""
    if (texts is None) == (vectors is None):
        raise UsageError("either --texts or --vectors are needed.", "give one of them.")
    random = np.random.default_rng(0)
    if vectors is not None:
        found = np.load(vectors, allow_pickle=False).astype(np.float32)
        found = found[random.permutation(len(found))[:number]]
    else:
        assert texts is not None
        import pandas as pd

        from texthash.corpora.prepared.embeddings.encoder import open_encoder

        read = pd.read_json(texts, lines=True)["text"].astype(str).tolist()
        chosen = [read[row] for row in random.permutation(len(read))[:number].tolist()]
        log_line(f"encoding {len(chosen)} texts by {encoder}")
        found = open_encoder(encoder).encode(chosen)
    if len(found) < 2 * BATCH + _ADDED:
        raise UsageError(f"there are {len(found)} vectors.", f"give {2 * BATCH + _ADDED} or more.")
    unit: NDArray[np.float32] = found / np.linalg.norm(found, axis=1, keepdims=True)
    return unit


def _measure(names: list[str], documents: Texts, queries: Texts, added: Texts, rounds: int) -> list[dict[str, Any]]:
    log_line("comparing every query with every document")
    nearest = _nearest_vectors(documents, queries)
    expected, filtered = (_nearest_codes(documents, queries, every) for every in (1, GROUPS))
    rows: dict[str, dict[str, Any]] = {}
    peers: dict[str, Peer] = {}
    for name in names:
        packages, make = PEERS[name]
        absent = [package for package in packages if not find_spec(package)]
        if absent:
            rows[name] = {"engine": name, "version": "not installed"}
            continue
        log_line(f"building {name}")
        make(documents.part(0, _WARM))  # imports packages and compiles functions
        start = time.process_time()
        peers[name] = make(documents)
        seconds = time.process_time() - start
        rows[name] = {
            "engine": name,
            "version": _version(packages),
            "codes": peers[name].own_codes or f"ITQ, {8 * documents.codes.shape[1]} bits",
            "bytes_per_document": peers[name].size_bytes / len(documents.codes),
            "build_s": seconds,
        }
        rows[name] |= _quality(peers[name], documents, queries, nearest, expected, filtered)
    for name, times in _times(peers, documents, queries, rounds).items():
        rows[name] |= times
    for name, found in peers.items():
        if found.add is not None:
            rows[name] |= _written(found.add, len(documents.codes), added)
    return list(rows.values())


def _quality(
    peer: Peer, documents: Texts, queries: Texts, nearest: NDArray[np.int64], expected: Found, filtered: Found
) -> dict[str, Any]:
    """Return recall of the nearest vectors, and the shares of queries that are answered as by brute force."""
    found = peer.search(queries, K)
    wider = peer.search(queries, K * OVERSAMPLE)
    row: dict[str, Any] = {
        "recall": _recall(found.rows, nearest),
        "recall_rescored": _recall(_rescored(wider.rows, documents, queries), nearest),
        "recall_own_rescoring": _recall(peer.rescored(queries, K).rows, nearest) if peer.rescored else None,
    }
    if found.distances is not None and expected.distances is not None:
        row["exact"] = _same(found.distances, expected.distances)
        row["ties_in_order"] = _same(found.rows, expected.rows)
        if peer.filtered is not None and filtered.distances is not None:
            few = peer.filtered(queries.part(0, _FILTERED), K).distances or []
            row["filtered_exact"] = _same(few, filtered.distances[:_FILTERED])
    return row


def _times(peers: dict[str, Peer], documents: Texts, queries: Texts, rounds: int) -> dict[str, dict[str, float]]:
    """Return milliseconds a query of each engine: one a call, a batch a call, rescored, filtered."""
    log_line(f"timing {rounds} rounds")
    last = len(queries.codes) - BATCH

    def turns(search: Callable[[Texts], Any], size: int) -> Callable[[], Any]:
        """Return a function that searches for other queries at each call."""
        firsts = iter(range(10**9))
        return lambda: search(queries.part(first := next(firsts) * size % last, first + size))

    def rescored(search: Search, some: Texts) -> Rows:
        return _rescored(search(some, K * OVERSAMPLE).rows, documents, some)

    calls: dict[tuple[str, str], Callable[[], Any]] = {}
    for name, peer in peers.items():
        calls[name, "ms_single"] = turns(partial(_top, peer.search), 1)
        calls[name, "ms_batched"] = turns(partial(_top, peer.search), BATCH)
        own = peer.rescored
        calls[name, "ms_rescored"] = turns(partial(_top, own) if own else partial(rescored, peer.search), 1)
        if peer.filtered:
            calls[name, "ms_filtered"] = turns(partial(_top, peer.filtered), 1)
    found: dict[str, dict[str, float]] = {name: {} for name in peers}
    taken = alternate({f"{name}\t{step}": call for (name, step), call in calls.items()}, rounds, time.process_time)
    for key, spent in taken.items():
        name, step = key.split("\t")
        found[name][step] = spent / (BATCH if step == "ms_batched" else 1)
    return found


def _top(search: Search, queries: Texts) -> Found:
    return search(queries, K)


def _written(add: Callable[[Texts], Search], held: int, added: Texts) -> dict[str, float]:
    """Return the time of adding documents, and the share of some of them that a search finds then."""
    searches: list[Search] = []
    taken = milliseconds(lambda: searches.append(add(added)), time.process_time)
    (search,) = searches
    found = search(added.part(0, _CHECKED), K).rows
    return {
        "ms_to_add_1000": taken,
        "added_found": float(np.mean([held + row in own for row, own in enumerate(found)])),
    }


def _nearest_vectors(documents: Texts, queries: Texts) -> NDArray[np.int64]:
    """Return the rows of the ten nearest vectors of each query, int64 [Q, 10]."""
    found = []
    for first in range(0, len(queries.vectors), _AT_ONCE):
        cosines = queries.vectors[first : first + _AT_ONCE] @ documents.vectors.T
        found.append(np.argpartition(-cosines, K, axis=1)[:, :K])
    return np.concatenate(found)


def _nearest_codes(documents: Texts, queries: Texts, every: int) -> Found:
    """Return the nearest codes by numpy, those at one distance by row, among every document of a step of rows."""
    word = np.uint64 if documents.codes.shape[1] % 8 == 0 else np.uint8
    words = np.ascontiguousarray(documents.codes[::every]).view(word)
    rows, distances = [], []
    for query in queries.codes.view(words.dtype):
        counted = np.bitwise_count(words ^ query).sum(axis=1, dtype=np.int64)
        # Distance and row in one number: the smallest are the nearest, and of equal ones the first.
        best = np.sort(np.partition(counted * len(words) + np.arange(len(words)), K)[:K])
        rows.append(best % len(words) * every)
        distances.append(best // len(words))
    return Found(rows, distances)


def _rescored(found: Rows, documents: Texts, queries: Texts) -> Rows:
    """Return the ten of the candidates of each query whose vectors are nearest."""
    return [
        rows[np.argsort(-(documents.vectors[rows] @ vector))[:K]]
        for rows, vector in zip(found, queries.vectors, strict=True)
    ]


def _recall(found: Rows, nearest: NDArray[np.int64]) -> float:
    return float(np.mean([len(np.intersect1d(own, best)) / K for own, best in zip(found, nearest, strict=True)]))


def _same(found: Rows, expected: Rows) -> float:
    """Return the share of queries with equal values."""
    return float(np.mean([np.array_equal(own, best) for own, best in zip(found, expected, strict=True)]))


def _version(packages: Sequence[str]) -> str:
    return version(_VERSIONS.get(packages[0], packages[0])) if packages else version("texthash")


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv_lines.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({name: f"{v:.5g}" if isinstance(v, float) else v for name, v in row.items()})
