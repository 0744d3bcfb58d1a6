"""Bulk encoding on Ray Data: pieces are spread over a pool of actors, each of which loads the model once.

Pieces name what they read and write, so the object store holds no text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from texthash.corpora.preparation.on_ray import spread_over_actors
from texthash.models.bulk_encode import Job, WorkUnit, encode_piece
from texthash.models.hasher import Hasher
from texthash.progress import log_line, track


def encode_on_ray(workers: int, job: Job, pieces: list[WorkUnit]) -> Iterator[int]:
    """Encode pieces on the running Ray cluster; numbers of documents come as pieces are done.

    Raises:
        CorpusError: naming file and line.
    """
    yield from spread_over_actors(workers, partial(_loaded, job), [{"piece": piece} for piece in pieces])


def most_workers(wanted: int | None) -> int:
    """As many workers as there are CPUs in the cluster, or fewer if fewer are wanted."""
    import ray

    there = max(1, int(ray.cluster_resources().get("CPU", 1)))
    if wanted is not None and wanted > there:
        log_line(f"the cluster has {there} CPUs: {there} workers instead of {wanted}")
    return min(wanted or there, there)


def _loaded(job: Job) -> Callable[..., int]:
    """The model, loaded in the process where it encodes."""
    import torch

    torch.set_num_threads(1)
    hasher = Hasher.load(job.hasher)

    def encode(piece: WorkUnit) -> int:
        label = f"encoding part {piece.number}"
        return sum(track(encode_piece(job, hasher, piece), label, documents=int))

    return encode
