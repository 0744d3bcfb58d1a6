"""Bound of the memory that bodies and answers take, whatever the number of clients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from texthash.service.problems import Problem

RETRY_AFTER_S = "1"


class MemoryBudget:
    """Budget of the bytes that bodies and answers hold.

    Args:
        most: Bytes beyond which new requests are rejected.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.held = 0

    def rejection(self) -> Problem | None:
        """Return the problem with which new requests are rejected; None while they are accepted."""
        if self.held <= self.most:
            return None
        detail = f"bodies and answers in memory have {self.held} bytes, this server holds {self.most}."
        return Problem("overloaded", detail, headers={"Retry-After": RETRY_AFTER_S})

    @contextmanager
    def reservation(self) -> Iterator[Reservation]:
        """Reserve memory for one request; it is freed at the end of the block."""
        reservation = Reservation(self)
        try:
            yield reservation
        finally:
            reservation.set_size(0)


class Reservation:
    """Reservation of one request."""

    def __init__(self, budget: MemoryBudget) -> None:
        self.budget = budget
        self._held = 0

    def set_size(self, size: int) -> None:
        """Set the number of reserved bytes."""
        self.budget.held += size - self._held
        self._held = size
