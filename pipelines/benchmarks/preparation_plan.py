"""Predicted time of the preparation of a corpus of another size, from rates measured on this one.

Assumptions that are not measured here: every worker has a core of its own, an object store is as fast for each worker
as the local disk here, and work is proportional to the number of documents. The driver's own work is not distributed,
so it bounds the gain from more workers: checksums of the source, ids and splits, merging counts, the manifest, all as
measured here, and scheduling blocks of tasks, measured with empty tasks. Counting has at most
:data:`~texthash.corpora.preparation.steps.GROUPS` tasks, and writing one per shard, so they use no more workers.
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
_REQUEST_SECONDS = 0.03  # latency of an object store; the driver sends 32 requests at a time
_REQUESTS_AT_A_TIME = 32
_BYTES_A_DOCUMENT = 17
_DOCUMENTS_A_SHARD = 1_000_000
_STEPS = ("read_part", "count_words", "write_shards")
_EMPTY_TASKS = 512  # number of tasks by which the driver's time per block is measured
_TB = 1e12


@dataclass(frozen=True)
class Rates:
    """Rates measured on one corpus.

    Attributes:
        documents: Number of documents.
        seconds: Time of each step of the workers, in one process.
        driver_seconds: Time of all other work, in that process.
        block_seconds: Time of the driver for each block of tasks.
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
        """Prepare a corpus in this process and measure each step; a cluster is started for the time per block."""
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
    """Return one row for each number of workers.

    Args:
        rates: Rates from :meth:`Rates.measured`.
        documents: Number of documents of the plan.
        rows: Measurements with several workers, from which their efficiency follows.
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
    """Return the driver's processor time for a block of Ray Data, measured with empty tasks."""
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
    """Return the parallel efficiency of the most workers, at the largest size that is also measured with one worker.

    It is the speed per worker over that of one worker; 1 if there is no such measurement.
    """
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
