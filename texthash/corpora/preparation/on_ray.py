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
from texthash.corpora.preparation.steps import run
from texthash.errors import TexthashError
from texthash.paths import StateDir

_BLOCKS_A_WORKER = 8
_MOST_TASKS = 16


def prepare(config: CorpusConfig, home: StateDir, workers: int | None = None) -> Path:
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

    A few tasks are a block of a dataset, which is scheduled as one (that costs the driver some 10 ms), and run again
    as one if its worker dies; it then finds what is finished. Errors that a person is meant to read travel as results:
    Ray would wrap them in its own.
    """
    import ray

    # Ray Data looks for finished tasks every 0.1 s. Where the CPUs are what limits them, twice as many are handed to
    # Ray, which keeps the others waiting and starts one as soon as a worker is free.
    in_flight = 2 * workers if workers >= ray.cluster_resources().get("CPU", 0) else workers
    in_flight = max(1, min(in_flight, blocks_of(len(tasks), workers)))
    yield from _spread(workers, partial(_outcomes, function), tasks, ray.data.TaskPoolStrategy(size=in_flight))


def spread_over_actors(
    workers: int, make: Callable[[], Callable[..., Any]], tasks: list[dict[str, Any]]
) -> Iterator[Any]:
    """As :func:`spread`, where ``make`` makes the function once in each of ``workers`` processes that stay: for one
    that holds what takes long to load."""
    import ray

    pool = ray.data.ActorPoolStrategy(size=max(1, min(workers, blocks_of(len(tasks), workers))))
    yield from _spread(workers, _Actor, tasks, pool, fn_constructor_args=(make,))


def _spread(workers: int, call: Any, tasks: list[dict[str, Any]], pool: Any, **options: Any) -> Iterator[Any]:
    import ray

    if not tasks:
        return
    dataset = ray.data.from_items(tasks, override_num_blocks=blocks_of(len(tasks), workers)).map_batches(
        call,
        batch_size=None,
        batch_format="pyarrow",
        compute=pool,
        **options,
    )
    # Room is set aside for what each operator might put into the object store; on a small store that lets a second
    # worker start only now and then. These tasks put next to nothing there.
    dataset.context.op_resource_reservation_enabled = False
    # Nor may a worker wait until the driver has taken up the outcome of another: they are a few bytes.
    dataset.context.downstream_capacity_backpressure_ratio = None
    dataset.context.enable_progress_bars = False
    tables: Iterator[pa.Table] = iter(dataset.iter_batches(batch_size=None, batch_format="pyarrow"))
    for block in tables:
        for packed in block["outcome"].to_pylist():
            outcome = pickle.loads(packed)
            if isinstance(outcome, Exception):
                raise outcome
            yield outcome


def blocks_of(tasks: int, workers: int) -> int:
    """Into how many blocks some tasks are put: enough to keep workers busy to the end, few enough for the driver."""
    return max(min(tasks, _BLOCKS_A_WORKER * workers), tasks // _MOST_TASKS)


class _Actor:
    """A function in a process of its own."""

    def __init__(self, make: Callable[[], Callable[..., Any]]) -> None:
        self._function = make()

    def __call__(self, tasks: pa.Table) -> pa.Table:
        return _outcomes(self._function, tasks)


def _outcomes(function: Callable[..., Any], tasks: pa.Table) -> pa.Table:
    return pa.table({"outcome": pa.array([_outcome(function, task) for task in tasks.to_pylist()], pa.binary())})


def _outcome(function: Callable[..., Any], task: dict[str, Any]) -> bytes:
    try:
        return pickle.dumps(function(**task))
    except (TexthashError, OSError) as error:
        return pickle.dumps(error)
