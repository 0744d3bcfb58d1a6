"""Queries with the lowest scores and their nearest documents, for error analysis."""

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

_EXCERPT = 160  # characters


@dataclass(frozen=True)
class DocumentExcerpt:
    """Id, labels and the beginning of the text of a document, on one line."""

    id: str
    labels: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class Hit:
    """Search result of a query, with its Hamming distance."""

    document: DocumentExcerpt
    distance: int
    relevant: bool


@dataclass(frozen=True)
class HardQuery:
    """Query with its value of the main metric and its nearest documents."""

    query: DocumentExcerpt
    figure: float
    hits: tuple[Hit, ...]


def worst_queries(evaluation: Evaluation, corpus: PreparedCorpus, count: int = 5, hits: int = 5) -> list[HardQuery]:
    """Return the queries with the lowest value of the main metric, lowest first, ties in the order of the split.

    Args:
        evaluation: Evaluation on the corpus.
        corpus: Corpus of the evaluation.
        count: Number of queries.
        hits: Number of nearest documents listed for each query; ties in the order of the database.
    """
    order = np.argsort(evaluation.per_query, kind="stable")
    chosen = order[~np.isnan(evaluation.per_query[order])][:count]
    judged = judged_queries(corpus, evaluation.split)
    words = to_words(evaluation.database_codes)
    near, rows = kernels.top_k(words, to_words(evaluation.query_codes[chosen]), hits)
    relevant = [
        _relevant(judged.relevance.queries, judged.relevance.database, query, nearest)
        for query, nearest in zip(chosen, rows, strict=True)
    ]
    query_rows = chosen if judged.query_rows is None else judged.query_rows[chosen]
    queries = document_excerpts([judged.queries], query_rows)
    documents = document_excerpts(judged.database, rows.ravel())
    return [
        HardQuery(
            queries[int(row)],
            float(evaluation.per_query[query]),
            tuple(
                Hit(documents[int(document)], int(distance), bool(is_relevant))
                for document, distance, is_relevant in zip(rows[i], near[i], relevant[i], strict=True)
            ),
        )
        for i, (query, row) in enumerate(zip(chosen, query_rows, strict=True))
    ]


def document_excerpts(splits: Iterable[Split], rows: Iterable[int] | NDArray[np.int64]) -> dict[int, DocumentExcerpt]:
    """Return excerpts of documents by their row in the concatenated splits."""
    wanted = {int(row) for row in rows}
    found: dict[int, DocumentExcerpt] = {}
    start = 0
    for split in splits:
        for table in split.documents():
            for row in sorted(wanted & set(range(start, start + len(table)))):
                record = table.slice(row - start, 1).to_pylist()[0]
                text = " ".join(record["text"].split())
                short = text if len(text) <= _EXCERPT else text[: _EXCERPT - 1] + "…"
                found[row] = DocumentExcerpt(record["id"], tuple(record["labels"]), short)
            start += len(table)
    return found


def _relevant(
    queries: kernels.LabelSets, database: kernels.LabelSets, query: int, rows: NDArray[np.int64]
) -> list[bool]:
    """Return whether each document shares a label with the query."""
    own = queries[1][queries[0][query] : queries[0][query + 1]]
    indptr, labels = database
    return [bool(np.isin(labels[indptr[row] : indptr[row + 1]], own).any()) for row in rows]
