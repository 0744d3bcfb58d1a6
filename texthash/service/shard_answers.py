"""Answers of several shards that are asked at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from typing import TypeVar

from texthash.service.problems import Problem

T = TypeVar("T")


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
