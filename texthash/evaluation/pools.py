"""Re-ranking of candidate pools: how a model orders the few documents that are candidates for a question.

The candidates of a question are the documents that the corpus judged for it, its answers and the wrong ones that it
names; or, where it names none, the first :data:`CANDIDATES` documents by BM25, among which an answer may be missing.
Candidates of equal score are tied, and every figure is the expected value over their orders. The protocol is that of
answer selection (Wang, Smith and Mitamura, 2007): a pool without a wrong candidate has no order to measure and is left
out, as are questions without an answer.

    P@1   share of pools whose first candidate answers the question
    MRR   mean of 1 / rank of the first right candidate, 0 without one
    MAP   mean over pools of the mean precision at the ranks of the answers; one that is missing counts 0
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, vstack

from texthash.corpora.prepared.batches import take
from texthash.corpora.prepared.pairs import Queries
from texthash.errors import UsageError
from texthash.evaluation import metrics
from texthash.evaluation.relevance import JudgedQueries
from texthash.evaluation.retrieval.ranked import UNLISTED, Ranked, bucketed, stacked
from texthash.evaluation.scoring import POOL_FIGURES
from texthash.io.ragged import indptr_of, take_rows
from texthash.methods.base import HashMethod
from texthash.methods.reranker import Reranker, TokenCodes
from texthash.models.encoding import device_of

CANDIDATES = 50
"""Number of candidates by BM25, where the corpus judged none."""
QUESTIONS = 1000
"""Number of questions, evenly spaced, whose candidates are found by BM25."""
_BLOCK = 128  # questions, or documents, at a time


@dataclass(frozen=True)
class Pools:
    """Candidates of Q questions among the documents of a database.

    Attributes:
        questions: Numbers of the questions among the evaluated ones, int64 [Q].
        indptr: Start of each pool in ``documents``, int64 [Q + 1].
        documents: Numbers of the candidates in the database, in rising order within a pool, int64 [candidates].
        answers: Numbers of all documents that answer each question, in its pool or not, int64 each.
        judged: Whether the corpus named the candidates; otherwise BM25 found them.
        left_out: Number of questions whose pool has no wrong candidate.
    """

    questions: NDArray[np.int64]
    indptr: NDArray[np.int64]
    documents: NDArray[np.int64]
    answers: list[NDArray[np.int64]]
    judged: bool
    left_out: int

    def __len__(self) -> int:
        return len(self.questions)

    def __iter__(self) -> Iterator[tuple[int, slice]]:
        """Yield the number of each question and the place of its candidates in ``documents``."""
        for question, start, stop in zip(self.questions, self.indptr[:-1], self.indptr[1:], strict=True):
            yield int(question), slice(int(start), int(stop))

    @property
    def note(self) -> str:
        """Sentence for the reader of the figures."""
        origin = "judged by the corpus" if self.judged else f"the first {CANDIDATES} by BM25"
        mean = len(self.documents) / len(self)
        left_out = f"; {self.left_out} questions without a wrong candidate left out" if self.left_out else ""
        return f"Pools of {len(self):,} questions: {mean:.1f} candidates on average, {origin}{left_out}."


def pools_of(judged: JudgedQueries) -> Pools:
    """Return the pools of the questions of a pair corpus: those that it judged, else those by BM25.

    Raises:
        UsageError: No pool has a wrong candidate.
    """
    pools = judged_pools(judged) or bm25_pools(judged)
    if not len(pools):
        raise UsageError(
            f"none of {pools.left_out} questions of {judged.split} has a wrong candidate beside its answers.",
            "give documents `negatives`, or evaluate on a corpus of more documents.",
        )
    return pools


def judged_pools(judged: JudgedQueries) -> Pools | None:
    """Return the answers of each question and the wrong documents that the corpus names; None if it names none.

    A document that answers several questions has one list of wrong documents for all of them.
    """
    queries, rows = _queries(judged), _rows(judged)
    indptr, negatives = queries.negatives_among(judged.database)
    if not len(negatives):
        return None
    _, numbers = np.unique(queries.digests, return_inverse=True)
    order = np.argsort(numbers, kind="stable")
    starts = indptr_of(np.bincount(numbers))
    answers = _answers(judged)
    found = []
    for question, number in enumerate(numbers[rows]):
        same = order[starts[number] : starts[number + 1]]  # the question again, for its other answers
        _, entries = take_rows(indptr, np.unique(queries.documents_of_rows[same]))
        found.append(np.union1d(answers[question], negatives[entries]))
    return _pools(np.arange(len(rows)), found, answers, judged=True)


def bm25_pools(judged: JudgedQueries, candidates: int = CANDIDATES, questions: int = QUESTIONS) -> Pools:
    """Return the first documents by BM25, of equal score the first by number, for evenly spaced questions."""
    rows = _rows(judged)
    chosen = np.unique(np.linspace(0, len(rows) - 1, min(questions, len(rows))).astype(np.int64))
    asked, documents = _bm25_factors(judged)
    columns = documents.T.tocsr()
    found = []
    for start in range(0, len(chosen), _BLOCK):
        for scores in asked[chosen[start : start + _BLOCK]] @ columns:
            first = np.lexsort((scores.indices, -scores.data))[:candidates]
            found.append(np.sort(scores.indices[first]).astype(np.int64))
    answers = _answers(judged)
    return _pools(chosen, found, [answers[question] for question in chosen], judged=False)


def pool_figures(pools: Pools, scores: NDArray[np.floating]) -> dict[str, float]:
    """Return P@1, MRR and MAP in the pools, each with its best and worst case over the orders of ties.

    Args:
        pools: Candidates of the questions.
        scores: Score of each candidate, [candidates]; higher is better.
    """
    histograms = [
        bucketed(Ranked(pools.documents[place], scores[place]), dict.fromkeys(answers.tolist(), 1))
        for (_, place), answers in zip(pools, pools.answers, strict=True)
    ]
    graded = stacked(histograms)
    n, relevant = graded.sum(axis=2), graded[:, :, 1:].sum(axis=2)
    # Cut where the documents that are not listed begin, which have no rank.
    of_query = (
        metrics.precision_at_k(n, relevant, 1),
        metrics.reciprocal_rank(n, relevant, UNLISTED),
        metrics.average_precision(n, relevant, UNLISTED),
    )
    found = {"pool_questions": float(len(pools)), "pool_size": len(pools.documents) / len(pools)}
    for name, tied in zip(POOL_FIGURES, of_query, strict=True):
        found |= {
            f"{name}{case}": metrics.mean(values) for case, values in zip(("", "_best", "_worst"), tied, strict=True)
        }
    return found


def hamming_scores(pools: Pools, queries: NDArray[np.uint8], database: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return minus the Hamming distance of each candidate to its question, [candidates].

    Args:
        pools: Candidates of the questions.
        queries: Packed codes of the evaluated questions, uint8 [questions, bits / 8].
        database: Packed codes of the documents, uint8 [documents, bits / 8].
    """
    scores = np.empty(len(pools.documents))
    for question, place in pools:
        differing = database[pools.documents[place]] ^ queries[question]
        scores[place] = -np.bitwise_count(differing).sum(axis=1, dtype=np.int64)
    return scores


