"""Preparation on Ray Data: chunks and shards are spread over the workers, their bytes are those of one process."""

from __future__ import annotations

import pickle
import uuid
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from texthash.config import CorpusConfig
from texthash.corpora.prepare import count_words, run
from texthash.corpora.shards import ShardWriter
from texthash.corpora.staging import Staging
from texthash.errors import TexthashError
from texthash.home import Home


def prepare(config: CorpusConfig, home: Home, workers: int | None = None) -> Path:
    """Prepare a corpus on the running Ray cluster and return its directory; one that is prepared already is reused.

    ``home`` has to be on storage that all nodes share.

    Args:
        config: Which corpus, in which edition.
        home: Where it is put.
        workers: Processes that work at a time; None: one for each CPU of the cluster.

    Raises:
        CorpusError: naming what is wrong with the source, the edition or the disk.
    """
    import ray

    workers = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
    run_id = uuid.uuid4().hex

    def count(staging: Staging, chunks: list[int]) -> Iterator[pa.Table]:
        return _spread(_count, [{"chunk": chunk} for chunk in chunks], workers, staging=staging)

    def write(staging: Staging, shards: list[tuple[str, int]]) -> Iterator[object]:
        tasks = [{"split": split, "number": number} for split, number in shards]
        return _spread(_write, tasks, workers, staging=staging, run_id=run_id)

    return run(config, home, count, write)


def _count(staging: Staging, chunk: int) -> pa.Table:
    return count_words(staging, chunk)


def _write(staging: Staging, split: str, number: int, run_id: str) -> None:
    _writer(staging, run_id).write(split, number)


@lru_cache(maxsize=1)
def _writer(staging: Staging, run_id: str) -> ShardWriter:
    """One for each process and run, so that the vocabulary is loaded once."""
    return ShardWriter(staging)


def _spread(
    function: Callable[..., Any], tasks: list[dict[str, Any]], workers: int, **arguments: object
) -> Iterator[Any]:
    """Call ``function`` with each task as keywords, and yield what it returns as it is finished.

    Each task is one block, so that it is scheduled, and retried, by itself. Errors that a person is meant to read
    travel as results: Ray would wrap them in its own.
    """
    import ray

    ray.data.DataContext.get_current().enable_progress_bars = False
    dataset = ray.data.from_items(tasks, override_num_blocks=len(tasks)).map_batches(
        partial(_outcome, function, arguments),
        batch_size=1,
        batch_format="pyarrow",
        compute=ray.data.TaskPoolStrategy(size=min(workers, len(tasks))),
    )
    blocks: Iterator[pa.Table] = iter(dataset.iter_batches(batch_size=None, batch_format="pyarrow"))
    for block in blocks:
        for packed in block["outcome"].to_pylist():
            outcome = pickle.loads(packed)
            if isinstance(outcome, Exception):
                raise outcome
            yield outcome


def _outcome(function: Callable[..., Any], arguments: dict[str, Any], task: pa.Table) -> pa.Table:
    try:
        outcome = function(**arguments, **task.to_pylist()[0])
    except (TexthashError, OSError) as error:
        outcome = error
    return pa.table({"outcome": pa.array([pickle.dumps(outcome)], pa.binary())})
