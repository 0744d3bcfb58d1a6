"""The blocks of a neighbour graph spread over a Ray cluster; what is found is that of one process."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from texthash.corpora.prepared.neighbours.search import Block, Search

_BLOCK_ROWS = 2048


def on_ray(search: Search, k: int, block: int = _BLOCK_ROWS) -> Iterator[Block]:
    """The blocks of a search as tasks of the running cluster, in the order in which they are finished.

    What is searched is put into the object store once, and shared by the tasks of a node.

    Args:
        search: What to look in.
        k: Number of neighbours.
        block: Rows of a task.
    """
    import ray

    shared = ray.put(search)
    task = ray.remote(num_cpus=1)(_find)
    starts = iter(range(0, search.documents, block))
    at_once = 2 * max(1, int(ray.cluster_resources().get("CPU", 1)))
    pending = [task.remote(shared, start, block, k) for start in islice(starts, at_once)]
    while pending:
        done, pending = ray.wait(pending, num_returns=1)
        pending += [task.remote(shared, start, block, k) for start in islice(starts, 1)]
        yield ray.get(done[0])


def _find(search: Search, start: int, block: int, k: int) -> Block:
    return start, *search.nearest(start, min(start + block, search.documents), k)
