"""Preparation on Ray Data: parts, chunks and shards are spread over workers; the bytes are those of one process."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from texthash.config import CorpusConfig
from texthash.corpora.prepare import run
from texthash.errors import TexthashError
from texthash.home import Home

_BLOCKS_PER_WORKER = 4
_TASKS_PER_BLOCK = 8


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
    return run(config, home, partial(_spread, workers))


def _spread(workers: int, function: Callable[..., Any], tasks: list[dict[str, Any]]) -> Iterator[Any]:
    """Call ``function`` with each task as keywords, and yield what it returns as it is finished.

    Some tasks make a block, which Ray schedules, and runs again where a worker died; what was finished is found
    finished. Errors that a person is meant to read travel as results: Ray would wrap them in its own.
    """
    import ray

    if not tasks:
        return
    # Scheduling a block takes some 10 ms of the driver's time: few of them, but enough to even out what workers do.
    blocks = min(len(tasks), max(_BLOCKS_PER_WORKER * workers, len(tasks) // _TASKS_PER_BLOCK))
    ray.data.DataContext.get_current().enable_progress_bars = False
    packed = [{"task": pickle.dumps(task)} for task in tasks]
    dataset = ray.data.from_items(packed, override_num_blocks=blocks).map_batches(
        partial(_outcomes, function),
        batch_size=None,
        batch_format="pyarrow",
        compute=ray.data.TaskPoolStrategy(size=min(workers, blocks)),
    )
    finished: Iterator[pa.Table] = iter(dataset.iter_batches(batch_size=None, batch_format="pyarrow"))
    for block in finished:
        for outcome in map(pickle.loads, block["outcome"].to_pylist()):
            if isinstance(outcome, Exception):
                raise outcome
            yield outcome


def _outcomes(function: Callable[..., Any], tasks: pa.Table) -> pa.Table:
    outcomes: list[Any] = []
    for task in map(pickle.loads, tasks["task"].to_pylist()):
        try:
            outcomes.append(function(**task))
        except (TexthashError, OSError) as error:
            outcomes.append(error)
            break
    return pa.table({"outcome": pa.array(map(pickle.dumps, outcomes), pa.binary())})
