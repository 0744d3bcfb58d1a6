"""Answers of several shards that are asked at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from texthash.service.interfaces import ShardClient
from texthash.service.problems import Problem

T = TypeVar("T")


class Wanted(NamedTuple):
    """Documents of one list: their numbers, the position of the shard of each, and their fields."""

    numbers: NDArray[np.int64]
    owners: NDArray[np.int64]
    fields: tuple[str, ...]


async def answers(calls: Mapping[int, Awaitable[T]]) -> tuple[dict[int, T], dict[int, Problem]]:
    """Return the answers of the called shards, and the problems of the unavailable ones."""
    if not calls:
        return {}, {}
    done = await asyncio.gather(*calls.values(), return_exceptions=True)
    answered: dict[int, T] = {}
    unavailable: dict[int, Problem] = {}
    for number, answer in zip(calls, done, strict=True):
        if isinstance(answer, Problem):
            unavailable[number] = answer
        elif isinstance(answer, BaseException):
            raise answer
        else:
            answered[number] = answer
    return answered, unavailable


async def documents_of(
    shards: Sequence[ShardClient], release: str, lists: Sequence[Wanted]
) -> list[list[dict[str, Any]]]:
    """Return the documents of several lists in their order, with one call to each shard that holds any."""

    async def fetch(shard: int) -> list[list[dict[str, Any]]]:
        wanted = [(own.numbers[own.owners == shard].tolist(), own.fields) for own in lists]
        return await shards[shard].documents(release, wanted)

    owning = sorted({int(shard) for own in lists for shard in np.unique(own.owners)})
    parts = dict(zip(owning, await asyncio.gather(*(fetch(shard) for shard in owning)), strict=True))
    found = []
    for position, own in enumerate(lists):
        documents = {shard: iter(parts[shard][position]) for shard in owning}
        found.append([next(documents[owner]) for owner in own.owners.tolist()])
    return found
