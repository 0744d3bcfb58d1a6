"""Watcher of the pointer to the current release: the service moves to each release that is published."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from texthash.errors import StorageUnavailableError, TexthashError, as_user_error
from texthash.index.releases.release import current_name, read_release
from texthash.io.conditional import patience
from texthash.paths import StateDir
from texthash.service.coordinator import Coordinator
from texthash.service.metrics import FollowerMetrics
from texthash.service.problems import STORE_PATIENCE_S, Problem

log = logging.getLogger("texthash.service")
POLL_S = 0.2
# Seconds within which every ingress has read the pointer and moved.
SETTLE_S = 2 * POLL_S
# Failing storage is retried with growing intervals, up to this one, which bounds the delay after it works again.
_LONGEST_WAIT_S = 2.0


@dataclass(frozen=True)
class Freshness:
    """Lag of a service behind the pointer.

    Attributes:
        alive: True while the task that follows the pointer runs.
        lag_s: Seconds since the served release was last known to be the current one.
        max_lag_s: Lag in seconds beyond which the service counts as stale.
        reason: Reason for which it does not follow; None while it does.
        storage: Answer of an object store that is unavailable, so that writes fail too; None while it answers.
    """

    alive: bool
    lag_s: float
    max_lag_s: float
    reason: str | None
    storage: str | None = None

    @property
    def fresh(self) -> bool:
        """True while the served release counts as the current one."""
        return self.alive and self.lag_s <= self.max_lag_s


class ReleaseWatcher:
    """Task that moves a coordinator to the current release; errors of any kind delay it and never end it.

    Args:
        home: State directory.
        coordinator: Coordinator to move.
        max_lag_s: Maximum seconds for which the served release may lag behind, or not be known to be current.
    """

    def __init__(self, home: StateDir, coordinator: Coordinator, max_lag_s: float) -> None:
        self._home = home
        self._coordinator = coordinator
        self._max_lag_s = max_lag_s
        self._metrics = FollowerMetrics()
        self._task: asyncio.Task[None] | None = None
        self._reason: str | None = None
        self._storage: str | None = None
        self._failures = 0  # since the last success
        self._confirmed = time.monotonic()
        self._read = self._confirmed

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follow the pointer for the duration of the block."""
        self._confirmed = self._read = time.monotonic()
        self._task = asyncio.create_task(self._follow())
        try:
            yield
        finally:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def freshness(self) -> Freshness:
        """Return the present lag of the coordinator behind the pointer."""
        alive = self._task is not None and not self._task.done()
        return Freshness(alive, time.monotonic() - self._confirmed, self._max_lag_s, self._reason, self._storage)

    def report(self) -> None:
        """Set the gauges; call it every few seconds, since they expire.

        Raises:
            RuntimeError: The task that follows the pointer has ended, so that this process has to be replaced.
        """
        now = time.monotonic()
        self._metrics.record(now - self._confirmed, now - self._read)
        if self._task is not None and self._task.done() and not self._task.cancelled():
            raise RuntimeError(f"the task that follows the pointer has ended: {self._task.exception()!r}")

    async def step(self) -> None:
        """Read the pointer once, and move to its release. Errors are counted, and logged when they change."""
        try:
            with patience(STORE_PATIENCE_S):
                await self._move()
        except Exception as error:  # noqa: BLE001  (storage and remote calls raise anything; nothing may end the task)
            self._failed(error)
        else:
            if self._reason is not None:
                log.warning("following again: release %s, after %d failures", self._served, self._failures)
            self._reason, self._storage, self._failures = None, None, 0

    async def _move(self) -> None:
        began = time.monotonic()
        name = await asyncio.to_thread(current_name, self._home)
        if name is None:
            raise TexthashError(f"the pointer to the current release is missing in {self._home.name}.")
        self._read = began
        if name != self._served:
            await self._coordinator.follow(await asyncio.to_thread(read_release, self._home, name))
        self._confirmed = began

    def _failed(self, error: Exception) -> None:
        self._failures += 1
        self._metrics.failed()
        reason = _reason_of(error)
        self._storage = reason if isinstance(as_user_error(error), StorageUnavailableError) else None
        if reason != self._reason:  # Logged once, not at every attempt.
            log.warning("release %s stays: %s", self._served, reason)
        self._reason = reason

    @property
    def _served(self) -> str:
        return self._coordinator.release.name

    async def _follow(self) -> None:
        while True:
            await self.step()
            await asyncio.sleep(min(POLL_S * 2 ** min(self._failures, 10), _LONGEST_WAIT_S))


def _reason_of(error: Exception) -> str:
    if isinstance(error, Problem):
        return error.detail
    if isinstance(error, TexthashError):
        return error.problem
    return f"{type(error).__name__}: {error}".splitlines()[0]


async def wait_for_propagation() -> None:
    """Wait until every ingress has moved to a release that has just been published."""
    await asyncio.sleep(SETTLE_S)
