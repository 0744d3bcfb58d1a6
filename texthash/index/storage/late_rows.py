"""Documents that were written after the map of a shard in an object store, in memory while they are few.

A search can then go on while the store does not answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_MOST_ROWS = 10_000
_MOST_BYTES = 64_000_000

Take = Callable[[NDArray[np.uint64]], pa.Table]


@dataclass(frozen=True)
class LateRows:
    """Rows in memory.

    Attributes:
        addresses: Row address of each, uint64, ascending.
        table: Their columns.
    """

    addresses: NDArray[np.uint64]
    table: pa.Table

    @classmethod
    def read(cls, addresses: NDArray[np.uint64], take: Take, before: LateRows | None = None) -> LateRows | None:
        """Return the rows at some addresses; None if these are too many.

        Args:
            addresses: Addresses, in any order.
            take: Function that reads rows by ascending address.
            before: Rows of an earlier version, which are not read again.
        """
        if len(addresses) > _MOST_ROWS:
            return None
        wanted = np.unique(addresses)
        new = wanted if before is None else np.setdiff1d(wanted, before.addresses, assume_unique=True)
        table = take(new)
        if before is not None:
            kept = np.isin(before.addresses, wanted)
            table = pa.concat_tables([before.table.filter(pa.array(kept)), table], promote_options="default")
            order = np.argsort(np.concatenate([before.addresses[kept], new]), kind="stable")
            table = table.take(pa.array(order))
        return cls(wanted, table) if table.nbytes <= _MOST_BYTES else None

    def rows(self, addresses: NDArray[np.uint64], columns: Sequence[str]) -> list[dict[str, Any]] | None:
        """Return columns of the rows at some addresses, in their order; None if one of them is not here."""
        at = np.searchsorted(self.addresses, addresses)
        if len(at) and (at.max() == len(self.addresses) or np.any(self.addresses[at] != addresses)):
            return None
        found: list[dict[str, Any]] = self.table.select(list(columns)).take(pa.array(at)).to_pylist()
        return found
