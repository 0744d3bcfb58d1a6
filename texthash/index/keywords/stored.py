"""Keyword search over one version of a shard, whose words are read from disk on first use."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from texthash.errors import NoKeywordsError
from texthash.index.filters.language import Where
from texthash.index.keywords.analysis import keyword_analyzer
from texthash.index.keywords.bm25 import KeywordStatistics
from texthash.index.keywords.postings import KeywordHits, KeywordIndex
from texthash.index.keywords.weights import WordWeights
from texthash.index.memory.hits import check_window
from texthash.index.storage.arrow_schema import WORDS, analysis_of, weights_of
from texthash.index.storage.lance_errors import reading
from texthash.index.storage.row_addresses import Difference, StoredRows, rows_at
from texthash.progress import log_line

if TYPE_CHECKING:
    import lance

    from texthash.config import KeywordAnalysis


class StoredKeywords:
    """Words of the documents of one version of a shard. Immutable: :meth:`advanced` returns those of another version.

    Args:
        uri: Directory or URI of the shard, for errors.
        rows: Documents of the version.
        index: Their postings, if known; None reads them on first use.
    """

    def __init__(self, uri: str, rows: StoredRows, index: KeywordIndex | None = None) -> None:
        self._uri, self._rows, self._index = uri, rows, index
        self._only: Sequence[str] | None = None  # words whose postings were read; None: all
        self._lock = threading.Lock()

    @cached_property
    def analysis(self) -> KeywordAnalysis | None:
        """Analysis of the stored words; None if the shard has none, and therefore no keyword search."""
        return analysis_of(self._rows.dataset.schema)

    @property
    def weights(self) -> WordWeights | None:
        """Weights of the parts of a document; None if the words are stored without."""
        return weights_of(self._rows.dataset.schema)

    @property
    def size_bytes(self) -> int:
        """Memory of the postings in bytes; 0 before the first use."""
        return 0 if self._index is None else self._index.size_bytes

    def query(self, text: str) -> dict[str, int]:
        """Return the distinct words of a query by the analysis of the documents, with their numbers of occurrences.

        Raises:
            NoKeywordsError: The shard has no words.
        """
        return keyword_analyzer(self._checked()).query(text)

    def statistics(self, terms: Sequence[str]) -> KeywordStatistics:
        """Return the counts of this shard for some words; add those of all shards for :meth:`search`."""
        return self._with(terms).statistics(terms)

    def search(
        self, query: Mapping[str, int], statistics: KeywordStatistics, limit: int, where: Where | None = None
    ) -> KeywordHits:
        """Return the documents with the highest BM25 scores, by (score descending, number).

        Args:
            query: Words of the query with their numbers of occurrences: :meth:`query`.
            statistics: Counts over all shards for these words, in their order.
            limit: Largest number of hits.
            where: Condition that a hit must fulfil; None for no restriction.

        Raises:
            NoKeywordsError: The shard has no words.
            TexthashError: ``limit`` is below 1.
        """
        check_window(limit, 0)
        allowed = None
        if where is not None:
            with self._reading():
                allowed = self._rows.select(where)
        return self._with(query).search(query, statistics, limit, allowed)

    def containing(self, terms: Sequence[str]) -> NDArray[np.int64]:
        """Return the numbers of the documents that contain one of some words, int64, ascending."""
        return self._with(terms).containing(terms)

    def prepare(self) -> KeywordIndex:
        """Read the words, unless that is done, and return their postings.

        Raises:
            NoKeywordsError: The shard has no words.
        """
        self._checked()
        with self._lock:
            if self._index is None or self._only is not None:
                self._index, self._only = self._read(None), None
            return self._index

    def prepare_only(self, terms: Collection[str]) -> None:
        """Read the postings of a few words, for a process with a single query; others are read when they are needed.

        Raises:
            NoKeywordsError: The shard has no words.
        """
        self._checked()
        with self._lock:
            if self._index is None:
                only = sorted(terms)
                self._index, self._only = self._read(only), only

    def _with(self, terms: Collection[str]) -> KeywordIndex:
        """Return postings among which are those of some words."""
        with self._lock:
            if self._index is not None and self._only is not None and set(terms) <= set(self._only):
                return self._index
        return self.prepare()

    def _read(self, only: Sequence[str] | None) -> KeywordIndex:
        if self.weights is None:
            log_line(
                f"{self._uri} stores words without the weights of titles and first words; "
                "`texthash index add-keywords` stores them anew, with weights."
            )
        with self._reading():
            return KeywordIndex.read(_words(self._rows.dataset), only, self.weights)

    def advanced(self, rows: StoredRows, change: Difference) -> StoredKeywords:
        """Return the words of another version, to which ``change`` leads.

        Only the rows that differ are read, or none before the first use.
        """
        with self._lock:
            index = None if self._only is not None else self._index
        columns = rows.dataset.schema
        if index is None or (self.analysis, index.weights) != (analysis_of(columns), weights_of(columns)):
            return StoredKeywords(self._uri, rows)
        removed: list[list[str] | None] = []
        if len(change.removed):
            with self._reading():
                table = self._rows.take(change.removed, [WORDS])
            assert table is not None  # The rows were found in this version.
            removed = table[WORDS].to_pylist()
        with reading(f"version {rows.dataset.version} of {self._uri}"):
            added = rows_at(rows.dataset, change.added["_rowaddr"].to_numpy(), ["number", WORDS])
        column = pa.concat_arrays([pa.array([], added[WORDS].type), *added[WORDS].chunks])
        words = [own or [] for own in removed]
        return StoredKeywords(self._uri, rows, index.changed(change.removed, words, added["number"].to_numpy(), column))

    def _checked(self) -> KeywordAnalysis:
        found = self.analysis
        if found is None:
            raise NoKeywordsError(
                f"{self._uri} was built without the words of its documents, so there is no keyword search.",
                "add them with `texthash index add-keywords`, or search by meaning (mode=semantic).",
            )
        return found

    def _reading(self) -> AbstractContextManager[None]:
        return reading(f"version {self._rows.dataset.version} of {self._uri}")


def _words(dataset: lance.LanceDataset) -> Iterator[tuple[NDArray[np.int64], pa.ListArray]]:
    for batch in dataset.to_batches(columns=["number", WORDS]):
        yield batch.column("number").to_numpy(), batch.column(WORDS)
