"""What a replica holds of a release, so that every request is answered from the one release that it names."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class ReleaseCache(Generic[T]):
    """Opened parts of releases by release name, the most recently asked for.

    A few are kept: while a service moves from one release to the next, old and new callers meet old and new replicas,
    and each is answered from its own release. One that is not open yet is opened on demand.

    Args:
        opener: Opens the part of a release, given the part that was opened last (None for the first), from which it
            may take what has not changed; called in a thread, except for the first.
        first: Opened at once.
        kept: How many stay open.
    """

    def __init__(self, opener: Callable[[str, T | None], T], first: str, kept: int = 4) -> None:
        self._opener = opener
        self._kept = kept
        self._newest = opener(first, None)
        self._opened: OrderedDict[str, T] = OrderedDict({first: self._newest})
        self._lock = asyncio.Lock()

    @property
    def newest(self) -> T:
        """The part that was opened last."""
        return self._newest

    async def get(self, release: str) -> T:
        """The part of a release. Errors are those of the opener."""
        found = self._opened.get(release)
        if found is None:
            async with self._lock:
                found = self._opened.get(release)
                if found is None:
                    found = await asyncio.to_thread(self._opener, release, self._newest)
                    self._opened[release] = self._newest = found
                    while len(self._opened) > self._kept:
                        self._opened.popitem(last=False)
        self._opened.move_to_end(release)
        return found
