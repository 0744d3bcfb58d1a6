"""Cache of opened releases in a replica, so that each request is answered from the release that it names."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

T = TypeVar("T")


class ReleaseCache(Generic[T]):
    """Least-recently-used cache of opened parts of releases, by release name.

    Several are kept, because old and new callers and replicas coexist while a service moves to another release, and
    each call is answered from its own release. A release that is not open is opened on demand.

    Args:
        opener: Function that opens the part of a release. It gets the part that was opened last (None for the first),
            from which it may take what has not changed, and is called in a thread, except for the first release.
        first: Name of the release to open at once.
        kept: Number of parts that stay open.
        tolerated: Errors of the opener with which the cache starts empty; others of the first release are raised.
    """

    def __init__(
        self,
        opener: Callable[[str, T | None], T],
        first: str,
        kept: int = 4,
        tolerated: tuple[type[Exception], ...] = (),
    ) -> None:
        self._opener = opener
        self._kept = kept
        self._opened: OrderedDict[str, T] = OrderedDict()
        self._newest: T | None = None
        self._lock = asyncio.Lock()
        with suppress(*tolerated):
            self._opened[first] = self._newest = opener(first, None)

    @property
    def newest(self) -> T | None:
        """Part that was opened last; None as long as none could be opened."""
        return self._newest

    @property
    def names(self) -> list[str]:
        """Names of the opened releases, the one that was used last at the end."""
        return list(self._opened)

    def forget_unused(self) -> None:
        """Close all releases but the one that was used last; calls that run keep theirs until they end."""
        if not self._opened:
            return
        last = next(reversed(self._opened))
        self._opened = OrderedDict({last: self._opened[last]})
        self._newest = self._opened[last]

    async def get(self, release: str) -> T:
        """Return the part of a release. Raises the errors of the opener."""
        part = self._opened.get(release)
        if part is None:
            async with self._lock:
                part = self._opened.get(release)
                if part is None:
                    part = await asyncio.to_thread(self._opener, release, self._newest)
                    self._opened[release] = self._newest = part
                    while len(self._opened) > self._kept:
                        self._opened.popitem(last=False)
        self._opened.move_to_end(release)
        return part
