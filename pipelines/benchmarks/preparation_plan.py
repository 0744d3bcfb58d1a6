"""What the preparation of a corpus of another size would take, computed from rates measured on this one.

Reckoned with, and not measured here: that every worker has a core of its own, that an object store gives each worker
what a local disk gives it here, and that work grows with the documents. The driver's own work (checksums of the source,
ids and splits, merging counts, the manifest) is not spread, so it bounds what more workers gain.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from texthash.config import CorpusConfig
from texthash.corpora.prepare import run
from texthash.corpora.staging import Staging
from texthash.home import resolve_home

_WORKERS = (16, 64, 256, 1024)
_NODE_CORES = 16
_REQUEST_SECONDS = 0.03  # until an object store begins to answer; the driver has 32 requests under way
_REQUESTS_AT_A_TIME = 32
_BYTES_A_DOCUMENT = 17
_DOCUMENTS_A_SHARD = 1_000_000
_STEPS = ("read_part", "count_words", "write_shards")
_TB = 1e12


@dataclass(frozen=True)
class Rates:
    """Measured in one process on one corpus.

    Attributes:
        documents: Number of documents.
        seconds: Of each step that workers do.
        driver_seconds: Of all else.
        source: Bytes read from the source.
        staged: Bytes of working data, and the number of its files.
        output: Bytes of the prepared corpus.
        counted: Bytes of working data that counting reads.
        chunks: Number of chunks.
    """

    documents: int
    seconds: dict[str, float]
    driver_seconds: float
    source: int
    staged: int
    files: int
    output: int
    counted: int
    chunks: int

    @classmethod
    def measured(cls, config: CorpusConfig, folder: Path) -> Rates:
        """Prepare a corpus in this process and look at what each step takes."""
        seconds: Counter[str] = Counter()
        sizes: dict[str, Any] = {}

        def timed(function: Callable[..., Any], tasks: list[dict[str, Any]]) -> Iterator[Any]:
            step, staging = function.func.__name__, function.args[0]
            for task in tasks:
                start = time.perf_counter()
                result = function(**task)
                seconds[step] += time.perf_counter() - start
                yield result
            if step == _STEPS[-1]:
                sizes.update(_sizes(staging))

        run(config.model_copy(update={"limit": 200}), resolve_home(folder), timed)  # imports
        seconds.clear()
        start = time.perf_counter()
        run(config, resolve_home(folder), timed)
        driver = time.perf_counter() - start - sum(seconds.values())
        return cls(seconds=dict(seconds), driver_seconds=driver, source=Path(config.path or "").stat().st_size, **sizes)


def plan(rates: Rates, documents: int, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for each number of workers.

    Args:
        rates: Measured by :meth:`Rates.measured`.
        documents: How many documents are planned for.
        rows: Measured with several workers: what part of their time is work.
    """
    scale = documents / rates.documents
    work = sum(rates.seconds.values()) * scale
    requests = rates.files * 2 * scale  # each is written once; documents, words, terms, splits are read once or twice
    waiting = rates.chunks * 2 * scale * _REQUEST_SECONDS / _REQUESTS_AT_A_TIME
    traffic = {
        "source_tb": rates.source * scale / _TB,
        "written_tb": rates.staged * scale / _TB,
        "read_tb": (rates.staged + rates.counted) * scale / _TB,
        "corpus_tb": rates.output * scale / _TB,
    }
    efficiency = _efficiency(rows)
    result = []
    for workers in _WORKERS:
        seconds = work / workers / efficiency + rates.driver_seconds * scale + waiting
        result.append(
            {
                "engine": "plan",
                "documents": documents,
                "workers": workers,
                "documents_per_s": round(documents / seconds, 1),
                "nodes": math.ceil(workers / _NODE_CORES),
                "hours": round(seconds / 3600, 2),
                "driver_hours": round((rates.driver_seconds * scale + waiting) / 3600, 2),
                **{name: round(size, 2) for name, size in traffic.items()},
                "mega_requests": round(requests / 1e6, 2),
                "shards": math.ceil(documents / _DOCUMENTS_A_SHARD),
                "driver_gib": round(documents * _BYTES_A_DOCUMENT / 2**30, 1),
            }
        )
    return result


def _efficiency(rows: list[dict[str, Any]]) -> float:
    """Speed of the most workers over that of one, a worker; at the largest size measured. 1 where one is not there."""
    ours = [row for row in rows if row["engine"] == "texthash"]
    largest = max(row["documents"] for row in ours)
    speed = {row["workers"]: row["documents_per_s"] for row in ours if row["documents"] == largest}
    most = max(speed)
    return min(1.0, speed[most] / speed[1] / most) if 1 in speed else 1.0


def _sizes(staging: Staging) -> dict[str, int]:
    reading = staging.reading()
    output = sum(path.stat().st_size for path in staging.output.rglob("*") if path.is_file())
    working = [path for path in staging.root.rglob("*") if path.is_file() and staging.output not in path.parents]
    counted = [path for chunk in reading.chunks for path in (staging.words(chunk), staging.terms(chunk))]
    return {
        "documents": reading.starts[-1],
        "chunks": len(reading.chunks),
        "files": len(working),
        "staged": sum(path.stat().st_size for path in working),
        "output": output,
        "counted": sum(path.stat().st_size for path in counted),
    }
