"""Writing of the Parquet shards of a prepared corpus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from texthash.corpora.document import SPLITS
from texthash.corpora.preparation.staging import Staging
from texthash.corpora.prepared.manifest import PairCounts
from texthash.corpora.words import Analyzer
from texthash.io.atomic import read_arrow, whole, write_json
from texthash.io.ragged import filtered, from_arrow, to_arrow
from texthash.io.records import read_typed

_NUMBERS = pa.list_(pa.int32())
SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "text": pa.string(),
        "title": pa.string(),
        "labels": pa.list_(pa.string()),
        "label_ids": _NUMBERS,
        "tokens": _NUMBERS,
        "word_ids": _NUMBERS,
        "counts": _NUMBERS,
    }
)
PAIR_SCHEMA = pa.schema(
    [
        *SCHEMA,
        pa.field("queries", pa.list_(pa.string())),
        pa.field("query_tokens", pa.list_(_NUMBERS)),
        pa.field("negatives", pa.list_(pa.string())),
    ]
)


@dataclass
class ShardSizes:
    """Sizes of one shard.

    Attributes:
        documents: Number of documents.
        words: Number of distinct words, summed over documents.
        tokens: Number of words.
        labels: Number of label assignments.
        labels_per_document: Maximum number of labels of one document.
        label_documents: Number of documents with each label [labels].
        pairs: Counts of questions in a pair corpus, else None.
        dropped: Number of documents left out, by reason.
    """

    documents: int = 0
    words: int = 0
    tokens: int = 0
    labels: int = 0
    labels_per_document: int = 0
    label_documents: list[int] = field(default_factory=list)
    pairs: PairCounts | None = None
    dropped: dict[str, int] = field(default_factory=dict)


def write_shards(staging: Staging, number: int) -> None:
    """Write shard ``number`` of each split: an equal share of its documents, in reading order (step 4).

    All splits are written at once, because their documents lie in the same chunks. Existing shards are kept.
    """
    if staging.shard_sizes(number).exists():
        return
    writer = _ShardWriter(staging)
    sizes = {split: ShardSizes(label_documents=[0] * len(writer.labels)) for split in SPLITS}
    with ExitStack() as stack:
        files = {}
        for split in SPLITS:
            partial = stack.enter_context(whole(staging.shard(split, number)))
            files[split] = stack.enter_context(_parquet(partial, writer.schema))
        for split, table, dropped in writer.tables(number):
            files[split].write_table(table)
            _add(sizes[split], table, dropped)
    write_json(staging.shard_sizes(number), {split: asdict(size) for split, size in sizes.items()})


def read_sizes(staging: Staging, number: int) -> dict[str, ShardSizes]:
    """Return the sizes of shard ``number`` of each split."""
    return read_typed(dict[str, ShardSizes], staging.shard_sizes(number), staging.remedy)


class _ShardWriter:
    """Builder of the tables of shards, with the vocabulary of the preparation."""

    def __init__(self, staging: Staging) -> None:
        reading = staging.reading()
        self.staging = staging
        self.labels = pa.array(reading.label_names, pa.string())
        self._pairs = reading.pairs
        self.schema = PAIR_SCHEMA if reading.pairs else SCHEMA
        self._columns = ["id", "text", "title", "labels"]
        if reading.attributes:
            self._columns.append("attributes")
            self.schema = self.schema.append(pa.field("attributes", pa.string()))
        self._chunks = reading.chunks
        self._before = np.vstack([np.zeros(len(SPLITS), np.int64), np.cumsum(reading.splits, axis=0)])
        self._terms = read_arrow(staging.terms_known)["term"].combine_chunks()

    def tables(self, number: int) -> Iterator[tuple[str, pa.Table, dict[str, int]]]:
        """Yield split, table and counts of documents left out, chunk by chunk."""
        shards = self.staging.config.shards
        first, end = self._before[-1] * number // shards, self._before[-1] * (number + 1) // shards
        here = (self._before[1:] > first) & (self._before[:-1] < end)
        for chunk in np.flatnonzero(here.any(axis=1)):
            documents = self._documents(self._chunks[chunk])
            splits = read_arrow(self.staging.splits(self._chunks[chunk]))["split"].to_numpy()
            for split in np.flatnonzero(here[chunk]):
                before = self._before[chunk, split]
                rows = np.flatnonzero(splits == split)[max(0, first[split] - before) : end[split] - before]
                part = documents if len(rows) == len(documents) else documents.take(pa.array(rows))
                yield SPLITS[split], *self._filter_by_length(part)

    def _documents(self, chunk: str) -> pa.Table:
        """Return the documents of a chunk with the numbers of vocabulary and labels."""
        terms = read_arrow(self.staging.terms(chunk))["term"].combine_chunks()
        # Both are in alphabetical order, so numbers that are sorted in the chunk stay sorted.
        numbers = pc.index_in(terms, self._terms).fill_null(-1).to_numpy()
        words = read_arrow(self.staging.words(chunk))
        tokens_indptr, tokens = from_arrow(words["tokens"])
        bag_indptr, word_ids = from_arrow(words["word_ids"])
        tokens, word_ids = numbers[tokens], numbers[word_ids]
        known, counted = tokens >= 0, word_ids >= 0
        bag_indptr = filtered(bag_indptr, counted)
        documents = read_arrow(self.staging.documents(chunk), self._columns)
        label_indptr, label_names = _lists(documents["labels"])
        columns = {
            **{name: documents[name] for name in documents.column_names},
            "label_ids": to_arrow(label_indptr, pc.index_in(label_names, self.labels).to_numpy()),
            "tokens": to_arrow(filtered(tokens_indptr, known), tokens[known]),
            "word_ids": to_arrow(bag_indptr, word_ids[counted]),
            "counts": to_arrow(bag_indptr, from_arrow(words["counts"])[1][counted]),
        }
        if self._pairs:
            columns |= self._questions(chunk)
        return pa.table(columns, schema=self.schema)

    def _questions(self, chunk: str) -> dict[str, pa.Array]:
        """Return the additional columns of a pair corpus.

        Words outside of the vocabulary, which is that of the training documents, are left out of questions too.
        """
        pairs = read_arrow(self.staging.documents(chunk), ["queries", "negatives"]).combine_chunks()
        indptr, texts = _lists(pairs["queries"])
        tokens_indptr, ids, terms = Analyzer.from_edition(self.staging.config.edition).intern(texts.to_pylist())
        tokens = pc.index_in(terms, self._terms).fill_null(-1).to_numpy()[ids]
        known = tokens >= 0
        words = to_arrow(filtered(tokens_indptr, known), tokens[known])
        return {
            "queries": pairs["queries"],
            "query_tokens": pa.ListArray.from_arrays(pa.array(indptr.astype(np.int32)), words),
            "negatives": pairs["negatives"],
        }

    def _filter_by_length(self, table: pa.Table) -> tuple[pa.Table, dict[str, int]]:
        """Return the documents within the edition's limits, and the number of those left out by reason."""
        edition = self.staging.config.edition
        lengths = pc.list_value_length(table["tokens"]).to_numpy()
        few = lengths < edition.min_tokens
        many = ~few & (lengths > edition.max_tokens) if edition.max_tokens is not None else np.zeros_like(few)
        left_out = {
            f"fewer than {edition.min_tokens} vocabulary words": int(few.sum()),
            f"more than {edition.max_tokens} vocabulary words": int(many.sum()),
        }
        dropped = {reason: count for reason, count in left_out.items() if count}
        return table.filter(pa.array(~few & ~many)) if dropped else table, dropped


