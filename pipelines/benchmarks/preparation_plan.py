"""What the preparation of a corpus of another size would take, computed from rates measured on this one.

Reckoned with, and not measured here: that every worker has a core of its own, that an object store gives each worker
what a local disk gives it here, and that work grows with the documents. The driver's own work is not spread, so it
bounds what more workers gain: checksums of the source, ids and splits, merging counts, the manifest, all as measured
here, and handing out blocks of tasks, measured with tasks that do nothing. Counting has no more tasks than
:data:`~texthash.corpora.preparation.steps.GROUPS`, and writing one a shard, so no more workers take part in them.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.preparation_memory import cluster
from texthash.config import CorpusConfig
from texthash.corpora.preparation.staging import Staging
from texthash.corpora.preparation.steps import GROUPS, prepare_corpus
from texthash.executor import LocalExecutor, RayExecutor, Task, blocks_of
from texthash.paths import resolve_home

_WORKERS = (16, 64, 256, 1024)
_NODE_CORES = 16
_REQUEST_SECONDS = 0.03  # until an object store begins to answer; the driver has 32 requests under way
_REQUESTS_AT_A_TIME = 32
_BYTES_A_DOCUMENT = 17
_DOCUMENTS_A_SHARD = 1_000_000
_STEPS = ("read_part", "count_words", "write_shards")
_EMPTY_TASKS = 512  # to measure what a block costs the driver
_TB = 1e12


@dataclass(frozen=True)
class Rates:
    """Measured on one corpus.

    Attributes:
        documents: Number of documents.
        seconds: Of each step that workers do, in one process.
        driver_seconds: Of all else, there.
        block_seconds: Of the driver, for each block of tasks that it hands out.
        source: Bytes read from the source.
        staged: Bytes of working data, and the number of its files.
        output: Bytes of the prepared corpus.
        counted: Bytes of working data that counting reads.
        chunks: Number of chunks.
    """

    documents: int
    seconds: dict[str, float]
    driver_seconds: float
    block_seconds: float
    source: int
    staged: int
    files: int
    output: int
    counted: int
    chunks: int

    @classmethod
    def measured(cls, config: CorpusConfig, folder: Path) -> Rates:
        """Prepare a corpus in this process and look at what each step takes; a cluster is started and ended."""
        seconds: defaultdict[str, float] = defaultdict(float)
        sizes: dict[str, Any] = {}

        class Timed(LocalExecutor):
            def map(self, function: Callable[..., Any], tasks: Iterable[Task], **options: Any) -> Iterator[Any]:
                assert isinstance(function, partial)
                step, staging = function.func.__name__, function.args[0]
                for task in tasks:
                    start = time.perf_counter()
                    result = function(**task)
                    seconds[step] += time.perf_counter() - start
                    yield result
                if step == _STEPS[-1]:
                    sizes.update(_sizes(staging))

        prepare_corpus(config.derive(limit=200), resolve_home(folder), Timed())  # imports
        seconds.clear()
        start = time.perf_counter()
        prepare_corpus(config, resolve_home(folder), Timed())
        driver = time.perf_counter() - start - sum(seconds.values())
        return cls(
            seconds=dict(seconds),
            driver_seconds=driver,
            block_seconds=_block_seconds(),
            source=Path(config.path or "").stat().st_size,
            **sizes,
        )


def plan(rates: Rates, documents: int, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for each number of workers.

    Args:
        rates: Measured by :meth:`Rates.measured`.
        documents: How many documents are planned for.
        rows: Measured with several workers: what part of their time is work.
    """
    scale = documents / rates.documents
    shards = math.ceil(documents / _DOCUMENTS_A_SHARD)
    tasks = dict(zip(_STEPS, (math.ceil(rates.chunks * scale), GROUPS, shards), strict=True))
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
        work = sum(rates.seconds[step] * scale / min(workers, number) for step, number in tasks.items()) / efficiency
        blocks = sum(blocks_of(number, workers) for number in tasks.values())
        driver = rates.driver_seconds * scale + waiting
        scheduling = blocks * rates.block_seconds
        seconds = max(work, scheduling) + driver
        result.append(
            {
                "engine": "plan",
                "documents": documents,
                "workers": workers,
                "documents_per_s": round(documents / seconds, 1),
                "nodes": math.ceil(workers / _NODE_CORES),
                "hours": round(seconds / 3600, 2),
                "driver_hours": round(driver / 3600, 2),
                "scheduling_hours": round(scheduling / 3600, 2),
                **{name: round(size, 2) for name, size in traffic.items()},
                "mega_requests": round(requests / 1e6, 2),
                "shards": shards,
                "driver_gib": round(documents * _BYTES_A_DOCUMENT / 2**30, 1),
            }
        )
    return result


def _block_seconds() -> float:
    """What Ray Data takes of the driver for a block: its processor time for tasks that do nothing."""
    with cluster(1):
        blocks = blocks_of(_EMPTY_TASKS, 1)
        taken = []
        for _ in range(3):  # the first starts processes
            start = time.process_time()
            for _ in RayExecutor(1).map(_nothing, [{"number": number} for number in range(_EMPTY_TASKS)]):
                pass
            taken.append(time.process_time() - start)
    return min(taken) / blocks


def _nothing(number: int) -> int:
    return number


def _efficiency(rows: list[dict[str, Any]]) -> float:
    """Speed of the most workers over that of one, a worker; at the largest size measured with one. 1 without such."""
    ours = [row for row in rows if row["engine"] == "texthash"]
    alone = [row["documents"] for row in ours if row["workers"] == 1]
    if not alone:
        return 1.0
    speed = {row["workers"]: row["documents_per_s"] for row in ours if row["documents"] == max(alone)}
    most = max(speed)
    return min(1.0, float(speed[most] / speed[1] / most))


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
