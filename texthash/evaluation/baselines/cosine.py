"""The line that codes are measured against: ranking by the real-valued vectors they replace."""

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
from texthash.progress import track

TFIDF = "tfidf"
_CELLS = 8_000_000  # similarities held at once: 32 MB of float32, and some masks of that shape


def float_cosine_reference(
    corpus: PreparedCorpus, k: int = 100, split: str = "validation", vectors: str = TFIDF
) -> float:
    """P@k of the cosine between real-valued vectors, without codes: what hashing the same input loses, or gains. In a
    pair corpus recall@k.

    Mean of :func:`float_cosine` over the queries with a relevant document in the database; NaN without any.
    """
    return mean(float_cosine(corpus, k, split, vectors))


def float_cosine(
    corpus: PreparedCorpus, k: int = 100, split: str = "validation", vectors: str = TFIDF
) -> NDArray[np.float64]:
    """The figure of each query, float64 [Q], when documents are ranked by the cosine of real-valued vectors.

    Equal similarities (documents without a common word are all at 0) are treated as equal distances are: by the
    expected value over all their orders, which no permutation of the database changes.

    Args:
        corpus: Queries and database are those of :func:`texthash.evaluation.relevance.judged_queries`.
        k: Cut; the denominator of P@k stays k.
        split: ``validation`` or ``test``. Nothing is chosen by this figure, so it does not spend the test split.
        vectors: A weighting of words such as ``tfidf`` or ``bm25``, or the name of a sentence encoder whose vectors are
            kept beside the corpus (:mod:`texthash.corpora.prepared.embeddings`).

    Returns:
        P@k, in a pair corpus recall@k; NaN for a query without a relevant document in the database.
    """
    return cosine_figures(judged_queries(corpus, split), k, vectors)


def cosine_figures(
    asked: JudgedQueries, k: int, vectors: str = TFIDF, rows: NDArray[np.int64] | None = None
) -> NDArray[np.float64]:
    """Return what :func:`float_cosine` does, of the queries ``rows`` of a collection (None: of all)."""
    if k < 1:
        raise UsageError(f"k={k} retrieves nothing.", "give a k of 1 or more.")
    queries, columns = _vectors(asked, vectors)
    labels, label_columns = _membership(asked.relevance)
    if rows is not None:
        queries, labels = queries[rows], labels[rows]
    block = max(1, _CELLS // max(1, asked.documents))
    values = [np.zeros(0)]
    for start in track(range(0, queries.shape[0], block), f"{vectors} cosine reference"):
        part = slice(start, start + block)
        similarity = queries[part] @ columns
        similarity = similarity if isinstance(similarity, np.ndarray) else similarity.toarray()
        relevant = (labels[part] @ label_columns).toarray() > 0
        found = _expected_hits(similarity, relevant, k)
        values.append(found / (k if asked.measure == "precision" else np.maximum(relevant.sum(axis=1), 1)))
    return np.concatenate(values)


def _vectors(asked: JudgedQueries, name: str) -> tuple[Any, Any]:
    """Unit vectors of the queries [Q, V], and of the database, transposed [V, N]; sparse where they are of words."""
    if name in get_args(Weighting):
        weighting = cast("Weighting", name)
        queries = _unit_rows(asked.queries, weighting)
        columns = vstack([_unit_rows(part, weighting) for part in asked.database]).T.tocsc()
        return queries if asked.asked is None else queries[asked.asked], columns
    queries = _unit(asked.queries.dense(name))
    columns = np.concatenate([_unit(part.dense(name)) for part in asked.database]).T
    return queries if asked.asked is None else queries[asked.asked], columns


def _unit_rows(split: Split, weighting: Weighting) -> csr_matrix:
    """Weights of the words of each document, scaled to unit Euclidean length; an empty document stays empty."""
    rows = split.matrix(weighting)
    if weighting.endswith("tfidf"):  # these have it already
        return rows
    norms = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1), np.float64).ravel())
    return (diags(1 / np.where(norms > 0, norms, 1.0)) @ rows).astype(np.float32).tocsr()


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float32).tiny)


def _membership(relevance: Relevance) -> tuple[csr_matrix, csc_matrix]:
    """Labels of the queries, int32 [Q, L], and of the database, int32 [L, N]."""
    sets = relevance.queries, relevance.database
    width = 1 + max(int(np.max(indices, initial=-1)) for _, indices in sets)
    queries, database = (
        csr_matrix((np.ones(len(indices), np.int32), indices, indptr), (len(indptr) - 1, width))
        for indptr, indices in sets
    )
    return queries, database.T.tocsc()


def _expected_hits(similarity: np.ndarray, relevant: np.ndarray, k: int) -> np.ndarray:
    """Expected number of relevant documents among the first k of each row over the orders of equal similarities,
    float64 [rows]; NaN where nothing is relevant.

    Only the similarity at rank k can belong to documents on both sides of the cut.
    """
    kept = min(k, similarity.shape[1])
    boundary = np.partition(similarity, -kept, axis=1)[:, -kept, None]
    above, tied = similarity > boundary, similarity == boundary
    share = (kept - above.sum(axis=1)) / tied.sum(axis=1)
    hits = (above & relevant).sum(axis=1) + share * (tied & relevant).sum(axis=1)
    return np.where(relevant.any(axis=1), hits, np.nan)
