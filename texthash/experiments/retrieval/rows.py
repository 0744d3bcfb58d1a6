"""Rows of a retrieval table: baselines, codes of a model and vectors.

random        equal scores: the expected value over all orders of the documents
bm25          keyword search, stemmed, without English stop words (:mod:`texthash.evaluation.baselines.lexical`)
tf-idf        cosine of sublinear tf-idf of the same words
float         cosine of the vectors of a sentence encoder
hamming       distance of the codes of a model
asymmetric    product of the query's real values and the bits of a document (:mod:`texthash.index.rescoring`)

A document without a word that a row knows is not listed, and a query without one has no list, as in an index.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from texthash.config import VectorKind
from texthash.errors import ModelMismatchError
from texthash.evaluation.baselines.lexical import Lexical
from texthash.evaluation.retrieval.ranked import Ranked
from texthash.evaluation.retrieval.table import BASELINE, Row
from texthash.hamming import kernels
from texthash.index.rescoring import asymmetric
from texthash.models.hasher import Hasher, TextActivations
from texthash.models.vectors import unit

_POSTING = 8  # bytes: the number of a document, and the count
_BLOCK = 64  # queries whose scores of all documents are held at once
RANDOM, TFIDF = "random", "tf-idf cosine"


def baseline_rows(documents: Sequence[str]) -> list[Row]:
    """Return the rows without learning: random, tf-idf and BM25."""
    lexical = Lexical(documents)
    postings = _POSTING * lexical.counts.nnz / max(1, len(documents))
    return [
        random_row(len(documents)),
        Row(TFIDF, lexical.cosine, "sublinear tf-idf, stemmed, English stop words left out", postings),
        bm25_row(lexical),
    ]


def random_row(documents: int) -> Row:
    """Return the row in which all documents have the same score."""
    everything = Ranked(np.arange(documents), np.zeros(documents))
    return Row(RANDOM, lambda queries: [everything] * len(queries), "expected value over all orders", 0)


def bm25_row(lexical: Lexical, name: str = BASELINE, k1: float = 1.2, b: float = 0.75) -> Row:
    """Return the row of BM25."""
    how = f"k1 {k1:g}, b {b:g}, stemmed, English stop words left out"
    size = _POSTING * lexical.counts.nnz / max(1, lexical.counts.shape[0])
    return Row(name, lambda queries: lexical.bm25(queries, k1, b), how, size)


class ModelRows:
    """Rows of one model over the documents of a collection, which are encoded once, when the first row is searched.

    Args:
        model: Trained model.
        documents: Texts of the documents.
        name: Prefix of the names of the rows; empty: method and bits.
    """

    def __init__(self, model: Hasher, documents: Sequence[str], name: str = "") -> None:
        self.model, self._texts = model, documents
        self.name = name or f"{model.method.card.name} {model.bits}"
        self._kind: VectorKind | None = "features" if model.method.shape.encoder is not None else None
        self._last: tuple[list[str], TextActivations] | None = None

    def rows(self) -> list[Row]:
        """Return the rows of Hamming distances and of asymmetric scores, and of the float vectors from which the model
        makes its codes, if it does."""
        size = self.model.bits / 8
        found = [
            Row(f"{self.name} hamming", self.hamming, "distance of the codes", size),
            Row(f"{self.name} asymmetric", self.asymmetric, "float query against the bits", size),
        ]
        if self._kind is not None:
            width = self.model.method.shape.dense
            how = f"cosine of {(self.model.method.shape.encoder or '').partition('@')[0]}"
            found.insert(0, Row(f"{self.name} float", self.vectors, how, 4.0 * width))
        return found

    def hamming(self, queries: Sequence[str]) -> Iterator[Ranked]:
        """Yield lists by Hamming distance; the score is the negative distance."""
        numbers, codes, _ = self._documents
        asked = self._asked(queries)
        for own, is_known in zip(self.model.binarize(asked.values), asked.known, strict=True):
            distances = kernels.distances(own[None], codes)[0]
            yield Ranked(numbers, -distances.astype(np.float64)) if is_known else _nothing()

    def asymmetric(self, queries: Sequence[str]) -> Iterator[Ranked]:
        """Yield lists by asymmetric score."""
        numbers, codes, _ = self._documents
        asked = self._asked(queries)
        for own, is_known in zip(self.model.pre_threshold_margins(asked.values), asked.known, strict=True):
            yield Ranked(numbers, asymmetric(own, codes)) if is_known else _nothing()

    def vectors(self, queries: Sequence[str]) -> Iterator[Ranked]:
        """Yield lists by the cosine of the vectors from which the codes are made."""
        numbers, _, vectors = self._documents
        asked = self._asked(queries)
        if vectors is None or asked.vectors is None:
            raise ModelMismatchError(f"{self.name} makes no codes from vectors.", "leave the row of its vectors out.")
        for ranked, is_known in zip(cosine_lists(asked.vectors, vectors, numbers), asked.known, strict=True):
            yield ranked if is_known else _nothing()

    def _asked(self, queries: Sequence[str]) -> TextActivations:
        """Return what the model makes of the queries; those of the last call are kept."""
        texts = list(queries)
        if self._last is None or self._last[0] != texts:
            self._last = texts, self.model.read(texts, role="query", vectors=self._kind)
        return self._last[1]

    @cached_property
    def _documents(self) -> tuple[NDArray[np.int64], NDArray[np.uint8], NDArray[np.float32] | None]:
        """Numbers, codes and vectors of the documents with a known word."""
        read = self.model.read(list(self._texts), vectors=self._kind)
        numbers = np.flatnonzero(read.known)
        vectors = None if read.vectors is None else read.vectors[numbers]
        return numbers, self.model.binarize(read.values)[numbers], vectors


def encoder_row(encoder: str, documents: Sequence[str]) -> Row:
    """Return the row of the cosine of a sentence encoder's vectors, which are computed when it is searched."""
    from texthash.corpora.prepared.embeddings.encoder import open_encoder

    opened = open_encoder(encoder)
    return vector_row(f"{encoder} float", lambda: unit(opened.encode(documents)), opened.encode, opened.width)


def vector_row(
    name: str,
    documents: Callable[[], NDArray[np.float32]],
    encode: Callable[[list[str]], NDArray],
    width: int,
    how: str = "cosine",
) -> Row:
    """Return the row of the cosine of vectors.

    Args:
        name: Name of the row.
        documents: Function that returns the unit vectors of the documents, [N, width]; called when the row is searched.
        encode: Function from texts of queries to their vectors, [Q, width].
        width: Width of the vectors.
        how: Protocol.
    """

    def search(queries: Sequence[str]) -> Iterator[Ranked]:
        return cosine_lists(unit(encode(list(queries))), documents())

    return Row(name, search, how, 4.0 * width)


def cosine_lists(
    queries: NDArray[np.float32], documents: NDArray[np.float32], numbers: NDArray[np.int64] | None = None
) -> Iterator[Ranked]:
    """Yield the documents with their cosine, for unit vectors of queries [Q, width] and of documents [N, width]."""
    found = np.arange(len(documents)) if numbers is None else numbers
    for start in range(0, len(queries), _BLOCK):
        for scores in queries[start : start + _BLOCK] @ documents.T:
            yield Ranked(found, scores)


def _nothing() -> Ranked:
    return Ranked(np.empty(0, np.int64), np.empty(0))