def bm25_scores(pools: Pools, judged: JudgedQueries) -> NDArray[np.float64]:
    """Return BM25 of each candidate for its question, [candidates]; documents and words are those of the corpus."""
    asked, documents = _bm25_factors(judged)
    scores = np.empty(len(pools.documents))
    for question, place in pools:
        scores[place] = (documents[pools.documents[place]] @ asked[question].T).toarray()[:, 0]
    return scores


def reranker_scores(pools: Pools, judged: JudgedQueries, method: HashMethod) -> NDArray[np.float64]:
    """Return the score of each candidate for its question by a method that re-ranks, [candidates].

    The bits of each candidate are computed once, whatever the number of its questions.
    """
    reranker, inputs, device = cast(Reranker, method), method.encoding_inputs, device_of(method)
    was_training = method.training
    method.eval()
    candidates, place_of = np.unique(pools.documents, return_inverse=True)
    bits, before = [], 0
    for split in judged.database:
        own = candidates[(candidates >= before) & (candidates < before + len(split))] - before
        parts = [own[start : start + _BLOCK] for start in range(0, len(own), _BLOCK)]
        bits += [reranker.token_codes(take(split, part, inputs).to(device)) for part in parts]
        before += len(split)
    documents, queries, rows = TokenCodes.join(bits), _queries(judged), _rows(judged)
    scores = np.empty(len(pools.documents))
    for question, place in pools:
        asked = take(queries, rows[[question]], inputs).to(device)
        scores[place] = reranker.scores(asked, documents.take(place_of[place]))[0].cpu().numpy()
    method.train(was_training)
    return scores


def _queries(judged: JudgedQueries) -> Queries:
    if not isinstance(judged.queries, Queries):
        raise UsageError(
            "pools of candidates are those of questions, and this is not a pair corpus.",
            "choose a pair corpus such as pycode, or give documents `queries`.",
        )
    return judged.queries


def _rows(judged: JudgedQueries) -> NDArray[np.int64]:
    """Return the rows of the evaluated questions."""
    return np.arange(len(judged.queries)) if judged.query_rows is None else judged.query_rows


def _bm25_factors(judged: JudgedQueries) -> tuple[csr_matrix, csr_matrix]:
    """Return the counts of words of the evaluated questions, and the weights of those of documents."""
    indptr, words, counts = (np.asarray(array) for array in _queries(judged).counts)
    documents = vstack([split.matrix("bm25") for split in judged.database], format="csr")
    asked = csr_matrix((counts.astype(np.float32), words, indptr), (len(indptr) - 1, documents.shape[1]))
    return asked[_rows(judged)], documents


def _answers(judged: JudgedQueries) -> list[NDArray[np.int64]]:
    indptr, documents = judged.relevance.queries
    return [part.astype(np.int64) for part in np.split(documents, indptr[1:-1])]


def _pools(
    questions: NDArray[np.int64], found: list[NDArray[np.int64]], answers: list[NDArray[np.int64]], *, judged: bool
) -> Pools:
    """Return the pools with a wrong candidate."""
    kept = [place for place, pool in enumerate(found) if not np.isin(pool, answers[place]).all()]
    documents = [found[place] for place in kept]
    return Pools(
        questions=questions[kept],
        indptr=indptr_of([len(pool) for pool in documents]),
        documents=np.concatenate([*documents, np.empty(0, np.int64)]),
        answers=[answers[place] for place in kept],
        judged=judged,
        left_out=len(found) - len(kept),
    )
