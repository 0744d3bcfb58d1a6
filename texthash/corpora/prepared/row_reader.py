"""Rows of a prepared split, read from its shards in one pass: for encoding, which needs no random access."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from texthash.corpora.prepared.batches import Batch, take
from texthash.corpora.prepared.corpus import Split
from texthash.corpora.prepared.csr_cache import LISTS
from texthash.corpora.prepared.embeddings.token_vectors import TokenVectors
from texthash.corpora.prepared.inputs import Inputs
from texthash.executor import Executor
from texthash.io.atomic import read_parquet
from texthash.io.ragged import from_arrow


class Rows(Split):
    """Consecutive documents of a split. Their words come from a table of its shards, not from mapped arrays.

    Args:
        split: Split of the documents.
        first: Row of the first document in the split.
        table: Columns of the shards.
    """

    def __init__(self, split: Split, first: int, table: pa.RecordBatch) -> None:
        super().__init__(split.name, split._corpus)
        self.split, self.first, self.table = split, first, table

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def batch(self, inputs: Inputs) -> Batch:
        """Return the documents as one batch, whose rows are numbered from 0."""
        return take(self, np.arange(len(self)), inputs)

    def dense(self, encoder: str) -> NDArray[np.float32]:
        return self.split.dense(encoder)[self.first : self.first + len(self)]

    def token_vectors(self, encoder: str, executor: Executor | None = None) -> TokenVectors:
        stored = self.split.token_vectors(encoder, executor)
        return TokenVectors(stored.indptr[self.first : self.first + len(self) + 1], stored.values)

    @cached_property
    def _arrays(self) -> dict[str, NDArray]:
        arrays: dict[str, NDArray] = {}
        for column, name in LISTS.items():
            if column in self.table.schema.names:
                arrays[f"{name}_indptr"], arrays[name] = from_arrow(self.table.column(column))
        arrays["counts"] = from_arrow(self.table.column("counts"))[1]
        return arrays


def read_rows(split: Split, shard: Path, first: int, rows: int, inputs: Inputs) -> Iterator[Rows]:
    """Read one shard of a split once, with texts and what a method needs to encode them.

    Args:
        split: Split of the shard.
        shard: One of the split's :attr:`~Split.shards`.
        first: Row of its first document in the split.
        rows: Largest number of documents at a time.
        inputs: Inputs of the method.
    """
    needed = ["word_ids", "counts", *(["tokens"] if "tokens" in inputs.needs else [])]
    for table in read_parquet(shard, [*split.document_columns, *needed], rows):
        yield Rows(split, first, table)
        first += table.num_rows
