"""Severity of mistakes: how many of the documents found that share no label with the query do not share a group either.

The group of a label is its parent in the corpus's tree of labels (:mod:`texthash.nn.label_groups`). A mistake within
the group is a mild one. The measure is that of IHDH (Guo et al., 2022), here as an expected value over ties.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from texthash.corpora.label_tree import LabelTree
from texthash.evaluation.metrics import Counts, Tied
from texthash.evaluation.scoring import Relevance
from texthash.hamming import kernels
from texthash.hamming.codes import to_words


def mistake_severity(n: Counts, n_relevant: Counts, n_related: Counts, k: int) -> Tied:
    """Return the share of the mistakes among the first k documents that are in no group of the query; 0 without one.

    E = sum_x P(x) (p_0 + x p_b / l_b) / (l_0 + x), with x of the l_b mistakes of the bucket at the cut among the first
    k (hypergeometric), p_b of them outside of the groups, and l_0 and p_0 in nearer buckets. Lower is better, so
    ``best`` is the least value.

    Args:
        n: Documents at each distance, int64 [Q, bits+1].
        n_relevant: Those that share a label with the query.
        n_related: Those that share a group, at least as many.
        k: Cutoff rank.

    Returns:
        Values [Q]; NaN for a query without a relevant document.
    """
    slots = np.clip(k - (np.cumsum(n, axis=1) - n), 0, n)
    mistakes, severe = n - n_relevant, n - n_related
    whole, cut = slots == n, (slots > 0) & (slots < n)
    mistakes_before, severe_before = ((part * whole).sum(axis=1)[:, None] for part in (mistakes, severe))
    size, taken, wrong, far = ((part * cut).sum(axis=1)[:, None] for part in (n, slots, mistakes, severe))
    x = np.arange(min(k, int(n.sum(axis=1).max(initial=0))) + 1)[None]
    possible = (x <= wrong) & (x <= taken) & (taken - x <= size - wrong)
    log_chance = _log_choose(wrong, x) + _log_choose(size - wrong, taken - x) - _log_choose(size, taken)
    chance = np.where(possible, np.exp(log_chance), 0.0)
    found = np.maximum(mistakes_before + x, 1)

    def value(of_cut: NDArray) -> NDArray[np.float64]:
        return (severe_before + of_cut) / found

    expected = (chance * value(x * far / np.maximum(wrong, 1))).sum(axis=1)
    best = np.where(possible, value(np.maximum(x - (wrong - far), 0)), np.inf).min(axis=1)
    worst = np.where(possible, value(np.minimum(x, far)), -np.inf).max(axis=1)
    unknown = n_relevant.sum(axis=1) == 0
    return Tied(*(np.where(unknown, np.nan, values) for values in (expected, best, worst)))


def severity(
    query_codes: NDArray[np.uint8],
    database_codes: NDArray[np.uint8],
    relevance: Relevance,
    tree: LabelTree,
    k: int,
    threads: int = 1,
) -> dict[str, float]:
    """Return the macro average of :func:`mistake_severity` by flat name: ``severity_at_<k>``, its best and worst.

    Args:
        query_codes: Packed codes of the queries, uint8 [Q, bits/8].
        database_codes: Packed codes of the database, uint8 [N, bits/8].
        relevance: Labels of the same queries and documents.
        tree: Tree of the labels.
        k: Cutoff rank.
        threads: Number of threads that count distances.
    """
    words, queries, bits = to_words(database_codes), to_words(query_codes), 8 * database_codes.shape[1]
    groups = Relevance(*(_groups(labels, tree) for labels in (relevance.queries, relevance.database)))
    n, n_relevant = kernels.label_histogram(words, queries, relevance.database, relevance.queries, bits, threads)
    _, n_related = kernels.label_histogram(words, queries, groups.database, groups.queries, bits, threads)
    values = mistake_severity(n, n_relevant, n_related, k).mean()
    return dict(zip((f"severity_at_{k}", f"severity_at_{k}_best", f"severity_at_{k}_worst"), values, strict=True))


def _groups(labels: kernels.LabelSets, tree: LabelTree) -> kernels.LabelSets:
    """Return the groups of each set of labels, sorted."""
    from scipy.sparse import csr_matrix

    indptr, indices = (np.asarray(array) for array in labels)
    count = len(tree.names)
    group = np.where(tree.parents >= 0, tree.parents, np.arange(count))
    sets = csr_matrix((np.ones(len(indices)), group[indices], indptr), shape=(len(indptr) - 1, count))
    sets.sum_duplicates()
    return sets.indptr.astype(np.int64), sets.indices.astype(np.int32)


def _log_choose(total: Counts, chosen: Counts) -> NDArray[np.float64]:
    """Return log C(total, chosen); a number without meaning where chosen exceeds total."""
    left = np.maximum(total - chosen, 0)
    return gammaln(total + 1.0) - gammaln(np.maximum(chosen, 0) + 1.0) - gammaln(left + 1.0)
