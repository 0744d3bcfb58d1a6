"""Vocabulary of the training documents, from the words of chunks."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Integral

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from texthash.config import Edition
from texthash.corpora.preparation.splits import TRAIN
from texthash.corpora.preparation.staging import Staging
from texthash.corpora.words import Vocabulary
from texthash.errors import CorpusError
from texthash.io.atomic import read_arrow, write_arrow
from texthash.io.ragged import from_arrow

_MERGE_ROWS = 500_000


def count_words(staging: Staging, group: int, chunks: list[str]) -> None:
    """Write the document frequency and occurrences of each word in the training documents of chunks (step 2)."""
    if not staging.frequencies(group).exists():
        write_arrow(staging.frequencies(group), merge_counts(_count(staging, chunk) for chunk in chunks))


def _count(staging: Staging, chunk: str) -> pa.Table:
    terms = read_arrow(staging.terms(chunk))["term"]
    bags = read_arrow(staging.words(chunk), ["word_ids", "counts"])
    bags = bags.filter(pc.equal(read_arrow(staging.splits(chunk))["split"], TRAIN))
    ids, counts = from_arrow(bags["word_ids"])[1], from_arrow(bags["counts"])[1]
    columns = {
        "term": terms,
        "documents": np.bincount(ids, minlength=len(terms)).astype(np.int64),
        "occurrences": np.bincount(ids, counts, minlength=len(terms)).astype(np.int64),
    }
    return pa.table(columns).filter(pc.field("documents") > 0)


def merge_counts(tables: Iterable[pa.Table]) -> pa.Table:
    """Sum the counts of each word over tables, sorted by word. Memory grows with the number of words, not of tables."""
    pending: list[pa.Table] = []
    merged = 0
    for table in tables:
        pending.append(table)
        if sum(map(len, pending)) - merged >= max(_MERGE_ROWS, merged):
            pending = [_summed(pending)]
            merged = len(pending[0])
    return _summed(pending).sort_by("term")


def _summed(tables: list[pa.Table]) -> pa.Table:
    names = ["term", "documents", "occurrences"]
    if not tables:
        return pa.table({"term": pa.array([], pa.string()), **{name: np.empty(0, np.int64) for name in names[1:]}})
    totals = pa.concat_tables(tables).group_by("term").aggregate([(name, "sum") for name in names[1:]])
    return totals.rename_columns(names)


def choose_vocabulary(counts: pa.Table, documents: int, edition: Edition) -> Vocabulary:
    """Select the words that scikit-learn's ``CountVectorizer`` would keep, in its order (step 3).

    Args:
        counts: Columns ``term`` (sorted), ``documents`` and ``occurrences`` over train.
        documents: Number of training documents.
        edition: Edition with ``min_df``, ``max_df`` and ``vocabulary_size`` (scikit-learn's ``max_features``).

    Raises:
        CorpusError: No word is left.
    """
    df, tf = counts["documents"].to_numpy(), counts["occurrences"].to_numpy()
    low, high = (
        limit if isinstance(limit, Integral) else limit * documents for limit in (edition.min_df, edition.max_df)
    )
    mask = (df >= low) & (df <= high)
    limit = edition.vocabulary_size
    if limit is not None and mask.sum() > limit:
        # This is the sort of CountVectorizer._limit_features: on the same array, it breaks ties in the same way.
        most_frequent = (-tf[mask]).argsort()[:limit]
        mask = np.isin(np.arange(len(df)), np.flatnonzero(mask)[most_frequent])
    if not mask.any():
        raise CorpusError(
            f"no word of {len(counts)} in {documents} training documents is left with min_df={edition.min_df}, "
            f"max_df={edition.max_df}, stop_words={edition.stop_words}.",
            "lower corpus.edition.min_df or raise max_df."
            if len(counts)
            else "check the texts, corpus.edition.token_pattern and stop_words.",
        )
    terms = counts["term"].filter(pa.array(mask)).to_pylist()
    return Vocabulary(terms, df[mask], documents, int(tf[mask].sum()))
