"""Who asks, who is searched and what is relevant: by labels, or, in a pair corpus, by questions and their answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import takewhile

import numpy as np
from numpy.typing import NDArray

from texthash.corpora.document import SPLITS
from texthash.corpora.prepared.corpus import PreparedCorpus, Split
from texthash.corpora.prepared.halves import halves
from texthash.corpora.prepared.pairs import question_numbers
from texthash.evaluation.scoring import Measure, Relevance
from texthash.io.ragged import indptr_of, take_rows
from texthash.methods.base import Role

Encode = Callable[[Split, Role], NDArray[np.uint8]]


@dataclass(frozen=True)
class JudgedQueries:
    """Queries, a database, and which documents of it are relevant to which query.

    Attributes:
        split: Name of the split that asks.
        queries: The documents, or questions, that are encoded as queries.
        asked: Rows of those that are asked; None: all.
        database: Splits whose documents are searched, one after the other.
        relevance: Of the queries that are asked.
        measure: What is measured.
        left_out: What a person should know of queries that are not asked.
    """

    split: str
    queries: Split
    asked: NDArray[np.int64] | None
    database: tuple[Split, ...]
    relevance: Relevance
    measure: Measure
    left_out: tuple[str, ...] = ()

    @property
    def documents(self) -> int:
        """Size of the database."""
        return sum(len(split) for split in self.database)

    def codes(self, encode: Encode) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Packed codes of the queries that are asked, uint8 [Q, bits/8], and of the database, uint8 [N, bits/8]."""
        queries = encode(self.queries, "query")
        database = [encode(split, "document") for split in self.database]
        return queries if self.asked is None else queries[self.asked], np.concatenate(database)

    def first_labels(self) -> NDArray[np.int32]:
        """First label of each query that is asked, of a question that of its document; int32 [Q], -1 for none."""
        indptr, indices = self.queries.label_ids
        out = np.full(len(self.queries), -1, np.int32)
        labelled = np.flatnonzero(np.diff(indptr))
        out[labelled] = indices[indptr[labelled]]
        return out if self.asked is None else out[self.asked]


def measure_of(corpus: PreparedCorpus) -> Measure:
    """What a corpus is judged by: recall of the answers for a pair corpus, precision of shared labels, or, without any,
    whether one half of a document finds the other."""
    if corpus.manifest.pairs:
        return "recall"
    return "precision" if corpus.manifest.label_names else "halves"


def judged_queries(corpus: PreparedCorpus, split: str) -> JudgedQueries:
    """What the queries of one split are asked of.

    A corpus with labels: the documents of the split against those of train; a label in common makes relevant.

    A pair corpus: the questions of the split against the documents of *all* splits, for a question is answered by a
    document of its own split, and the others are there to be told from; relevant are the documents that answer it.
    Questions of equal words, character by character, are one. One that a document of an earlier split (of train,
    validation, test) answers as well is not asked, since it was trained on or chosen by.

    A corpus with neither: :func:`halves_of`.
    """
    if corpus.manifest.pairs:
        return _answers(corpus, split)
    if not corpus.manifest.label_names:
        return halves_of(corpus, split)
    queries, database = corpus.split(split), corpus.train
    relevance = Relevance(queries.label_ids, database.label_ids)
    return JudgedQueries(split, queries, None, (database,), relevance, "precision")


def halves_of(corpus: PreparedCorpus, split: str) -> JudgedQueries:
    """Return what needs no labels: one half of the words of each document of the split (of up to 1,000 of them) asks
    for its other half among the training documents and all such halves."""
    whole = corpus.split(split)
    queries, others = halves(whole)
    train, count = len(corpus.train), len(queries)
    own = np.arange(count + 1), np.arange(train, train + count, dtype=np.int32)
    left_out = (
        f"No document has a label. Of {count:,} of {len(whole):,} {split} documents, one half of the words asks for "
        "the other half: that says how well codes keep what a text is about, not how well they serve any labels.",
    )
    relevance = Relevance.answers(own, train + count)
    return JudgedQueries(split, queries, None, (corpus.train, others), relevance, "halves", left_out)


def _answers(corpus: PreparedCorpus, split: str) -> JudgedQueries:
    splits = tuple(corpus.split(name) for name in SPLITS)
    numbers = question_numbers(corpus)
    earlier = [numbers[name] for name in takewhile(lambda name: name != split, SPLITS)]
    own = numbers[split]
    _, first = np.unique(own, return_index=True)
    asked = np.sort(first)
    fresh = asked[~np.isin(own[asked], np.concatenate([*earlier, own[:0]]))]
    everywhere = np.concatenate([numbers[name] for name in SPLITS])
    by_question = np.argsort(everywhere, kind="stable")
    starts = indptr_of(np.bincount(everywhere))
    answers, rows = take_rows(starts, own[fresh])
    documents = np.concatenate(list(_documents_of_questions(splits))).astype(np.int32)
    relevance = Relevance.answers((answers, documents[by_question[rows]]), sum(len(one) for one in splits))
    left_out = (
        (f"Questions of {split} that are not asked, since earlier splits have them too: {len(asked) - len(fresh)}.",)
        if len(fresh) < len(asked)
        else ()
    )
    return JudgedQueries(split, corpus.split(split).queries, fresh, splits, relevance, "recall", left_out)


def _documents_of_questions(splits: tuple[Split, ...]) -> Iterator[NDArray[np.int64]]:
    """The document, by its row in all splits one after the other, of each question."""
    before = 0
    for split in splits:
        yield before + split.queries.documents_of_rows
        before += len(split)
