"""Preparation on Ray Data: chunks and shards are spread over the workers, their bytes are those of one process."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from functools import lru_cache
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


def _count(task: pa.Table, staging: Staging) -> pa.Table:
    return count_words(staging, task["chunk"][0].as_py())


def _write(task: pa.Table, staging: Staging, run_id: str) -> pa.Table:
    _writer(staging, run_id).write(task["split"][0].as_py(), task["number"][0].as_py())
    return task


@lru_cache(maxsize=1)
def _writer(staging: Staging, run_id: str) -> ShardWriter:
    """One for each process and run, so that the vocabulary is loaded once."""
    return ShardWriter(staging)


def _spread(
    function: Callable[..., pa.Table], tasks: list[dict[str, Any]], workers: int, **arguments: object
) -> Iterator[pa.Table]:
    """Call ``function`` on each task, and yield its tables as they are finished.

    Each task is one block, so that it is scheduled, and retried, by itself. An error of the project, or of the disk,
    arrives as itself, not wrapped by Ray.
    """
    import ray

    ray.data.DataContext.get_current().enable_progress_bars = False
    dataset = ray.data.from_items(tasks, override_num_blocks=len(tasks)).map_batches(
        function,
        fn_kwargs=arguments,
        batch_size=1,
        batch_format="pyarrow",
        compute=ray.data.TaskPoolStrategy(size=min(workers, len(tasks))),
    )
    try:
        yield from dataset.iter_batches(batch_size=None, batch_format="pyarrow")
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, TexthashError | OSError):
                raise cause from None
            cause = cause.__cause__ or getattr(cause, "cause", None)
        raise