def _parquet(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    return pq.ParquetWriter(path, schema, compression="zstd", version="2.6")


def _add(sizes: ShardSizes, table: pa.Table, dropped: dict[str, int]) -> None:
    sizes.documents += len(table)
    for name, column in (("words", "word_ids"), ("tokens", "tokens"), ("labels", "label_ids")):
        lengths = pc.list_value_length(table[column]).to_numpy()
        setattr(sizes, name, getattr(sizes, name) + int(lengths.sum()))
        if name == "labels":
            sizes.labels_per_document = max(sizes.labels_per_document, int(lengths.max(initial=0)))
    here = np.bincount(from_arrow(table["label_ids"])[1], minlength=len(sizes.label_documents))
    sizes.label_documents = (np.asarray(sizes.label_documents, np.int64) + here).tolist()
    if "queries" in table.column_names:
        sizes.pairs = _pairs(sizes.pairs or PairCounts(0, 0, 0, 0), table)
    sizes.dropped = dict(Counter(sizes.dropped) + Counter(dropped))


def _pairs(before: PairCounts, table: pa.Table) -> PairCounts:
    questions = pc.list_value_length(table["queries"]).to_numpy()
    return PairCounts(
        queries=before.queries + int(questions.sum()),
        tokens=before.tokens + len(pc.list_flatten(pc.list_flatten(table["query_tokens"]))),
        documents=before.documents + int((questions > 0).sum()),
        negatives=before.negatives + int(pc.list_value_length(table["negatives"]).to_numpy().sum()),
    )


def _lists(column: pa.ChunkedArray) -> tuple[NDArray[np.int64], pa.Array]:
    """Return ``indptr`` and flat values of a list column without nulls."""
    array = column.combine_chunks()
    offsets = array.offsets.to_numpy().astype(np.int64)
    return offsets - offsets[0], array.flatten()
