"""Cosine reference: ranking by the real-valued vectors that the codes replace."""

from __future__ import annotations

from typing import Any, cast, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_matrix, csr_matrix, diags, vstack

from texthash.config import Weighting
from texthash.corpora.prepared.corpus import PreparedCorpus, Split
from texthash.errors import UsageError
from texthash.evaluation.metrics import mean
from texthash.evaluation.relevance import JudgedQueries, judged_queries
from texthash.evaluation.scoring import Relevance
from texthash.methods.base import HashMethod, Role
from texthash.models.encoding import activations_of, pre_threshold_margins, split_batches
from texthash.progress import track

TFIDF = "tfidf"
_CELLS = 8_000_000  # similarities held at once: 32 MB of float32, plus masks of that shape


def float_cosine_reference(
    corpus: PreparedCorpus, k: int = 100, split: str = "validation", vectors: str = TFIDF
) -> float:
    """Return P@k (in a pair corpus recall@k) of the cosine between real-valued vectors, without codes.

    It is the mean of :func:`float_cosine` over the queries with a relevant document in the database; NaN without any.
    The difference of a model from it is the cost, or gain, of hashing the same input.
    """
    return mean(float_cosine(corpus, k, split, vectors))


def float_cosine(
    corpus: PreparedCorpus, k: int = 100, split: str = "validation", vectors: str = TFIDF
) -> NDArray[np.float64]:
    """Return the score of each query, float64 [Q], when documents are ranked by the cosine of real-valued vectors.

    Equal similarities (documents without a common word are all at 0) are ties, treated like equal distances: by the
    expected value over all orders, which does not depend on the order of the database.

    Args:
        corpus: Prepared corpus; queries and database are those of
            :func:`texthash.evaluation.relevance.judged_queries`.
        k: Cutoff rank; the denominator of P@k is always k.
        split: ``validation`` or ``test``. Nothing is selected by this score, so it does not use up the test split.
        vectors: Weighting of words such as ``tfidf`` or ``bm25``, or name of a sentence encoder whose vectors are
            stored with the corpus (:mod:`texthash.corpora.prepared.embeddings`).

    Returns:
        P@k, in a pair corpus recall@k; NaN for a query without a relevant document in the database.

    Raises:
        UsageError: k is below 1.
    """
    return cosine_figures(judged_queries(corpus, split), k, vectors)


def cosine_figures(
    judged: JudgedQueries, k: int, vectors: str = TFIDF, rows: NDArray[np.int64] | None = None
) -> NDArray[np.float64]:
    """Return the scores of :func:`float_cosine` for the judged queries ``rows`` (None for all)."""
    queries, columns = _vectors(judged, vectors)
    return _figures(judged, k, queries, columns, vectors, rows)


def activation_cosine(method: HashMethod, corpus: PreparedCorpus, k: int = 100, split: str = "validation") -> float:
    """Return P@k of the cosine between a method's activations, each less its threshold: what its bits approximate.

    The difference of the method's codes from it is the cost of one bit in place of a real number.

    Raises:
        UsageError: k is below 1.
    """
    judged = judged_queries(corpus, split)

    def margins(documents: Split, role: Role) -> NDArray[np.float32]:
        activations = activations_of(method, split_batches(method, documents), role)
        return _unit(pre_threshold_margins(method, activations).astype(np.float32))

    queries = margins(judged.queries, "query")
    columns = np.concatenate([margins(part, "document") for part in judged.database]).T
    queries = queries if judged.query_rows is None else queries[judged.query_rows]
    return mean(_figures(judged, k, queries, columns, method.card.name))


def _figures(
    judged: JudgedQueries, k: int, queries: Any, columns: Any, name: str, rows: NDArray[np.int64] | None = None
) -> NDArray[np.float64]:
    """Return the score of each query, for unit vectors of queries [Q, V] and of the database, transposed [V, N]."""
    if k < 1:
        raise UsageError(f"k={k} retrieves nothing.", "give a k of 1 or more.")
    labels, label_columns = _membership(judged.relevance)
    if rows is not None:
        queries, labels = queries[rows], labels[rows]
    block = max(1, _CELLS // max(1, judged.documents))
    values = [np.zeros(0)]
    for start in track(range(0, queries.shape[0], block), f"{name} cosine reference"):
        part = slice(start, start + block)
        similarity = queries[part] @ columns
        similarity = similarity if isinstance(similarity, np.ndarray) else similarity.toarray()
        relevant = (labels[part] @ label_columns).toarray() > 0
        hits = _expected_hits(similarity, relevant, k)
        values.append(hits / (k if judged.measure == "precision" else np.maximum(relevant.sum(axis=1), 1)))
    return np.concatenate(values)


def _vectors(judged: JudgedQueries, name: str) -> tuple[Any, Any]:
    """Return unit vectors of the queries [Q, V] and of the database, transposed [V, N]; word vectors are sparse."""
    if name in get_args(Weighting):
        weighting = cast("Weighting", name)
        queries = _unit_rows(judged.queries, weighting)
        columns = vstack([_unit_rows(part, weighting) for part in judged.database]).T.tocsc()
        return queries if judged.query_rows is None else queries[judged.query_rows], columns
    queries = _unit(judged.queries.dense(name))
    columns = np.concatenate([_unit(part.dense(name)) for part in judged.database]).T
    return queries if judged.query_rows is None else queries[judged.query_rows], columns


def _unit_rows(split: Split, weighting: Weighting) -> csr_matrix:
    """Return the word weights of each document, scaled to unit Euclidean length; an empty document stays empty."""
    rows = split.matrix(weighting)
    if weighting.endswith("tfidf"):  # rows of these weightings have unit length already
        return rows
    norms = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1), np.float64).ravel())
    return (diags(1 / np.where(norms > 0, norms, 1.0)) @ rows).astype(np.float32).tocsr()


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float32).tiny)


def _membership(relevance: Relevance) -> tuple[csr_matrix, csc_matrix]:
    """Return label indicators of the queries, int32 [Q, L], and of the database, int32 [L, N]."""
    sets = relevance.queries, relevance.database
    width = 1 + max(int(np.max(indices, initial=-1)) for _, indices in sets)
    queries, database = (
        csr_matrix((np.ones(len(indices), np.int32), indices, indptr), (len(indptr) - 1, width))
        for indptr, indices in sets
    )
    return queries, database.T.tocsc()


def _expected_hits(similarity: np.ndarray, relevant: np.ndarray, k: int) -> np.ndarray:
    """Return the expected number of relevant documents among the first k, float64 [rows]; NaN where none is relevant.

    The expectation is over all orders of equal similarities. Only the similarity at rank k can belong to documents on
    both sides of the cutoff.
    """
    kept = min(k, similarity.shape[1])
    boundary = np.partition(similarity, -kept, axis=1)[:, -kept, None]
    above, tied = similarity > boundary, similarity == boundary
    share = (kept - above.sum(axis=1)) / tied.sum(axis=1)
    hits = (above & relevant).sum(axis=1) + share * (tied & relevant).sum(axis=1)
    return np.where(relevant.any(axis=1), hits, np.nan)
