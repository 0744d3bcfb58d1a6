"""Labels and attributes of documents in memory, as rows that a filter is evaluated on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from texthash.api.attributes import AttributeType, Value

if TYPE_CHECKING:
    from texthash.index.filters.columns import Column, Mask
    from texthash.index.filters.language import Where
    from texthash.index.filters.parts import ValueCounts
    from texthash.index.filters.selection import Selection


class MemoryTable:
    """Rows of N documents.

    Args:
        ids: Id of each document.
        labels: Labels of each document.
        attributes: Attributes of each document; None: none has any.
        types: Types of the attributes, where they are known already; None reads them from the values.

    Raises:
        UsageError: An attribute has values of two types.

    Attributes:
        attributes: Attributes of each document.
        types: Type of each attribute.
    """

    def __init__(
        self,
        ids: Sequence[str],
        labels: Sequence[Sequence[str]],
        attributes: Sequence[dict[str, Value]] | None,
        types: Mapping[str, AttributeType] | None = None,
    ) -> None:
        self._ids, self._labels = ids, labels
        self.attributes: Sequence[dict[str, Value]] = attributes or [{} for _ in ids]
        self.types: dict[str, AttributeType] = dict(types or {})
        if attributes and types is None:
            from texthash.index.filters.types import merged_types

            self.types = merged_types({}, zip(ids, attributes, strict=True))
        self._columns: dict[str, Column] = {}

    def __len__(self) -> int:
        return len(self._ids)

    def column(self, name: str) -> Column | None:
        """Return an attribute by row; None if no row has it."""
        from texthash.index.filters.columns import Column, array_of

        if name not in self.types:
            return None
        if name not in self._columns:
            values = [own.get(name) for own in self.attributes]
            self._columns[name] = Column.of(array_of(values, self.types[name]))
        return self._columns[name]

    def labelled(self, names: Iterable[str]) -> Mask:
        """Return which rows have one of the labels, bool [N]."""
        wanted = set(names)
        return np.asarray([not wanted.isdisjoint(own) for own in self._labels], np.bool_)

    def with_ids(self, ids: Iterable[str]) -> Mask:
        """Return which rows have one of the ids, bool [N]."""
        wanted = set(ids)
        return np.asarray([id_ in wanted for id_ in self._ids], np.bool_)

    @property
    def numbers(self) -> NDArray[np.int64]:
        """Document numbers, int64, ascending: the positions."""
        return np.arange(len(self))

    def label_counts(self, kept: Mask) -> ValueCounts:
        """Return the counts of the labels of some rows."""
        from texthash.index.filters.parts import ValueCounts

        return ValueCounts.of_lists(self._labels[row] for row in np.flatnonzero(kept).tolist())

    def select(self, where: Where) -> Selection:
        """Return the documents that fulfil a condition."""
        from texthash.index.filters.masks import mask_of
        from texthash.index.filters.selection import Selection

        return Selection.of_rows(np.arange(len(self)), mask_of(where, self))
