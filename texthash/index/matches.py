"""Documents of a shard that a filter or search matches, as facets count them and a scroll lists them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from texthash.api.facets import FacetOptions
from texthash.index.filters.facets import FacetType, check_facets, count_values, facet_counts
from texthash.index.filters.language import Types, Where
from texthash.index.filters.order import After, Listed, Sort, first_of, page_of
from texthash.index.filters.parts import ValueCounts
from texthash.index.filters.selection import Numbers, Selection
from texthash.index.ranked import Ranked, documents_of
from texthash.index.searched import SearchedShard


@dataclass(frozen=True)
class Matches:
    """Documents that a filter keeps, or those of them that a search matches.

    Attributes:
        where: Condition of the filter; None keeps all documents.
        terms: Words, of which a document has to have one; None for no such condition.
        code: Packed code, from which a document has to be within ``radius``; None for no such condition.
        radius: Largest Hamming distance.
    """

    where: Where | None = None
    terms: tuple[str, ...] | None = None
    code: bytes | None = None
    radius: int = 0

    def select(self, shard: SearchedShard) -> Selection | None:
        """Return the documents of a shard; None for all of them."""
        if self.terms is not None:
            return self._kept(shard, shard.keywords.containing(self.terms))
        if self.code is not None:
            codes = np.frombuffer(self.code, np.uint8)[None]
            hits = shard.search(codes, max(1, len(shard)), radius=self.radius, where=self.where)
            return _selection(np.sort(hits.numbers[0]))
        return None if self.where is None else shard.select(self.where)

    def _kept(self, shard: SearchedShard, numbers: Numbers) -> Selection:
        """Return those of some documents that the filter keeps."""
        if self.where is None:
            return _selection(numbers)
        return _selection(numbers[shard.select(self.where).of(numbers, ascending=True)])


def _selection(numbers: Numbers) -> Selection:
    return Selection.of_rows(numbers, np.ones(len(numbers), np.bool_))


def count_in(
    shard: SearchedShard, matches: Matches, types: Mapping[str, FacetType]
) -> tuple[int, dict[str, ValueCounts]]:
    """Return the number of matching documents of a shard, and the counts of each facet among them."""
    parts = shard.parts(matches.select(shard))
    return sum(map(len, parts)), count_values(parts, types)


def list_in(
    shard: SearchedShard, where: Where | None, sort: Sort | None, after: After | None, limit: int
) -> tuple[int, Listed]:
    """Return the number of documents of a shard that a filter keeps, and the first of them after a document."""
    parts = shard.parts(None if where is None else shard.select(where))
    return sum(map(len, parts)), page_of(parts, sort, after, limit)


def facets_of(
    shards: Sequence[SearchedShard], facets: Mapping[str, FacetOptions], matches: Matches, types: Types
) -> dict[str, Any]:
    """Return the facets of an index in the form of the response.

    Raises:
        FilterError: No document has had an attribute, or its values cannot be counted so.
    """
    kinds = check_facets(facets, types)
    return facet_counts(facets, kinds, [count_in(shard, matches, kinds) for shard in shards])


def scroll(
    shards: Sequence[SearchedShard], where: Where | None, sort: Sort | None, fields: Sequence[str], page: int
) -> Iterator[dict[str, Any]]:
    """Yield the documents of an index that a filter keeps, in order, with id and some fields."""
    after = None
    while True:
        pages = [list_in(shard, where, sort, after, page)[1] for shard in shards]
        listed, owners = first_of(pages, sort, page)
        ranked = Ranked(listed.numbers, owners, [None] * len(owners))
        yield from documents_of(shards, ranked, fields)
        if len(owners) < page:
            return
        after = After(int(listed.numbers[-1]), listed.values[-1])
