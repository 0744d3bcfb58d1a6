"""From the words of chunks to the vocabulary of the training documents."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Integral

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from texthash.config import Edition
from texthash.corpora.preparation.splits import TRAIN
from texthash.corpora.preparation.staging import Staging
from texthash.corpora.text import Vocabulary
from texthash.errors import CorpusError
from texthash.io.atomic import read_arrow, write_arrow
from texthash.io.ragged import from_arrow

_MERGE_ROWS = 500_000


def count_words(staging: Staging, group: int, chunks: list[str]) -> None:
    """Step 2. Write in how many training documents of some chunks each word occurs, and how often in all."""
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
    """Sum per word over tables, sorted by word. Memory grows with the number of words, not with that of tables."""
    waiting: list[pa.Table] = []
    merged = 0
    for table in tables:
        waiting.append(table)
        if sum(map(len, waiting)) - merged >= max(_MERGE_ROWS, merged):
            waiting = [_summed(waiting)]
            merged = len(waiting[0])
    return _summed(waiting).sort_by("term")


def _summed(tables: list[pa.Table]) -> pa.Table:
    names = ["term", "documents", "occurrences"]
    if not tables:
        return pa.table({"term": pa.array([], pa.string()), **{name: np.empty(0, np.int64) for name in names[1:]}})
    totals = pa.concat_tables(tables).group_by("term").aggregate([(name, "sum") for name in names[1:]])
    return totals.rename_columns(names)


def choose_vocabulary(counts: pa.Table, documents: int, edition: Edition) -> Vocabulary:
    """Step 3. Exactly the words that scikit-learn's ``CountVectorizer`` keeps, in its order.

    Args:
        counts: ``term`` (sorted), ``documents``, ``occurrences`` over train.
        documents: Number of training documents.
        edition: ``min_df``, ``max_df`` and ``vocabulary_size``, as scikit-learn's ``max_features``.

    Raises:
        CorpusError: when no word is left.
    """
    df, tf = counts["documents"].to_numpy(), counts["occurrences"].to_numpy()
    low, high = (
        limit if isinstance(limit, Integral) else limit * documents for limit in (edition.min_df, edition.max_df)
    )
    mask = (df >= low) & (df <= high)
    limit = edition.vocabulary_size
    if limit is not None and mask.sum() > limit:
        # As in CountVectorizer._limit_features: the same sort of the same array leaves the same words among equals.
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
