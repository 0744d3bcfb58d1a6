"""Documents of an index in memory, with the interface of a shard."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from texthash.api.attributes import AttributeType, Value, from_json, to_json
from texthash.errors import ModelMismatchError, TexthashError
from texthash.hamming.plain_scan import distances_where
from texthash.local.memory_table import MemoryTable

if TYPE_CHECKING:
    from texthash.config import KeywordAnalysis
    from texthash.index.filters.language import Where
    from texthash.index.filters.parts import Part
    from texthash.index.filters.selection import Selection
    from texthash.index.keywords.bm25 import KeywordStatistics
    from texthash.index.keywords.postings import KeywordHits, KeywordIndex
    from texthash.index.keywords.weights import WordWeights
    from texthash.index.memory.cost_model import Plan
    from texthash.index.memory.hits import Hits
    from texthash.index.memory.multi_index import MultiIndex

_KEPT = ("id", "text", "labels", "code", "known")
_ATTRIBUTES, _TITLES = "attributes", "title"
_ANALYSIS, _WEIGHTS = b"keywords", b"weights"


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
        titles: Title of each document, for the search by words; None: none has any.
        weights: Weights of the words; None: the default.
        attributes: Attributes of each document; None: none has any.
        types: Types of the attributes, where they are known already; None reads them from the values.

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
        titles: list[str] | None = None,
        weights: WordWeights | None = None,
        attributes: list[dict[str, Value]] | None = None,
        types: Mapping[str, AttributeType] | None = None,
    ) -> None:
        self._ids, self._texts, self._labels, self._codes, self._known = ids, texts, labels, codes, known
        self._titles = titles or [""] * len(ids)
        self._table = MemoryTable(ids, labels, attributes, types)
        self.keywords = MemoryKeywords(self._titles, texts, self._table, analysis, weights)

    @cached_property
    def _index(self) -> MultiIndex:
        """Codes of the documents with a known word; made at the first search, as several writes may come before it."""
        from texthash.index.memory.multi_index import MultiIndex

        return MultiIndex(self._codes[self._known], np.flatnonzero(self._known).astype(np.int64)).prepare()

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
        known = self._known[numbers]
        return distances_where(known, self._codes[numbers[known]], np.frombuffer(code, np.uint8))

    def documents(self, numbers: NDArray[np.int64], fields: Sequence[str]) -> list[dict[str, Any]]:
        """Return id, title, text, labels and attributes of documents by number."""
        return [
            {
                "id": self._ids[row],
                "title": self._titles[row],
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

    def parts(self, selected: Selection | None = None) -> list[Part]:
        """Return all documents as rows, with those of a selection kept; None keeps all."""
        from texthash.index.filters.parts import Part

        numbers = self._table.numbers
        kept = np.ones(len(self), np.bool_) if selected is None else selected.of(numbers, ascending=True)
        return [Part(self._table, kept)]

    def replaced(self, new: MemoryShard) -> MemoryShard:
        """Return these documents with those of another shard: in place of the ones with their ids, or behind all.

        Raises:
            UsageError: An attribute has a value of another type here.
        """
        from texthash.index.filters.types import merged_types

        types = merged_types(self.types, zip(new._ids, new._table.attributes, strict=True))
        places = {id_: row for row, id_ in enumerate(self._ids)}
        rows = np.asarray([places.setdefault(id_, len(places)) for id_ in new._ids], np.int64)
        ids = list(places)
        codes = np.zeros((len(ids), new._codes.shape[1]), np.uint8)
        codes[: len(self)], codes[rows] = self._codes, new._codes
        known = np.zeros(len(ids), np.bool_)
        known[: len(self)], known[rows] = self._known, new._known
        columns: list[list[Any]] = []
        for own, others in (
            (self._texts, new._texts),
            (self._titles, new._titles),
            (self._labels, new._labels),
            (self._table.attributes, new._table.attributes),
        ):
            column = [*own, *[None] * (len(ids) - len(self))]
            for row, value in zip(rows.tolist(), others, strict=True):
                column[row] = value
            columns.append(column)
        texts, titles, labels, attributes = columns
        return MemoryShard(
            ids,
            texts,
            labels,
            codes,
            known,
            self.keywords.analysis,
            titles=titles,
            weights=self.keywords.weights,
            attributes=attributes,
            types=types,
        )

    def without(self, where: Where) -> MemoryShard:
        """Return these documents without those that fulfil a condition; attributes keep their types."""
        gone = np.zeros(len(self), np.bool_)
        gone[self.select(where).numbers] = True
        rows = np.flatnonzero(~gone).tolist()
        return MemoryShard(
            [self._ids[row] for row in rows],
            [self._texts[row] for row in rows],
            [self._labels[row] for row in rows],
            self._codes[rows],
            self._known[rows],
            self.keywords.analysis,
            titles=[self._titles[row] for row in rows],
            weights=self.keywords.weights,
            attributes=[self._table.attributes[row] for row in rows],
            types=self.types,
        )

    def write(self, path: Path) -> None:
        """Write everything to a Parquet file."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        packed = pa.array([code.tobytes() for code in self._codes], pa.binary(self._codes.shape[1]))
        columns = (self._ids, self._texts, self._labels, packed, self._known)
        table = pa.table(dict(zip(_KEPT, map(pa.array, columns), strict=True)))
        if any(self._titles):
            table = table.append_column(_TITLES, pa.array(self._titles, pa.string()))
        if self.types:
            written = [to_json(own) for own in self._table.attributes]
            table = table.append_column(_ATTRIBUTES, pa.array(written, pa.string()))
        weights = json.dumps(asdict(self.keywords.weights))
        pq.write_table(table.replace_schema_metadata({_ANALYSIS: self.keywords.analysis, _WEIGHTS: weights}), path)

    @classmethod
    def read(cls, path: Path) -> MemoryShard:
        """Read a file that :meth:`write` wrote; raises :class:`TexthashError` for another."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        from texthash.index.keywords.weights import WordWeights

        try:
            table = pq.read_table(path)
            ids, texts, labels, codes, known = (table[name].to_pylist() for name in _KEPT)
            titles = table[_TITLES].to_pylist() if _TITLES in table.column_names else None
            metadata = table.schema.metadata or {}
            weights = WordWeights(**json.loads(metadata[_WEIGHTS])) if _WEIGHTS in metadata else None
            attributes = None
            if _ATTRIBUTES in table.column_names:
                attributes = [from_json(own) for own in table[_ATTRIBUTES].to_pylist()]
        except (pa.ArrowException, KeyError, OSError, ValueError, TypeError) as error:
            raise TexthashError(f"{path} is broken: {error}", "restore the directory that Index.save wrote.") from None
        kind = table["code"].type  # variable in files of an earlier version, which are never empty
        width = kind.byte_width if pa.types.is_fixed_size_binary(kind) else len(codes[0])
        packed = np.frombuffer(b"".join(codes), np.uint8).reshape(len(codes), width)
        analysis: KeywordAnalysis = "plain" if metadata.get(_ANALYSIS) == b"plain" else "english"
        return cls(
            ids,
            texts,
            labels,
            packed,
            np.asarray(known, np.bool_),
            analysis,
            titles=titles,
            weights=weights,
            attributes=attributes,
        )


class MemoryKeywords:
    """Search by words over texts in memory, as :class:`texthash.index.keywords.stored.StoredKeywords`."""

    def __init__(
        self,
        titles: list[str],
        texts: list[str],
        table: MemoryTable,
        analysis: KeywordAnalysis,
        weights: WordWeights | None = None,
    ) -> None:
        from texthash.index.keywords.weights import WordWeights

        self._titles, self._texts, self._table, self.analysis = titles, texts, table, analysis
        self.weights = weights or WordWeights()

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

    def containing(self, terms: Sequence[str]) -> NDArray[np.int64]:
        """Return the numbers of the documents that contain one of some words, int64, ascending."""
        return self._index.containing(terms)

    @cached_property
    def _index(self) -> KeywordIndex:
        from texthash.index.keywords.analysis import keyword_analyzer
        from texthash.index.keywords.postings import KeywordIndex

        words = keyword_analyzer(self.analysis).documents(self._titles, self._texts)
        return KeywordIndex.read([(np.arange(len(self._texts), dtype=np.int64), words)], weights=self.weights)
