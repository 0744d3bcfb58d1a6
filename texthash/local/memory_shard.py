"""Documents of an index in memory, with the interface of a shard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from texthash.api.attributes import AttributeType, Value, from_json, to_json
from texthash.errors import ModelMismatchError, TexthashError
from texthash.local.memory_table import MemoryTable

if TYPE_CHECKING:
    from texthash.config import KeywordAnalysis
    from texthash.index.filters.language import Where
    from texthash.index.filters.selection import Selection
    from texthash.index.keywords.bm25 import KeywordStatistics
    from texthash.index.keywords.postings import KeywordHits, KeywordIndex
    from texthash.index.memory.cost_model import Plan
    from texthash.index.memory.flat import Hits

_KEPT = ("id", "text", "labels", "code", "known")
_ATTRIBUTES = "attributes"
_ANALYSIS = b"keywords"


class MemoryShard:
    """Shard in memory: documents as lists, codes in a :class:`MultiIndex`, words in a :class:`KeywordIndex`.

    The keyword index is built at the first search by words. The number of a document is its position.

    Args:
        ids: Id of each document.
        texts: Text of each document.
        labels: Labels of each document.
        codes: Code of each document, uint8 [N, bits / 8].
        known: Whether each document has a known word, bool [N].
        analysis: Analysis of the words.
        attributes: Attributes of each document; None: none has any.

    Raises:
        UsageError: An attribute has values of two types.
    """

    def __init__(
        self,
        ids: list[str],
        texts: list[str],
        labels: list[list[str]],
        codes: NDArray[np.uint8],
        known: NDArray[np.bool_],
        analysis: KeywordAnalysis = "english",
        *,
        attributes: list[dict[str, Value]] | None = None,
    ) -> None:
        from texthash.index.memory.multi_index import MultiIndex

        self._ids, self._texts, self._labels, self._codes, self._known = ids, texts, labels, codes, known
        self._index = MultiIndex(codes[known], np.flatnonzero(known).astype(np.int64)).prepare()
        self._table = MemoryTable(ids, labels, attributes)
        self.keywords = MemoryKeywords(texts, self._table, analysis)

    def __len__(self) -> int:
        return len(self._ids)

    def search(
        self,
        codes: NDArray[np.uint8],
        limit: int,
        offset: int = 0,
        *,
        radius: int | None = None,
        where: Where | None = None,
        threads: int = 1,
        plan: Plan = "auto",
    ) -> Hits:
        """Search as :meth:`texthash.index.shard.Shard.search` does."""
        allow = None
        if where is not None:
            allow = self._table.select(where).of(self._index.numbers, ascending=True)
        return self._index.search(codes, limit, offset, radius=radius, allow=allow, threads=threads, plan=plan)

    def codes(self, numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the codes of documents, uint8 [N, bits / 8]."""
        return self._codes[numbers]

    def vectors(self, numbers: NDArray[np.int64]) -> NDArray[np.float16]:
        """Raise :class:`ModelMismatchError`: only a release stores vectors."""
        raise ModelMismatchError("an index in memory stores no vectors.", "use a release with index.vectors.")

    def distances(self, code: bytes, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the distances of a code to documents, int64 [N]; -1 for a document without a known word."""
        differing = self._codes[numbers] ^ np.frombuffer(code, np.uint8)
        return np.where(self._known[numbers], np.bitwise_count(differing).sum(axis=1, dtype=np.int64), -1)

    def documents(self, numbers: NDArray[np.int64], fields: Sequence[str]) -> list[dict[str, Any]]:
        """Return id, text, labels and attributes of documents by number."""
        return [
            {
                "id": self._ids[row],
                "text": self._texts[row],
                "labels": self._labels[row],
                "attributes": self._table.attributes[row],
            }
            for row in numbers.tolist()
        ]

    @property
    def types(self) -> dict[str, AttributeType]:
        """Type of each attribute."""
        return self._table.types

    def select(self, where: Where) -> Selection:
        """Return the documents that fulfil a condition."""
        return self._table.select(where)

    def write(self, path: Path) -> None:
        """Write everything to a Parquet file."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns = (self._ids, self._texts, self._labels, [code.tobytes() for code in self._codes], self._known)
        table = pa.table(dict(zip(_KEPT, map(pa.array, columns), strict=True)))
        if self.types:
            written = [to_json(own) for own in self._table.attributes]
            table = table.append_column(_ATTRIBUTES, pa.array(written, pa.string()))
        pq.write_table(table.replace_schema_metadata({_ANALYSIS: self.keywords.analysis}), path)

    @classmethod
    def read(cls, path: Path) -> MemoryShard:
        """Read a file that :meth:`write` wrote; raises :class:`TexthashError` for another."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.read_table(path)
            ids, texts, labels, codes, known = (table[name].to_pylist() for name in _KEPT)
            attributes = None
            if _ATTRIBUTES in table.column_names:
                attributes = [from_json(own) for own in table[_ATTRIBUTES].to_pylist()]
        except (pa.ArrowException, KeyError, OSError, ValueError, TypeError) as error:
            raise TexthashError(f"{path} is broken: {error}", "restore the directory that Index.save wrote.") from None
        packed = np.frombuffer(b"".join(codes), np.uint8).reshape(len(codes), -1)
        plain = (table.schema.metadata or {}).get(_ANALYSIS) == b"plain"
        analysis: KeywordAnalysis = "plain" if plain else "english"
        return cls(ids, texts, labels, packed, np.asarray(known, np.bool_), analysis, attributes=attributes)


class MemoryKeywords:
    """Search by words over texts in memory, as :class:`texthash.index.keywords.stored.StoredKeywords`."""

    def __init__(self, texts: list[str], table: MemoryTable, analysis: KeywordAnalysis) -> None:
        self._texts, self._table, self.analysis = texts, table, analysis

    def query(self, text: str) -> dict[str, int]:
        """Return the distinct words of a query, with their numbers of occurrences."""
        from texthash.index.keywords.analysis import keyword_analyzer

        return keyword_analyzer(self.analysis).query(text)

    def statistics(self, terms: Sequence[str]) -> KeywordStatistics:
        """Return the counts of the documents for some words."""
        return self._index.statistics(terms)

    def search(
        self, query: Mapping[str, int], statistics: KeywordStatistics, limit: int, where: Where | None = None
    ) -> KeywordHits:
        """Return the documents with the highest BM25 scores."""
        allowed = None if where is None else self._table.select(where)
        return self._index.search(query, statistics, limit, allowed)

    @cached_property
    def _index(self) -> KeywordIndex:
        from texthash.index.keywords.analysis import keyword_analyzer
        from texthash.index.keywords.postings import KeywordIndex
        from texthash.index.keywords.top import load_kernel

        load_kernel()
        words = keyword_analyzer(self.analysis).column(self._texts)
        return KeywordIndex.read([(np.arange(len(self._texts), dtype=np.int64), words)])
