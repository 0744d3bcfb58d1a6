"""The line that codes are measured against: ranking by the real-valued vectors they replace."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csc_matrix, csr_matrix, vstack

from texthash.corpora.dataset import PreparedCorpus
from texthash.errors import UsageError
from texthash.evaluation.collection import collection
from texthash.evaluation.metrics import mean
from texthash.evaluation.scoring import Relevance
from texthash.progress import track

_CELLS = 8_000_000  # similarities held at once: 32 MB of float32, and some masks of that shape


def float_cosine_reference(corpus: PreparedCorpus, k: int = 100, split: str = "validation") -> float:
    """P@k of the cosine between tf-idf vectors, without codes: what hashing the same input loses, or gains. In a pair
    corpus recall@k.

    Equal similarities (documents without a common word are all at 0) are treated as equal distances are: by the
    expected value over all their orders, which no permutation of the database changes.

    Args:
        corpus: Queries and database are those of :func:`texthash.evaluation.collection.collection`.
        k: Cut; the denominator of P@k stays k.
        split: ``validation`` or ``test``. Nothing is chosen by this figure, so it does not spend the test split.

    Returns:
        Mean over the queries with a relevant document in the database; NaN without any.
    """
    if k < 1:
        raise UsageError(f"k={k} retrieves nothing.", "give a k of 1 or more.")
    asked = collection(corpus, split)
    vectors = asked.queries.matrix("tfidf")
    vectors = vectors if asked.asked is None else vectors[asked.asked]
    columns = vstack([part.matrix("tfidf") for part in asked.database]).T.tocsc()
    labels, label_columns = _membership(asked.relevance)
    block = max(1, _CELLS // max(1, asked.documents))
    values = [np.zeros(0)]
    for start in track(range(0, vectors.shape[0], block), "tf-idf cosine reference"):
        rows = slice(start, start + block)
        similarity = (vectors[rows] @ columns).toarray()
        relevant = (labels[rows] @ label_columns).toarray() > 0
        found = _expected_hits(similarity, relevant, k)
        values.append(found / (k if asked.measure == "precision" else np.maximum(relevant.sum(axis=1), 1)))
    return mean(np.concatenate(values))


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
