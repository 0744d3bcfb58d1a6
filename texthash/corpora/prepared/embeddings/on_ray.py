"""Encoding spread over actors of a Ray cluster, one model in each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from texthash.corpora.prepared.embeddings.cache import Place, Texts, Vectors
from texthash.corpora.prepared.embeddings.encoder import open_encoder
from texthash.errors import TexthashError

_BLOCKS_OF_AN_ACTOR = 2
_RESTARTS = 3


def encode_on_ray(encoder: str, blocks: Iterable[Texts], actors: int | None = None) -> Iterator[Vectors]:
    """Encode blocks of texts; the vectors of a text do not depend on the number of actors, nor on deaths among them.

    An actor that dies is started again, on another node if need be, and encodes what it had; after three deaths it is
    an error, and what is encoded is kept.

    Args:
        encoder: Its identity, found on every node by its name.
        blocks: What to encode.
        actors: None: one for each GPU of the cluster, or for each CPU where there is none.
    """
    import ray

    there = ray.cluster_resources()
    gpus = int(there.get("GPU", 0))
    options: dict[str, Any] = {"num_gpus": 1} if gpus else {"num_cpus": 1}
    options |= {"max_restarts": _RESTARTS, "max_task_retries": _RESTARTS}
    pool: list[Any] = [
        ray.remote(**options)(_Encoder).remote(encoder)
        for _ in range(actors or gpus or max(1, int(there.get("CPU", 1))))
    ]
    waiting = iter(blocks)
    under_way: dict[Any, Any] = {}
    try:
        for actor in pool * _BLOCKS_OF_AN_ACTOR:
            for block in islice(waiting, 1):
                under_way[actor.encode.remote(*block)] = actor
        while under_way:
            [done], _ = ray.wait(list(under_way), num_returns=1)
            actor = under_way.pop(done)
            for block in islice(waiting, 1):
                under_way[actor.encode.remote(*block)] = actor
            try:
                yield ray.get(done)
            except ray.exceptions.RayTaskError as error:
                if isinstance(error.cause, TexthashError):  # Ray raises a class of its own in its place
                    raise error.cause from error
                raise
    finally:
        for actor in pool:
            ray.kill(actor)


class _Encoder:
    """One model in a process of its own."""

    def __init__(self, encoder: str) -> None:
        import torch

        torch.set_num_threads(1)
        self._name = encoder

    def encode(self, place: Place, texts: list[str]) -> Vectors:
        return place, open_encoder(self._name).encode(texts)
