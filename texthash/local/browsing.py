"""Facets of an index in one process, and its documents in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from texthash.arguments import check_whole, shown
from texthash.errors import UsageError

if TYPE_CHECKING:
    from texthash.api.attributes import AttributeType
    from texthash.index.filters.language import Where
    from texthash.index.searched import SearchedShard


class Browsing:
    """Methods that count and list the documents of an index."""

    _shards: Sequence[SearchedShard]
    _types: Mapping[str, AttributeType]

    def _where(self, labels: str | Sequence[str] | None, filter: Mapping[str, Any] | None) -> Where | None:
        raise NotImplementedError

    def facets(
        self,
        facets: str | Iterable[str] | Mapping[str, Any],
        filter: Mapping[str, Any] | None = None,
        *,
        labels: str | Sequence[str] | None = None,
    ) -> dict[str, dict[str, Any]]:
        """Return how many documents have each label, value or range of values, by the name of the facet.

        Args:
            facets: Name of an attribute or ``labels``, several of them, or a mapping of names to options: ``limit``,
                the number of values; ``ranges``, the number of ranges of equal width; ``edges``, the values between
                ranges.
            filter: Filter of the counted documents, as of :meth:`search`; None counts all.
            labels: Labels of which a counted document has one; None for no condition.

        Raises:
            UsageError: No document has such an attribute, or its values cannot be counted so.
        """
        from texthash.index.filters.given import facets_of as given_facets
        from texthash.index.matches import Matches, facets_of

        options = given_facets(facets)
        counted = facets_of(self._shards, options, Matches(self._where(labels, filter)), self._types)
        found: dict[str, dict[str, Any]] = counted["counts"]
        return found

    def scroll(
        self,
        filter: Mapping[str, Any] | None = None,
        *,
        labels: str | Sequence[str] | None = None,
        sort: str | None = None,
        descending: bool = False,
        page: int = 1000,
    ) -> Iterator[dict[str, Any]]:
        """Yield all documents, or those that a filter keeps: id, title, text, labels and attributes.

        Args:
            filter: Filter of the documents, as of :meth:`search`.
            labels: Labels of which a document has one; None for no condition.
            sort: Attribute to sort by; documents without it come last. None is the order in which they were added.
            descending: True for the largest value first.
            page: Number of documents that are read at once.

        Raises:
            UsageError: No document has an attribute of the filter, or that of the sort; or the page is empty.
        """
        from texthash.index.filters.order import checked_sort
        from texthash.index.matches import scroll

        check_whole("number of documents of a page", page, least=1)
        if sort is not None and not isinstance(sort, str):
            raise UsageError(f"sort is {shown(sort)}, a {type(sort).__name__}.", "give the name of an attribute.")
        where = self._where(labels, filter)
        order = None if sort is None else checked_sort(sort, descending, self._types, "sort")
        return scroll(self._shards, where, order, ("title", "text", "labels", "attributes"), page)
