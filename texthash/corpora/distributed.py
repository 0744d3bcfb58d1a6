"""Preparation on Ray: parts, chunks and shards are spread over workers; the bytes are those of one process.

Tasks name what they read and write, so the object store holds no text. They are tasks of Ray itself rather than a
dataset of Ray Data: that took some 10 ms of the driver's time to schedule a block, against 2 ms for a task, and on two
CPUs mostly ran one block after the other (Ray 2.60; the cause was not found, none of the settings tried changed it).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from texthash.config import CorpusConfig
from texthash.corpora.prepare import run
from texthash.errors import TexthashError
from texthash.home import Home

_CANCEL_SECONDS = 30


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

    A task whose worker died is run again, and finds what is finished. Errors that a person is meant to read travel as
    results: Ray would wrap them in its own.
    """
    import ray

    call, shared = ray.remote(_outcome), ray.put(function)
    waiting = iter(tasks)
    running = [call.remote(shared, task) for task in islice(waiting, workers)]
    try:
        while running:
            (finished, *_), running = ray.wait(running)
            running += [call.remote(shared, task) for task in islice(waiting, 1)]
            outcome = ray.get(finished)
            if isinstance(outcome, Exception):
                raise outcome
            yield outcome
    finally:
        for reference in running:
            ray.cancel(reference)
        if running:  # nobody may write to the working directory after this
            ray.wait(running, num_returns=len(running), timeout=_CANCEL_SECONDS)


def _outcome(function: Callable[..., Any], task: dict[str, Any]) -> Any:
    try:
        return function(**task)
    except (TexthashError, OSError) as error:
        return error
