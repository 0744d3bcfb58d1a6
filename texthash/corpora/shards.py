"""Writing the Parquet shards of a prepared corpus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from texthash.corpora.document import SPLITS
from texthash.corpora.ragged import filtered, from_arrow, indptr_of, places, to_arrow
from texthash.corpora.staging import Staging
from texthash.corpora.storage import read_arrow, whole, write_json
from texthash.corpora.text import Vocabulary

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


class ShardWriter:
    """Writes shards of one preparation, whose vocabulary is chosen."""

    def __init__(self, staging: Staging) -> None:
        self.staging = staging
        reading = staging.reading()
        self._starts = np.asarray(reading.starts)
        self._labels = {name: number for number, name in enumerate(reading.label_names)}
        vocabulary = Vocabulary.from_json(staging.vocabulary.read_text(encoding="utf-8"))
        self._terms = pa.array(vocabulary.terms, pa.string())

    def write(self, split: str, number: int) -> None:
        """Write one shard: an equal share of the split's documents, in reading order. Does nothing if it is there."""
        if self.staging.shard_counts(split, number).exists():
            return
        sizes: Counter[str] = Counter(documents=0, words=0, tokens=0, labels=0)
        dropped: Counter[str] = Counter()
        labels_per_document = 0
        with (
            whole(self.staging.shard(split, number)) as partial,
            pq.ParquetWriter(partial, SCHEMA, compression="zstd", version="2.6") as writer,
        ):
            for chunk, rows in self._rows(split, number):
                table = self._table(chunk, rows, dropped)
                writer.write_table(table)
                sizes["documents"] += len(table)
                for name, column in (("words", "word_ids"), ("tokens", "tokens"), ("labels", "label_ids")):
                    lengths = np.diff(from_arrow(table[column])[0])
                    sizes[name] += int(lengths.sum())
                    if name == "labels":
                        labels_per_document = max(labels_per_document, int(lengths.max(initial=0)))
        record = {**sizes, "labels_per_document": labels_per_document, "dropped": dropped}
        write_json(self.staging.shard_counts(split, number), record)

    def _rows(self, split: str, number: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """The chunks that hold documents of this shard, and their rows in the chunk."""
        splits, wanted = self.staging.splits(), SPLITS.index(split)
        before = indptr_of(np.add.reduceat(splits == wanted, self._starts[:-1], dtype=np.int64))
        shards = self.staging.config.shards
        first, end = before[-1] * number // shards, before[-1] * (number + 1) // shards
        for chunk in np.flatnonzero((before[1:] > first) & (before[:-1] < end)):
            rows = np.flatnonzero(splits[self._starts[chunk] : self._starts[chunk + 1]] == wanted)
            yield int(chunk), rows[max(0, first - before[chunk]) : end - before[chunk]]

    def _table(self, chunk: int, rows: NDArray[np.int64], dropped: Counter[str]) -> pa.Table:
        """Chosen documents of a chunk in the vocabulary's numbers, without those of a length that is not wanted."""
        terms = read_arrow(self.staging.terms(chunk), ["term"])["term"].combine_chunks()
        numbers = pc.index_in(terms, self._terms).fill_null(-1).to_numpy()
        all_indptr, all_words = from_arrow(read_arrow(self.staging.words(chunk))["words"])
        indptr, tokens = _known(*_chosen(all_indptr, all_words, rows), numbers)
        wanted = self._wanted(np.diff(indptr), dropped)
        indptr, tokens = _chosen(indptr, tokens, np.flatnonzero(wanted))
        shape = (len(indptr) - 1, len(self._terms))
        bags = csr_matrix((np.ones(len(tokens), np.int32), tokens, indptr), shape=shape, copy=True)
        bags.sum_duplicates()  # sorts in place: hence the copy, tokens keep their order
        documents = read_arrow(self.staging.documents(chunk)).take(pa.array(rows[wanted]))
        label_indptr, label_names = from_arrow(documents["labels"])
        label_ids = np.fromiter((self._labels[name] for name in label_names), np.int32, len(label_names))
        columns = {
            **{name: documents[name] for name in ("id", "text", "title", "labels")},
            "label_ids": to_arrow(label_indptr, label_ids),
            "tokens": to_arrow(indptr, tokens),
            "word_ids": to_arrow(bags.indptr, bags.indices),
            "counts": to_arrow(bags.indptr, bags.data),
        }
        return pa.table(columns, schema=SCHEMA)

    def _wanted(self, lengths: NDArray[np.int64], dropped: Counter[str]) -> NDArray[np.bool_]:
        edition = self.staging.config.edition
        wanted = lengths >= edition.min_tokens
        if few := int((~wanted).sum()):
            dropped[f"fewer than {edition.min_tokens} vocabulary words"] += few
        if edition.max_tokens is not None:
            long = lengths > edition.max_tokens
            if many := int(long.sum()):
                dropped[f"more than {edition.max_tokens} vocabulary words"] += many
            wanted &= ~long
        return wanted


def _chosen(indptr: NDArray, values: NDArray, rows: NDArray[np.int64]) -> tuple[NDArray, NDArray]:
    part, entries = places(indptr, rows)
    return part, values[entries]


def _known(indptr: NDArray, words: NDArray, numbers: NDArray[np.int32]) -> tuple[NDArray, NDArray]:
    """A chunk's own word numbers to the vocabulary's, without the words that are not in it."""
    tokens = numbers[words] if len(words) else np.empty(0, np.int32)
    kept = tokens >= 0
    return filtered(indptr, kept), tokens[kept]
