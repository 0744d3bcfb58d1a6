"""Queries, database and relevance judgements: by labels, or, in a pair corpus, by questions and their answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import takewhile

import numpy as np
from numpy.typing import NDArray

from texthash.corpora.document import SPLITS
from texthash.corpora.prepared.corpus import PreparedCorpus, Split
from texthash.corpora.prepared.halves import halves
from texthash.corpora.prepared.pairs import Queries, question_numbers
from texthash.evaluation.scoring import Measure, Relevance
from texthash.io.ragged import indptr_of, take_rows
from texthash.methods.base import Role

Encode = Callable[[Split, Role], NDArray[np.uint8]]


@dataclass(frozen=True)
class JudgedQueries:
    """Queries, a database, and the documents of it that are relevant to each query.

    Attributes:
        split: Name of the split of the queries.
        queries: Documents, or questions, that are encoded as queries.
        query_rows: Rows of ``queries`` that are evaluated; None for all.
        database: Splits that form the database, concatenated in this order.
        relevance: Relevance judgements of the evaluated queries.
        measure: Kind of metric.
        left_out: Notes for the reader on queries that are left out.
    """

    split: str
    queries: Split
    query_rows: NDArray[np.int64] | None
    database: tuple[Split, ...]
    relevance: Relevance
    measure: Measure
    left_out: tuple[str, ...] = ()

    @property
    def documents(self) -> int:
        """Number of documents in the database."""
        return sum(len(split) for split in self.database)

    def codes(self, encode: Encode) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return packed codes of the evaluated queries, uint8 [Q, bits/8], and of the database, uint8 [N, bits/8]."""
        queries = encode(self.queries, "query")
        database = [encode(split, "document") for split in self.database]
        return queries if self.query_rows is None else queries[self.query_rows], np.concatenate(database)

    def first_labels(self) -> NDArray[np.int32]:
        """Return the first label of each query, for a question that of its document, int32 [Q]; -1 for none."""
        indptr, indices = self.queries.label_ids
        out = np.full(len(self.queries), -1, np.int32)
        labelled = np.flatnonzero(np.diff(indptr))
        out[labelled] = indices[indptr[labelled]]
        return out if self.query_rows is None else out[self.query_rows]


def measure_of(corpus: PreparedCorpus) -> Measure:
    """Return the kind of metric of a corpus.

    It is recall of the answers for a pair corpus, precision by shared labels for a corpus with labels, and otherwise
    retrieval of the other half of a document.
    """
    if corpus.manifest.pairs:
        return "recall"
    return "precision" if corpus.manifest.label_names else "halves"


def judged_queries(corpus: PreparedCorpus, split: str) -> JudgedQueries:
    """Return the queries of a split with their database and relevance judgements.

    In a corpus with labels, the documents of the split are the queries and train is the database; documents that share
    a label are relevant.

    In a pair corpus, the questions of the split are the queries and the documents of *all* splits are the database: a
    question is answered by a document of its own split, and the others are distractors. The documents that answer a
    question are relevant. Questions with the same text, character by character, count once. A question that an earlier
    split (in the order train, validation, test) also has is left out, because training or model selection has used it.

    A corpus with neither is evaluated by halves of documents: :func:`halves_of`.
    """
    if corpus.manifest.pairs:
        return _answers(corpus, split)
    if not corpus.manifest.label_names:
        return halves_of(corpus, split)
    queries, database = corpus.split(split), corpus.train
    relevance = Relevance(queries.label_ids, database.label_ids)
    return JudgedQueries(split, queries, None, (database,), relevance, "precision")


def halves_of(corpus: PreparedCorpus, split: str) -> JudgedQueries:
    """Return queries that need no labels, made of halves of up to 1,000 documents of the split.

    One half of the words of a document is the query, its other half the relevant document, among the training documents
    and all such halves.
    """
    whole = corpus.split(split)
    queries, others = halves(whole)
    train, count = len(corpus.train), len(queries)
    own = np.arange(count + 1), np.arange(train, train + count, dtype=np.int32)
    left_out = (
        f"No document has a label. For {count:,} of {len(whole):,} {split} documents, one half of the words is the "
        "query for the other half: this measures how well codes keep what a text is about, not how well they agree "
        "with any labels.",
    )
    relevance = Relevance.answers(own, train + count)
    return JudgedQueries(split, queries, None, (corpus.train, others), relevance, "halves", left_out)


def _answers(corpus: PreparedCorpus, split: str) -> JudgedQueries:
    splits = tuple(corpus.split(name) for name in SPLITS)
    numbers = question_numbers(corpus)
    earlier = [numbers[name] for name in takewhile(lambda name: name != split, SPLITS)]
    own = numbers[split]
    _, first = np.unique(own, return_index=True)
    distinct = np.sort(first)
    fresh = distinct[~np.isin(own[distinct], np.concatenate([*earlier, own[:0]]))]
    everywhere = np.concatenate([numbers[name] for name in SPLITS])
    by_question = np.argsort(everywhere, kind="stable")
    starts = indptr_of(np.bincount(everywhere))
    answers, rows = take_rows(starts, own[fresh])
    documents = np.concatenate(list(_documents_of_questions(splits))).astype(np.int32)
    relevance = Relevance.answers((answers, documents[by_question[rows]]), sum(len(one) for one in splits))
    left_out = (
        (f"Questions of {split} left out, since earlier splits have them too: {len(distinct) - len(fresh)}.",)
        if len(fresh) < len(distinct)
        else ()
    )
    return JudgedQueries(split, Queries(corpus.split(split)), fresh, splits, relevance, "recall", left_out)


def _documents_of_questions(splits: tuple[Split, ...]) -> Iterator[NDArray[np.int64]]:
    """Yield, split by split, the document of each question, by its row in the concatenated splits."""
    before = 0
    for split in splits:
        yield before + Queries(split).documents_of_rows
        before += len(split)
