"""Preparation on Ray Data: parts, chunks and shards are spread over workers; the bytes are those of one process.

Tasks name what they read and write, so the object store holds no text.
"""

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
    return run(config, home, partial(spread, workers))


def spread(workers: int, function: Callable[..., Any], tasks: list[dict[str, Any]]) -> Iterator[Any]:
    """Call ``function`` with each task as keywords, ``workers`` at a time, and yield what it returns as it is finished.

    Each task is a block of a dataset, so that it is scheduled, and run again if its worker dies, by itself; it then
    finds what is finished. Errors that a person is meant to read travel as results: Ray would wrap them in its own.
    """
    import ray

    dataset = ray.data.from_items(tasks, override_num_blocks=len(tasks)).map_batches(
        partial(_outcome, function),
        batch_size=1,
        batch_format="pyarrow",
        compute=ray.data.TaskPoolStrategy(size=min(workers, len(tasks))),
    )
    # Room is set aside for what each operator might put into the object store; on a small store that lets a second
    # worker start only now and then. These tasks put next to nothing there.
    dataset.context.op_resource_reservation_enabled = False
    dataset.context.enable_progress_bars = False
    blocks: Iterator[pa.Table] = iter(dataset.iter_batches(batch_size=None, batch_format="pyarrow"))
    for block in blocks:
        for packed in block["outcome"].to_pylist():
            outcome = pickle.loads(packed)
            if isinstance(outcome, Exception):
                raise outcome
            yield outcome


def _outcome(function: Callable[..., Any], task: pa.Table) -> pa.Table:
    try:
        outcome = function(**task.to_pylist()[0])
    except (TexthashError, OSError) as error:
        outcome = error
    return pa.table({"outcome": pa.array([pickle.dumps(outcome)], pa.binary())})
