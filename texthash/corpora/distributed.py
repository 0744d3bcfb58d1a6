"""Preparation on Ray Data: chunks and shards are spread over the workers, their bytes are those of one process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from texthash.config import CorpusConfig
from texthash.corpora.prepare import count_words, run
from texthash.corpora.shards import ShardWriter
from texthash.corpora.staging import Staging
from texthash.errors import TexthashError
from texthash.home import Home

if TYPE_CHECKING:
    from ray.data import Dataset


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

    def count(staging: Staging, chunks: list[int]) -> Iterator[pa.Table]:
        tasks = _tasks([{"chunk": chunk} for chunk in chunks])
        tables = tasks.map_batches(
            _Counter,
            fn_constructor_args=(staging,),
            batch_size=1,
            batch_format="pyarrow",
            concurrency=min(workers, len(chunks)),
        )
        return _results(tables)

    def write(staging: Staging, shards: list[tuple[str, int]]) -> Iterator[object]:
        tasks = _tasks([{"split": split, "number": number} for split, number in shards])
        done = tasks.map_batches(
            _Writer,
            fn_constructor_args=(staging,),
            batch_size=1,
            batch_format="pyarrow",
            concurrency=min(workers, len(shards)),
        )
        return _results(done)

    return run(config, home, count, write)


class _Counter:
    def __init__(self, staging: Staging) -> None:
        self.staging = staging

    def __call__(self, task: pa.Table) -> pa.Table:
        return count_words(self.staging, task["chunk"][0].as_py())


class _Writer:
    def __init__(self, staging: Staging) -> None:
        self.writer = ShardWriter(staging)

    def __call__(self, task: pa.Table) -> pa.Table:
        self.writer.write(task["split"][0].as_py(), task["number"][0].as_py())
        return task


def _tasks(items: list[dict[str, Any]]) -> Dataset:
    """One block for each task, so that each is scheduled, and retried, by itself."""
    import ray

    ray.data.DataContext.get_current().enable_progress_bars = False
    return ray.data.from_items(items, override_num_blocks=len(items))


def _results(dataset: Dataset) -> Iterator[pa.Table]:
    """Blocks as they are finished; an error of the project arrives as itself, not wrapped by Ray."""
    blocks: Iterable[pa.Table] = dataset.iter_batches(batch_size=None, batch_format="pyarrow")
    try:
        yield from blocks
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, TexthashError | OSError):
                raise cause from None
            cause = cause.__cause__ or getattr(cause, "cause", None)
        raise
