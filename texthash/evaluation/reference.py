"""The line that codes are measured against: ranking by the real-valued vectors they replace."""

from __future__ import annotations

import numpy as np

from texthash.corpora.dataset import PreparedCorpus
from texthash.errors import UsageError
from texthash.evaluation.metrics import mean
from texthash.progress import track

_CELLS = 8_000_000  # similarities held at once: 32 MB of float32, and some masks of that shape


def float_cosine_reference(corpus: PreparedCorpus, k: int = 100, split: str = "validation") -> float:
    """P@k of the cosine between tf-idf vectors, without codes: what hashing the same input loses, or gains.

    Equal similarities (documents without a common word are all at 0) are treated as equal distances are: by the
    expected value over all their orders, which no permutation of the database changes.

    Args:
        corpus: Queries are its ``split``, the database is train.
        k: Cut; the denominator stays k.
        split: ``validation`` or ``test``. Nothing is chosen by this figure, so it does not spend the test split.

    Returns:
        Mean over the queries with a relevant document in the database; NaN without any.
    """
    if k < 1:
        raise UsageError(f"k={k} retrieves nothing.", "give a k of 1 or more.")
    queries, database = corpus.split(split), corpus.train
    vectors, columns = queries.matrix("tfidf"), database.matrix("tfidf").T.tocsc()
    # As int32: a product of uint8 counts would wrap at 256 shared labels.
    labels, label_columns = queries.labels.astype(np.int32), database.labels.astype(np.int32).T.tocsc()
    block = max(1, _CELLS // max(1, len(database)))
    values = [np.zeros(0)]
    for start in track(range(0, len(queries), block), "tf-idf cosine reference"):
        rows = slice(start, start + block)
        similarity = (vectors[rows] @ columns).toarray()
        relevant = (labels[rows] @ label_columns).toarray() > 0
        values.append(_expected_precision(similarity, relevant, k))
    return mean(np.concatenate(values))


def _expected_precision(similarity: np.ndarray, relevant: np.ndarray, k: int) -> np.ndarray:
    """E[P@k] of each row over the orders of equal similarities, float64 [rows]; NaN where nothing is relevant.

    Only the similarity at rank k can belong to documents on both sides of the cut.
    """
    kept = min(k, similarity.shape[1])
    boundary = np.partition(similarity, -kept, axis=1)[:, -kept, None]
    above, tied = similarity > boundary, similarity == boundary
    share = (kept - above.sum(axis=1)) / tied.sum(axis=1)
    hits = (above & relevant).sum(axis=1) + share * (tied & relevant).sum(axis=1)
    return np.where(relevant.any(axis=1), hits / k, np.nan)
