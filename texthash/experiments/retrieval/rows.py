"""Rows of a retrieval table: baselines, codes of a model and vectors.

random        equal scores: the expected value over all orders of the documents
bm25          keyword search, stemmed, without English stop words (:mod:`texthash.evaluation.baselines.lexical`)
tf-idf        cosine of sublinear tf-idf of the same words
float         cosine of the vectors of a sentence encoder
hamming       distance of the codes of a model
asymmetric    product of the query's real values and the bits of a document (:mod:`texthash.index.rescoring`)
fused         two rows by their scores or ranks (:mod:`texthash.index.fusion`)

A document without a word that a row knows is not listed, and a query without one has no list, as in an index.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from texthash.config import VectorKind
from texthash.corpora.document import SPLITS
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.errors import ModelMismatchError
from texthash.evaluation.baselines.lexical import Lexical
from texthash.evaluation.retrieval.ranked import Ranked
from texthash.evaluation.retrieval.runs import DEPTH
from texthash.evaluation.retrieval.table import BASELINE, Row
from texthash.hamming import kernels
from texthash.hamming.asymmetric import asymmetric
from texthash.index.fusion import Fusion, Side, fuse
from texthash.models.hasher import Hasher, TextActivations
from texthash.models.vectors import unit

_POSTING = 8  # bytes: the number of a document, and the count
_BLOCK = 64  # queries whose scores of all documents are held at once
RANDOM, TFIDF = "random", "tf-idf cosine"


def baseline_rows(documents: Sequence[str]) -> list[Row]:
    """Return the rows without learning: random, tf-idf and BM25."""
    lexical = Lexical(documents)
    return [random_row(len(documents)), tfidf_row(lexical), bm25_row(lexical)]


def random_row(documents: int) -> Row:
    """Return the row in which all documents have the same score."""
    everything = Ranked(np.arange(documents), np.zeros(documents))
    return Row(RANDOM, lambda queries: [everything] * len(queries), "expected value over all orders", 0)


def tfidf_row(lexical: Lexical) -> Row:
    """Return the row of the cosine of sublinear tf-idf."""
    return Row(TFIDF, lexical.cosine, "sublinear tf-idf, stemmed, English stop words left out", _postings(lexical))


def bm25_row(lexical: Lexical, name: str = BASELINE, k1: float = 1.2, b: float = 0.75) -> Row:
    """Return the row of BM25."""
    how = f"k1 {k1:g}, b {b:g}, stemmed, English stop words left out"
    return Row(name, lambda queries: lexical.bm25(queries, k1, b), how, _postings(lexical))


def _postings(lexical: Lexical) -> float:
    """Return the bytes of the postings of a document."""
    return _POSTING * lexical.counts.nnz / max(1, lexical.counts.shape[0])


class Features(NamedTuple):
    """Vectors of documents by a sentence encoder.

    Attributes:
        numbers: Numbers of the documents that have one, int64 [n].
        vectors: Their vectors, float32 [n, width]; None: they are computed from the texts.
    """

    numbers: NDArray[np.int64]
    vectors: NDArray[np.float32] | None

    @classmethod
    def stored(cls, corpus: PreparedCorpus, encoder: str, document_ids: Sequence[str]) -> Features:
        """Return the stored vectors of a prepared corpus, numbered by the ids of all documents of a collection."""
        splits = [corpus.split(name) for name in SPLITS]
        numbers = {id_: number for number, id_ in enumerate(document_ids)}
        rows = np.array([numbers[id_] for split in splits for id_ in split.ids], np.int64)
        return cls(rows, np.concatenate([split.dense(encoder) for split in splits]))


class EncodedDocuments(NamedTuple):
    """Documents of a collection that a model encoded.

    Attributes:
        numbers: Number of each in the collection, int64 [n].
        texts: Its text.
        codes: Its code, uint8 [n, bits / 8].
        vectors: Its vector of the kind from which the model makes codes, float32 [n, D]; None without such vectors.
    """

    numbers: NDArray[np.int64]
    texts: list[str]
    codes: NDArray[np.uint8]
    vectors: NDArray[np.float32] | None


class ModelRows:
    """Rows of one model over the documents of a collection, which are encoded once, when the first row is searched.

    Args:
        model: Trained model.
        documents: Texts of the documents.
        name: Prefix of the names of the rows; empty: method and bits.
        features: Vectors of the documents by the sentence encoder of the model, if they are available.
    """

    def __init__(
        self, model: Hasher, documents: Sequence[str], name: str = "", features: Features | None = None
    ) -> None:
        self.model, self._texts, self._features = model, documents, features
        self.name = name or f"{model.method.card.name} {model.bits}"
        self._kind: VectorKind | None = "features" if model.method.shape.encoder is not None else None
        self._last: tuple[list[str], TextActivations] | None = None

    def rows(self) -> list[Row]:
        """Return the rows of :meth:`code_rows`, and that of the vectors from which the model computes codes, if any."""
        if self._kind is None:
            return self.code_rows()
        width = self.model.method.shape.dense
        how = f"cosine of {(self.model.method.shape.encoder or '').partition('@')[0]}"
        return [Row(f"{self.name} float", self.vectors, how, 4.0 * width), *self.code_rows()]

    def code_rows(self) -> list[Row]:
        """Return the rows of Hamming distances and of asymmetric scores."""
        size = self.model.bits / 8
        return [
            Row(f"{self.name} hamming", self.hamming, "distance of the codes", size),
            Row(f"{self.name} asymmetric", self.asymmetric, "float query against the bits", size),
        ]

    def hamming(self, queries: Sequence[str]) -> Iterator[Ranked]:
        """Yield lists by Hamming distance; the score is half of the bits less the distance."""
        numbers, codes = self.documents.numbers, self.documents.codes
        asked = self.asked(queries)
        for own, is_known in zip(self.model.binarize(asked.values), asked.known, strict=True):
            distances = kernels.distances(own[None], codes)[0]
            yield Ranked(numbers, self.model.bits / 2 - distances) if is_known else Ranked.nothing()

    def asymmetric(self, queries: Sequence[str]) -> Iterator[Ranked]:
        """Yield lists by asymmetric score."""
        numbers, codes = self.documents.numbers, self.documents.codes
        asked = self.asked(queries)
        for own, is_known in zip(self.model.query_values(asked.values), asked.known, strict=True):
            yield Ranked(numbers, asymmetric(own, codes)) if is_known else Ranked.nothing()

    def vectors(self, queries: Sequence[str]) -> Iterator[Ranked]:
        """Yield lists by the cosine of the vectors from which the codes are made."""
        numbers, vectors = self.documents.numbers, self.documents.vectors
        asked = self.asked(queries)
        if vectors is None or asked.vectors is None:
            raise ModelMismatchError(f"{self.name} does not read vectors.", "leave the row of its vectors out.")
        for ranked, is_known in zip(cosine_lists(asked.vectors, vectors, numbers), asked.known, strict=True):
            yield ranked if is_known else Ranked.nothing()

    def asked(self, queries: Sequence[str]) -> TextActivations:
        """Return the activations of the queries; those of the last call are kept."""
        texts = list(queries)
        if self._last is None or self._last[0] != texts:
            self._last = texts, self.model.read(texts, role="query", vectors=self._kind)
        return self._last[1]

    @cached_property
    def documents(self) -> EncodedDocuments:
        """The documents with a known word."""
        given = self._features or Features(np.arange(len(self._texts)), None)
        texts = [self._texts[number] for number in given.numbers]
        read = self.model.read(texts, vectors=self._kind, features=given.vectors)
        numbers = given.numbers[read.known]
        vectors = None if read.vectors is None else read.vectors[read.known]
        known = [text for text, is_known in zip(texts, read.known, strict=True) if is_known]
        return EncodedDocuments(numbers, known, self.model.binarize(read.values)[read.known], vectors)


def encoder_row(encoder: str, documents: Sequence[str], features: Features | None = None) -> Row:
    """Return the row of the cosine of a sentence encoder's vectors.

    Vectors of the documents that are not given are computed when the row is searched.
    """
    from texthash.corpora.prepared.embeddings.encoder import open_encoder

    opened = open_encoder(encoder)

    def search(queries: Sequence[str]) -> Iterator[Ranked]:
        vectors = None if features is None else features.vectors
        stored = opened.encode(documents) if vectors is None else vectors
        numbers = None if features is None else features.numbers
        return cosine_lists(unit(opened.encode(list(queries))), unit(stored), numbers)

    return Row(f"{encoder} float", search, f"cosine of {encoder}", 4.0 * opened.width)


def cosine_lists(
    queries: NDArray[np.float32], documents: NDArray[np.float32], numbers: NDArray[np.int64] | None = None
) -> Iterator[Ranked]:
    """Yield the documents with their cosine, for unit vectors of queries [Q, width] and of documents [N, width]."""
    found = np.arange(len(documents)) if numbers is None else numbers
    for start in range(0, len(queries), _BLOCK):
        for scores in queries[start : start + _BLOCK] @ documents.T:
            yield Ranked(found, scores)


def fused_row(semantic: Row, keyword: Row, fusion: Fusion = Fusion(), depth: int = DEPTH) -> Row:
    """Return the row that fuses the first ``depth`` documents of two rows, as hybrid search does.

    Args:
        semantic: Row of the list by meaning, with scores of 0 for documents without any relation.
        keyword: Row of the list by words.
        fusion: How they become one.
        depth: Number of documents of each list; documents of equal score are in the order of their numbers.
    """

    def search(queries: Sequence[str]) -> Iterator[Ranked]:
        for near, worded in zip(semantic.search(queries), keyword.search(queries), strict=True):
            found = fuse(Side(*near.in_order(depth)), Side(*worded.in_order(depth)), fusion, 2 * depth)
            yield Ranked(found.numbers, found.scores)

    sizes = semantic.bytes_per_document, keyword.bytes_per_document
    total = None if None in sizes else sum(size or 0 for size in sizes)
    constant = f", constant {fusion.constant:g}" if fusion.kind == "ranks" else ""
    how = f"{fusion.kind} of the first {depth:,} of each, weight {fusion.weight:g} of the meaning{constant}"
    return Row(f"{semantic.name} + {keyword.name}", search, how, total)
