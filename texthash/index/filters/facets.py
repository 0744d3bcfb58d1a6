"""Facets: documents counted by value or in ranges.

Each part of an index counts its own values exactly, and the counts are added before any of them is left out: a facet
over several shards is that of one shard.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from texthash.api.attributes import AttributeType, Value, write_value
from texthash.api.facets import LABELS, FacetOptions
from texthash.index.filters.columns import ARROW
from texthash.index.filters.language import Types, check_kind, known_type, typed
from texthash.index.filters.parts import Part, ValueCounts

FacetType = AttributeType | Literal["label"]
VALUES = 10
"""Number of values of a facet whose options name none."""
RANGES = 10
"""Number of ranges of a facet whose options name none."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Microseconds of a day, an hour, a minute and a second.
_UNITS = (86_400_000_000, 3_600_000_000, 60_000_000, 1_000_000)
_EXACT = 2.0**53
_RANGED: tuple[AttributeType, ...] = ("number", "date")


def check_facets(facets: Mapping[str, FacetOptions], types: Types) -> dict[str, FacetType]:
    """Return the type of each facet.

    Raises:
        FilterError: No document has had the attribute, or its values cannot be counted so.
    """
    found: dict[str, FacetType] = {}
    for name, options in facets.items():
        kind: FacetType = "label"
        place = f"facets.{name}"
        if name != LABELS:
            kind = known_type(name, types, place)
        ranged = "ranges" if options.ranges is not None else "edges"
        if options.ranges is not None or options.edges is not None:
            check_kind(kind, _RANGED, name, f"{place}.{ranged}", "counted in ranges", "a range")
        for number, edge in enumerate(options.edges or ()):
            typed(edge, types[name], name, f"{place}.edges.{number}")
        found[name] = kind
    return found


def count_values(parts: Sequence[Part], types: Mapping[str, FacetType]) -> dict[str, ValueCounts]:
    """Return the counts of each facet over the kept rows of some parts."""
    found = {}
    for name, kind in types.items():
        if kind == "label":
            counts = [part.table.label_counts(part.kept) for part in parts]
        else:
            counts = [_of_attribute(part, name, kind) for part in parts]
        found[name] = counts[0] if len(counts) == 1 else ValueCounts.added(counts)
    return found


def _of_attribute(part: Part, name: str, kind: AttributeType) -> ValueCounts:
    column = part.table.column(name)
    if column is None:
        return ValueCounts(pa.array([], ARROW[kind]), np.empty(0, np.int64), 0, ascending=True)
    counts = column.counts(part.kept)
    return ValueCounts.of(column.distinct, counts, int(counts.sum()), ascending=True)


def facet_counts(
    facets: Mapping[str, FacetOptions],
    types: Mapping[str, FacetType],
    shards: Sequence[tuple[int, Mapping[str, ValueCounts]]],
) -> dict[str, Any]:
    """Return the facets of an index in the form of the response.

    Args:
        facets: Options of each facet.
        types: Type of each, from :func:`check_facets`.
        shards: Number of counted documents, and the counts of each facet, of every shard.
    """
    documents = sum(own for own, _ in shards)
    counts = {
        name: _facet(options, types[name], ValueCounts.added(own[name] for _, own in shards), documents)
        for name, options in facets.items()
    }
    return {"documents": documents, "counts": counts}


def _facet(options: FacetOptions, kind: FacetType, counted: ValueCounts, documents: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        "type": kind,
        "documents": counted.documents,
        "missing": documents - counted.documents,
        "distinct": len(counted.values),
    }
    ranged = kind in _RANGED
    if options.limit is not None or not ranged:
        best = np.argsort(-counted.counts, kind="stable")[: options.limit or VALUES]
        values = counted.values.take(pa.array(best)).to_pylist()
        counts = counted.counts[best].tolist()
        found["values"] = [
            {"value": write_value(value), "count": count} for value, count in zip(values, counts, strict=True)
        ]
        found["rest"] = int(counted.counts.sum()) - sum(counts)
    if ranged:
        values = _numeric(counted.values, kind)
        found["min"] = _written(values[0], kind) if len(values) else None
        found["max"] = _written(values[-1], kind) if len(values) else None
        if options.edges is not None:
            found["ranges"] = _stated(options.edges, values, counted.counts, kind)
        elif options.ranges is not None or options.limit is None:
            found["ranges"] = _equal(options.ranges or RANGES, values, counted.counts, kind)
    return found


def _stated(
    edges: Sequence[Value], values: NDArray[Any], counts: NDArray[np.int64], kind: FacetType
) -> list[dict[str, Any]]:
    written = [write_value(edge) for edge in edges]
    bounds = [{"lt": written[0]}]
    bounds += [{"gte": low, "lt": high} for low, high in pairwise(written)]
    bounds.append({"gte": written[-1]})
    starts = [_number(edge) for edge in edges]
    return _ranges(bounds, np.searchsorted(values, np.asarray(starts, values.dtype)), counts)


def _equal(most: int, values: NDArray[Any], counts: NDArray[np.int64], kind: FacetType) -> list[dict[str, Any]]:
    if not len(values):
        return []
    starts = _starts(most, values, kind)
    written = [_written(start, kind) for start in starts]
    bounds = [{"gte": low, "lt": high} for low, high in pairwise(written)]
    bounds.append({"gte": written[-1], "lte": _written(values[-1], kind)})
    return _ranges(bounds, np.searchsorted(values, np.asarray(starts[1:], values.dtype)), counts)


def _starts(most: int, values: NDArray[Any], kind: FacetType) -> list[float]:
    """Return the first value of at most so many ranges of equal width, ascending."""
    low, high = values[0].item(), values[-1].item()
    unit = 1
    if kind == "date":
        unit = next((unit for unit in _UNITS if not (values % unit).any()), 1)
    elif max(-low, high) > _EXACT or (values != np.floor(values)).any():
        shares = np.arange(1, most) / most
        # Twelve digits hide the error of the arithmetic: an edge is read by people, and sent back as a filter.
        inner = {float(f"{edge:.12g}") for edge in (low * (1 - shares) + high * shares).tolist()}
        return [low, *sorted(edge for edge in inner if low < edge <= high)]
    low, high = int(low), int(high)
    width = -(-(high - low + unit) // (most * unit)) * unit
    return list(range(low, high + 1, width))


def _ranges(
    bounds: Sequence[dict[str, Any]], places: NDArray[np.integer], counts: NDArray[np.int64]
) -> list[dict[str, Any]]:
    """Return ranges with their counts, given the place among the values at which each but the first begins."""
    below = np.concatenate([[0], np.cumsum(counts)])
    ends = np.concatenate([[0], below[places], below[-1:]])
    return [{"range": own, "count": count} for own, count in zip(bounds, np.diff(ends).tolist(), strict=True)]


def _numeric(values: pa.Array, kind: FacetType) -> NDArray[Any]:
    """Return numbers as float64, dates as microseconds since 1970, int64."""
    array = values.cast(pa.int64()) if kind == "date" else values
    return np.asarray(array.to_numpy(zero_copy_only=False))


def _number(value: Any) -> float:
    return (value - _EPOCH) // timedelta(microseconds=1) if isinstance(value, datetime) else value


def _written(value: Any, kind: FacetType) -> Any:
    if kind == "date":
        return write_value(_EPOCH + timedelta(microseconds=int(value)))
    number = float(value)
    assert math.isfinite(number)
    return write_value(number)
