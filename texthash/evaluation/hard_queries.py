"""The queries that codes answer worst, with what they find instead: where to look when a figure disappoints."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from texthash.corpora.prepared.corpus import PreparedCorpus, Split
from texthash.evaluation.relevance import judged_queries
from texthash.evaluation.results import Evaluation
from texthash.hamming import kernels
from texthash.hamming.codes import to_words

_SHOWN = 160  # characters of a text


@dataclass(frozen=True)
class Shown:
    """A document as it is shown: its id, labels and the beginning of its text on one line."""

    id: str
    labels: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class Hit:
    """A document that a query found."""

    document: Shown
    distance: int
    relevant: bool


@dataclass(frozen=True)
class BadAnswer:
    """A query with its figure and the nearest documents."""

    query: Shown
    figure: float
    hits: tuple[Hit, ...]


def worst_queries(evaluation: Evaluation, corpus: PreparedCorpus, count: int = 5, hits: int = 5) -> list[BadAnswer]:
    """The queries with the lowest figure, lowest first, equal ones in reading order.

    Args:
        evaluation: Of the corpus' own documents.
        corpus: That corpus.
        count: How many queries.
        hits: How many of the nearest documents to show of each; equal distances in reading order.
    """
    order = np.argsort(evaluation.per_query, kind="stable")
    chosen = order[~np.isnan(evaluation.per_query[order])][:count]
    asked = judged_queries(corpus, evaluation.split)
    words = to_words(evaluation.database_codes)
    near, rows = kernels.top_k(words, to_words(evaluation.query_codes[chosen]), hits)
    relevant = [
        _relevant(asked.relevance.queries, asked.relevance.database, q, found)
        for q, found in zip(chosen, rows, strict=True)
    ]
    query_rows = chosen if asked.asked is None else asked.asked[chosen]
    queries = shown_documents([asked.queries], query_rows)
    documents = shown_documents(asked.database, rows.ravel())
    return [
        BadAnswer(
            queries[int(row)],
            float(evaluation.per_query[query]),
            tuple(
                Hit(documents[int(found)], int(distance), bool(same))
                for found, distance, same in zip(rows[i], near[i], relevant[i], strict=True)
            ),
        )
        for i, (query, row) in enumerate(zip(chosen, query_rows, strict=True))
    ]


def shown_documents(splits: Iterable[Split], rows: Iterable[int] | NDArray[np.int64]) -> dict[int, Shown]:
    """Documents by their row in the splits one after the other."""
    wanted = {int(row) for row in rows}
    found: dict[int, Shown] = {}
    start = 0
    for split in splits:
        for table in split.documents():
            for row in sorted(wanted & set(range(start, start + len(table)))):
                record = table.slice(row - start, 1).to_pylist()[0]
                text = " ".join(record["text"].split())
                short = text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
                found[row] = Shown(record["id"], tuple(record["labels"]), short)
            start += len(table)
    return found


def _relevant(
    queries: kernels.LabelSets, database: kernels.LabelSets, query: int, rows: NDArray[np.int64]
) -> list[bool]:
    """Whether each of some documents shares a label with a query."""
    own = queries[1][queries[0][query] : queries[0][query + 1]]
    indptr, labels = database
    return [bool(np.isin(labels[indptr[row] : indptr[row + 1]], own).any()) for row in rows]
