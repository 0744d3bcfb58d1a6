"""How many bytes of requests are in memory at once, so that no number of clients can fill it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from texthash.service.problems import Problem

RETRY_AFTER_S = "1"


class MemoryBudget:
    """Bytes of the bodies and answers that are held now.

    Args:
        most: With more than so many nothing is taken on.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.held = 0

    def rejection(self) -> Problem | None:
        """Why nothing more can be taken on now; None: it can."""
        if self.held <= self.most:
            return None
        detail = f"bodies and answers in memory have {self.held} bytes, this server holds {self.most}."
        return Problem("overloaded", detail, headers={"Retry-After": RETRY_AFTER_S})

    @contextmanager
    def reservation(self) -> Iterator[Reservation]:
        """What one request takes; given back at the end of the block."""
        reservation = Reservation(self)
        try:
            yield reservation
        finally:
            reservation.set_size(0)


class Reservation:
    """What one request holds."""

    def __init__(self, budget: MemoryBudget) -> None:
        self.budget = budget
        self._held = 0

    def set_size(self, size: int) -> None:
        """Hold so many bytes, instead of what was held before."""
        self.budget.held += size - self._held
        self._held = size
