"""A part of the training documents to learn from, where millions would need hours of vectors or neighbours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from texthash.corpora.prepared.corpus import PreparedCorpus, Split
from texthash.corpora.prepared.csr_cache import LISTS, load_arrays, make_once
from texthash.errors import UsageError
from texthash.io.ragged import take_rows


class SampledCorpus(PreparedCorpus):
    """Corpus whose training split has some of the training documents, evenly spaced; other splits are as they were.

    Graphs, vectors and other data that are derived from the sample lie beside those of the whole corpus.

    Args:
        whole: Prepared corpus.
        documents: Number of training documents, below that of ``whole``.
    """

    def __init__(self, whole: PreparedCorpus, documents: int) -> None:
        counts = {**whole.manifest.splits, "train": replace(whole.manifest.splits["train"], documents=documents)}
        super().__init__(whole.path, replace(whole.manifest, splits=counts))
        self.whole, self.documents = whole, documents

    @property
    def rows(self) -> NDArray[np.int64]:
        """Rows of the sample in the training split of the whole, int64 [N], ascending."""
        return np.linspace(0, len(self.whole.train) - 1, self.documents).astype(np.int64)

    @property
    def cache(self) -> Path:
        return self.whole.cache / "samples" / str(self.documents)

    def split(self, name: str) -> Split:
        return Sample(self) if name == "train" else super().split(name)

    def __getstate__(self) -> dict[str, object]:
        return {**super().__getstate__(), "whole": self.whole, "documents": self.documents}


class Sample(Split):
    """Training split of a :class:`SampledCorpus`."""

    _corpus: SampledCorpus

    def __init__(self, corpus: SampledCorpus) -> None:
        super().__init__("train", corpus)

    @cached_property
    def ids(self) -> list[str]:
        return [id_ for table in self.documents() for id_ in table["id"].to_pylist()]

    def documents(self, batch: int = 1024) -> Iterator[pa.Table]:
        """Yield tables of the documents as :meth:`~texthash.corpora.prepared.corpus.Split.documents` does."""
        first, rows = 0, self._corpus.rows
        for table in self._corpus.whole.train.documents(batch):
            here = rows[(rows >= first) & (rows < first + len(table))] - first
            first += len(table)
            if len(here):
                yield table.take(here)

    @property
    def shards(self) -> list[Path]:
        raise NotImplementedError("a sample has no shards of its own; read documents()")

    @cached_property
    def _arrays(self) -> dict[str, NDArray]:
        return load_arrays(make_once(self.cache / self.name, self._fill))

    def _fill(self, partial: Path) -> None:
        whole, rows = self._corpus.whole.train._arrays, self._corpus.rows
        for name in LISTS.values():
            indptr, entries = take_rows(whole[f"{name}_indptr"], rows)
            np.save(partial / f"{name}_indptr.npy", indptr)
            for array in (name, "counts") if name == "words" else (name,):
                np.save(partial / f"{array}.npy", whole[array][entries])


def learning_from(corpus: PreparedCorpus, documents: int | None) -> PreparedCorpus:
    """Return a corpus with so many of the training documents, evenly spaced; itself if it has no more, and for None.

    Raises:
        UsageError: It is a pair corpus, whose questions are of all training documents.
    """
    if documents is None or documents >= len(corpus.train):
        return corpus
    if corpus.manifest.pairs:
        raise UsageError(
            f"training.documents={documents}: the questions of a pair corpus are of all its training documents.",
            "leave it null, or prepare a smaller edition: corpus.edition.sample.",
        )
    return SampledCorpus(corpus, documents)
