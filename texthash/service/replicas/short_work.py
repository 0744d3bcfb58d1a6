"""Work of a replica: on the event loop where it is short, in a thread where it is not."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Hashable
from typing import TypeVar

T = TypeVar("T")
# Longest work on the event loop, about a pass of 64 short queries. A thread costs a tenth of a millisecond to reach,
# and several on a busy machine or while another thread of Python has the interpreter.
LIMIT_S = 0.02
_REMEMBERED = 8
_MOST_KINDS = 256  # kinds come from options of requests


class ShortWork:
    """Runs functions, and remembers how long each kind of work has taken.

    Work of an unknown kind runs in a thread. The rate of a kind is the best of its last runs, since the others also
    measure what else the machine did.

    Args:
        limit_s: Expected seconds up to which work runs on the event loop.
    """

    def __init__(self, limit_s: float = LIMIT_S) -> None:
        self._limit_s = limit_s
        self._rates: dict[Hashable, deque[float]] = {}

    def is_short(self, kind: Hashable, size: float) -> bool:
        """Return whether work is expected to be short."""
        rates = self._rates.get(kind)
        return rates is not None and min(rates) * size <= self._limit_s

    async def run(self, kind: Hashable | None, size: float, function: Callable[[], T]) -> T:
        """Return the result of a function.

        Args:
            kind: Kind of the work, whose time is proportional to its size; None for work of unpredictable time.
            size: Size of this piece, above 0.
            function: The work.
        """
        if kind is None:
            return await asyncio.to_thread(function)

        def timed() -> T:
            start = time.perf_counter()
            result = function()
            self._remember(kind, (time.perf_counter() - start) / size)
            return result

        return timed() if self.is_short(kind, size) else await asyncio.to_thread(timed)

    def _remember(self, kind: Hashable, rate: float) -> None:
        if len(self._rates) >= _MOST_KINDS and kind not in self._rates:
            self._rates.clear()
        self._rates.setdefault(kind, deque(maxlen=_REMEMBERED)).append(rate)
