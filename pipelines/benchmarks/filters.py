"""Search with a filter by a numeric range beside search without one, in memory; and facets and sorted pages.

Documents have random codes and one random number each. A filter keeps the documents whose number lies in a range of a
stated share. ``mask`` is the time in which a new range becomes a mask, which later searches by the same filter find
ready. Engines and filters alternate.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.reporting import JsonOption, alternate, report
from texthash.api.facets import FacetOptions
from texthash.hamming.kernels import pack_allow, warmup
from texthash.index.filters.columns import Column, array_of
from texthash.index.filters.facets import FacetType, count_values, facet_counts
from texthash.index.filters.language import Between
from texthash.index.filters.masks import mask_of
from texthash.index.filters.order import After, Sort, page_of
from texthash.index.filters.parts import Part
from texthash.index.filters.selection import Selection
from texthash.index.memory.multi_index import MultiIndex
from texthash.local.memory_table import MemoryTable


class _Table(MemoryTable):
    """Rows with one number each."""

    def __init__(self, column: Column) -> None:
        self._column, self._rows = column, np.arange(len(column))

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def numbers(self) -> np.ndarray:
        return self._rows

    def column(self, name: str) -> Column:
        return self._column


def command(
    json: JsonOption = None,
    documents: Annotated[int, typer.Option(min=1000, help="Documents.")] = 1_000_000,
    bits: Annotated[int, typer.Option(help="Bits of a code.")] = 64,
    share: Annotated[
        float, typer.Option(min=0.0001, max=1, help="Share of the documents that the filter keeps.")
    ] = 0.01,
    k: Annotated[int, typer.Option(min=1, help="Hits of a query.")] = 10,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of which the median is taken.")] = 51,
) -> None:
    """Measure a search with a range filter, the mask of the filter, a facet and a sorted page."""
    random = np.random.default_rng(0)
    numbers = random.random(documents)
    table = _Table(Column.of(array_of(numbers, "number")))
    index = MultiIndex(random.integers(0, 256, (documents, bits // 8), np.uint8), np.arange(documents)).prepare()
    queries = random.integers(0, 256, (rounds + 1, 1, bits // 8), np.uint8)
    lows = random.random(rounds + 1) * (1 - share)
    warmup(bits)

    def select(low: float) -> Selection:
        return Selection.of_rows(table.numbers, mask_of(Between("x", low, low + share), table))

    kept = select(lows[0])
    allow = pack_allow(kept.of(index.numbers, ascending=True))
    part = Part(table, kept.kept)
    turns = {"search": iter(queries), "filtered": iter(queries), "mask": iter(lows)}
    every = Part(table, np.ones(documents, np.bool_))
    ranges = {"x": FacetOptions.model_validate({"ranges": 10})}

    def facet(rows: Part, times: int = 1) -> Callable[[], Any]:
        """Return a call that counts some rows; as if several shards had them."""
        types: dict[str, FacetType] = {"x": "number"}
        return lambda: facet_counts(ranges, types, [(len(rows), count_values([rows], types))] * times)

    calls: dict[str, Callable[[], Any]] = {
        "search without a filter": lambda: index.search(next(turns["search"]), k, plan="auto"),
        "search with a kept mask": lambda: index.search(next(turns["filtered"]), k, allow=allow, plan="auto"),
        "mask of a new range": lambda: pack_allow(select(next(turns["mask"])).of(index.numbers, ascending=True)),
        "facet of ten ranges, filtered": facet(part),
        "facet of ten ranges, all documents": facet(every),
        "facet of ten ranges, two shards of as many": facet(every, 2),
        "sorted page of 100, filtered": lambda: page_of([part], Sort("x"), After(0, lows[0]), 100),
        "sorted page of 100, all documents": lambda: page_of([every], Sort("x"), After(0, 0.5), 100),
    }
    taken = alternate(calls, rounds)
    plain = taken["search without a filter"]
    rows = [
        {
            "task": name,
            "documents": documents,
            "bits": bits,
            "share": share,
            "ms": round(ms, 3),
            "ratio": round(ms / plain, 2),
        }
        for name, ms in taken.items()
    ]
    report("filters", rows, json)
