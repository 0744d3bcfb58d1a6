"""Documents of an index in memory, with the interface of a shard."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
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


@dataclass(frozen=True)
class MemoryDocuments:
    """N documents, each attribute a list or an array of N entries.

    Attributes:
        ids: Ids.
        texts: Texts.
        titles: Titles, for the search by words; empty where there is none.
        labels: Labels.
        attributes: Attributes by name.
        codes: Codes, uint8 [N, bits / 8].
        known: Whether there is a known word, bool [N].
    """

    ids: list[str]
    texts: list[str]
    titles: list[str]
    labels: list[list[str]]
    attributes: list[dict[str, Value]]
    codes: NDArray[np.uint8]
    known: NDArray[np.bool_]

    def joined(self, other: MemoryDocuments) -> MemoryDocuments:
        """Return these documents, and behind them others."""
        return MemoryDocuments(
            [*self.ids, *other.ids],
            [*self.texts, *other.texts],
            [*self.titles, *other.titles],
            [*self.labels, *other.labels],
            [*self.attributes, *other.attributes],
            np.concatenate([self.codes, other.codes]),
            np.concatenate([self.known, other.known]),
        )

    def take(self, rows: list[int]) -> MemoryDocuments:
        """Return some of the documents."""
        lists: tuple[list[Any], ...] = (self.ids, self.texts, self.titles, self.labels, self.attributes)
        ids, texts, titles, labels, attributes = ([own[row] for row in rows] for own in lists)
        return MemoryDocuments(ids, texts, titles, labels, attributes, self.codes[rows], self.known[rows])


class MemoryShard:
    """Shard in memory: documents as lists, codes in a :class:`MultiIndex`, words in a :class:`KeywordIndex`.

    The keyword index is built at the first search by words. The number of a document is its position.

    Args:
        documents: Documents.
        analysis: Analysis of the words.
        weights: Weights of the words; None: the default.
        types: Types of the attributes, where they are known already; None reads them from the values.

    Raises:
        UsageError: An attribute has values of two types.
    """

    def __init__(
        self,
        documents: MemoryDocuments,
        analysis: KeywordAnalysis = "english",
        *,
        weights: WordWeights | None = None,
        types: Mapping[str, AttributeType] | None = None,
    ) -> None:
        self._documents = documents
        attributes = documents.attributes if any(documents.attributes) else None
        self._table = MemoryTable(documents.ids, documents.labels, attributes, types)
        self.keywords = MemoryKeywords(documents.titles, documents.texts, self._table, analysis, weights)

    @cached_property
    def _index(self) -> MultiIndex:
        """Codes of the documents with a known word; made at the first search, as several writes may come before it."""
        from texthash.index.memory.multi_index import MultiIndex

        known = self._documents.known
        return MultiIndex(self._documents.codes[known], np.flatnonzero(known).astype(np.int64)).prepare()

    def __len__(self) -> int:
        return len(self._documents.ids)

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
        return self._documents.codes[numbers]

    def vectors(self, numbers: NDArray[np.int64]) -> NDArray[np.float16]:
        """Raise :class:`ModelMismatchError`: only a release stores vectors."""
        raise ModelMismatchError("an index in memory stores no vectors.", "use a release with index.vectors.")

    def distances(self, code: bytes, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the distances of a code to documents, int64 [N]; -1 for a document without a known word."""
        known = self._documents.known[numbers]
        return distances_where(known, self._documents.codes[numbers[known]], np.frombuffer(code, np.uint8))

    def scores(
        self, values: NDArray[np.floating], queries: NDArray[np.int64], numbers: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Return the asymmetric scores of documents as :meth:`texthash.index.shard.Shard.scores` does."""
        return self._index.scores(values, queries, numbers)

    def documents(self, numbers: NDArray[np.int64], fields: Sequence[str]) -> list[dict[str, Any]]:
        """Return id, title, text, labels and attributes of documents by number."""
        own = self._documents
        columns: tuple[Sequence[Any], ...] = (own.ids, own.titles, own.texts, own.labels, self._table.attributes)
        names = ("id", "title", "text", "labels", "attributes")
        return [{name: values[row] for name, values in zip(names, columns, strict=True)} for row in numbers.tolist()]

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

        own = new._documents
        types = merged_types(self.types, zip(own.ids, own.attributes, strict=True))
        both = self._documents.joined(own)
        last = {id_: row for row, id_ in enumerate(both.ids)}  # at the place of the first document with that id
        return self._with(both.take(list(last.values())), types)

    def without(self, where: Where) -> MemoryShard:
        """Return these documents without those that fulfil a condition; attributes keep their types."""
        kept = np.ones(len(self), np.bool_)
        kept[self.select(where).numbers] = False
        return self._with(self._documents.take(np.flatnonzero(kept).tolist()), self.types)

    def _with(self, documents: MemoryDocuments, types: Mapping[str, AttributeType]) -> MemoryShard:
        return MemoryShard(documents, self.keywords.analysis, weights=self.keywords.weights, types=types)

    def write(self, path: Path) -> None:
        """Write everything to a Parquet file."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        own = self._documents
        packed = pa.array([code.tobytes() for code in own.codes], pa.binary(own.codes.shape[1]))
        columns = (own.ids, own.texts, own.labels, packed, own.known)
        table = pa.table(dict(zip(_KEPT, map(pa.array, columns), strict=True)))
        if any(own.titles):
            table = table.append_column(_TITLES, pa.array(own.titles, pa.string()))
        if self.types:
            written = [to_json(values) for values in own.attributes]
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
            titles = table[_TITLES].to_pylist() if _TITLES in table.column_names else [""] * len(ids)
            metadata = table.schema.metadata or {}
            weights = WordWeights(**json.loads(metadata[_WEIGHTS])) if _WEIGHTS in metadata else None
            attributes: list[dict[str, Value]] = [{} for _ in ids]
            if _ATTRIBUTES in table.column_names:
                attributes = [from_json(own) for own in table[_ATTRIBUTES].to_pylist()]
        except (pa.ArrowException, KeyError, OSError, ValueError, TypeError) as error:
            raise TexthashError(f"{path} is broken: {error}", "restore the directory that Index.save wrote.") from None
        kind = table["code"].type  # variable in files of an earlier version, which are never empty
        width = kind.byte_width if pa.types.is_fixed_size_binary(kind) else len(codes[0])
        packed = np.frombuffer(b"".join(codes), np.uint8).reshape(len(codes), width)
        analysis: KeywordAnalysis = "plain" if metadata.get(_ANALYSIS) == b"plain" else "english"
        documents = MemoryDocuments(ids, texts, titles, labels, attributes, packed, np.asarray(known, np.bool_))
        return cls(documents, analysis, weights=weights)


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
