"""Evaluation of the filter language on the columns of many rows at once."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from texthash.index.filters.columns import Column, Mask
from texthash.index.filters.language import (
    All,
    Any,
    Between,
    Exists,
    Ids,
    Labels,
    Not,
    OneOf,
    StartsWith,
    Where,
)


class Table(Protocol):
    """Rows whose columns a filter is evaluated on."""

    def __len__(self) -> int: ...

    def column(self, name: str) -> Column | None:
        """Return the values of an attribute; None if no row has it."""

    def labelled(self, names: Iterable[str]) -> Mask:
        """Return which rows have one of the labels, bool [N]."""

    def with_ids(self, ids: Iterable[str]) -> Mask:
        """Return which rows have one of the ids, bool [N]."""


def mask_of(where: Where, table: Table) -> Mask:
    """Return which rows fulfil a condition, bool [N]: those whose documents :meth:`Where.matches`."""
    match where:
        case All(parts):
            return reduce(np.logical_and, (mask_of(part, table) for part in parts))
        case Any(parts):
            return reduce(np.logical_or, (mask_of(part, table) for part in parts))
        case Not(part):
            return ~mask_of(part, table)
        case Labels(names):
            return table.labelled(names)
        case Ids(ids):
            return table.with_ids(ids)
        case Exists(attribute) | OneOf(attribute) | Between(attribute) | StartsWith(attribute):
            column = table.column(attribute)
            return np.zeros(len(table), np.bool_) if column is None else _of_column(where, column)
    raise TypeError(f"{where!r} is no condition of the filter language")


def _of_column(where: Where, column: Column) -> Mask:
    match where:
        case OneOf(_, values):
            return column.one_of(values)
        case Between(_, low, high, with_low, with_high):
            return column.between(low, high, with_low, with_high)
        case StartsWith(_, prefix):
            return column.starts_with(prefix)
    return column.exists()


def labelled_lists(labels: pa.Array | pa.ChunkedArray, names: Iterable[str]) -> Mask:
    """Return which lists of a column hold one of the names, bool [N]."""
    found = np.zeros(len(labels), np.bool_)
    first = 0
    for chunk in labels.chunks if isinstance(labels, pa.ChunkedArray) else [labels]:
        wanted = pc.is_in(pc.list_flatten(chunk), pa.array(list(names), pa.string()))
        found[first + pc.list_parent_indices(chunk).to_numpy()[wanted.to_numpy(zero_copy_only=False)]] = True
        first += len(chunk)
    return found


def equal_ids(ids: pa.Array | pa.ChunkedArray, wanted: Iterable[str]) -> Mask:
    """Return which of a column of ids are wanted, bool [N]."""
    return np.asarray(pc.is_in(ids, pa.array(list(wanted), pa.string())).to_numpy(zero_copy_only=False), np.bool_)
