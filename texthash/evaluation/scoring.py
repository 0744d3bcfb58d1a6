"""Every metric of the protocol from codes and relevance, by pure functions without splits, models or files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from texthash.config import EvaluationConfig
from texthash.errors import ModelMismatchError, UsageError, nearest_name
from texthash.evaluation import metrics
from texthash.hamming import kernels
from texthash.hamming.codes import check_codes, to_words
from texthash.io.ragged import indptr_of

RADIUS = 2
FIRST_CUTS = (1, 10)  # cutoffs of recall and hit, besides the main one
_CELLS = 16_000_000  # histogram cells held at once: 128 MB of int64

Codes = NDArray[np.uint8]
Measure = Literal["precision", "recall", "halves"]
"""Kind of metric: the share of the first k documents that share a label with the query; the share of its answers that
are among the first k; or, without labels, whether the other half of its document is among them."""
SHORT: dict[Measure, str] = {"precision": "p", "recall": "recall", "halves": "recall"}
TITLE: dict[Measure, str] = {"precision": "P", "recall": "recall", "halves": "other half: recall"}
HALVES_PREFIX = "halves_"
"""Prefix of metrics that rest on no label, so that they are never taken for those that do."""
HALVES_CUT = 10
HALVES = f"{HALVES_PREFIX}hit_at_{HALVES_CUT}"
"""Name of the selection metric where there are no labels."""
POOL_FIGURES = ("pool_p_at_1", "pool_mrr", "pool_map")
"""Names of the metrics of candidate pools, :mod:`texthash.evaluation.pools`."""


@dataclass(frozen=True)
class Relevance:
    """Relevance by shared labels; the number of labels that a query and a document share is the gain.

    Attributes:
        queries: CSR (indptr [Q+1], indices) of the label numbers of the queries.
        database: CSR (indptr [N+1], indices) of the label numbers of the database documents.
    """

    queries: kernels.LabelSets
    database: kernels.LabelSets

    @classmethod
    def answers(cls, queries: kernels.LabelSets, documents: int) -> Relevance:
        """Return relevance by explicit answers.

        Each document has one label, its own number, which the queries that it answers share.

        Args:
            queries: CSR of the numbers of the documents that answer each query.
            documents: Number of documents in the database.
        """
        return cls(queries, (np.arange(documents + 1), np.arange(documents, dtype=np.int32)))

    @classmethod
    def graded(cls, judged: Sequence[Mapping[int, int]], documents: int) -> Relevance:
        """Return relevance by judgements with grades.

        Each document has as many labels as there are grades, and a query with grade g shares g of them.

        Args:
            judged: Grade of each judged document of each query, by the number of the document; 0 and less is not
                relevant.
            documents: Number of documents in the database.
        """
        most = max((grade for grades in judged for grade in grades.values()), default=1)
        most = max(most, 1)
        labels = [sorted(row * most + step for row, grade in of.items() for step in range(grade)) for of in judged]
        flat = np.array([label for own in labels for label in own], np.int32)
        starts = np.arange(documents + 1, dtype=np.int64) * most
        return cls((indptr_of([len(own) for own in labels]), flat), (starts, np.arange(starts[-1], dtype=np.int32)))


class Scores(NamedTuple):
    """Metrics of one set of codes; see :class:`texthash.evaluation.results.Evaluation` for the names."""

    metrics: dict[str, float]
    curves: dict[str, list[float]]
    per_query: NDArray[np.float64]


def score(
    query_codes: Codes,
    database_codes: Codes,
    relevance: Relevance,
    config: EvaluationConfig,
    threads: int = 1,
    measure: Measure = "precision",
) -> Scores:
    """Compute all metrics of packed codes.

    Args:
        query_codes: Packed codes of the queries, uint8 [Q, bits/8].
        database_codes: Packed codes of the database, uint8 [N, bits/8].
        relevance: Relevance of the same queries and documents, in the same order.
        config: Main cutoff, and the cutoffs of the curve; those beyond N are left out.
        threads: Number of threads that count distances.
        measure: Kind of metric of the curve and of ``per_query``. All but ``precision`` add recall and hit at 1 and 10.

    Raises:
        ModelMismatchError: The codes differ in width, or their number differs from the rows of the relevance.
        UsageError: No query has a relevant document.
    """
    k, documents = config.k, len(database_codes)
    values = by_query(query_codes, database_codes, relevance, config, threads, measure)
    per_query = values.get(f"{SHORT[measure]}_at_{k}", np.zeros(0))
    known = ~np.isnan(per_query)
    if not known.any():
        raise no_relevant_documents(len(query_codes), documents)
    curves = {name: of_query[known].mean(axis=0).tolist() for name, of_query in values.items() if of_query.ndim == 2}
    flat = {name: metrics.mean(of_query) for name, of_query in values.items() if of_query.ndim == 1}
    flat |= {"queries": float(known.sum()), "queries_skipped": float((~known).sum()), "documents": float(documents)}
    cuts = [float(cut) for cut in _cuts(config, documents)]
    return Scores(flat, {"k": cuts, **curves}, per_query)


def by_query(
    query_codes: Codes,
    database_codes: Codes,
    relevance: Relevance,
    config: EvaluationConfig,
    threads: int = 1,
    measure: Measure = "precision",
) -> dict[str, NDArray[Any]]:
    """Return every metric of each query by flat name, float64 [Q], and every curve, float64 [Q, points].

    A query without a relevant document has NaN. Arguments and errors are those of :func:`score`.
    """
    cuts = _cuts(config, len(database_codes))
    return _by_query(query_codes, database_codes, relevance, k=config.k, cuts=cuts, threads=threads, measure=measure)


def _by_query(
    query_codes: Codes,
    database_codes: Codes,
    relevance: Relevance,
    *,
    k: int,
    cuts: list[int],
    threads: int,
    measure: Measure,
) -> dict[str, NDArray[Any]]:
    """Return the metrics of :func:`by_query`, with the curve at ``cuts``; without cuts there is no curve."""
    blocks = [
        _per_query(graded, k, cuts, measure)
        for graded in _graded_histograms(query_codes, database_codes, relevance, threads)
    ]
    return {name: np.concatenate([block[name] for block in blocks]) for name in (blocks[0] if blocks else ())}


def _cuts(config: EvaluationConfig, documents: int) -> list[int]:
    return [cut for cut in config.curve if cut <= documents]


def no_relevant_documents(queries: int, documents: int) -> UsageError:
    """Return the error for queries of which none has a relevant document."""
    return UsageError(
        f"none of {queries} queries has a relevant document in the database of {documents}.",
        "check that the corpus has labels that queries and train share, or questions with documents that answer them.",
    )


def figures(k: int, measure: Measure) -> list[str]:
    """Return the names of the metrics by which models can be selected (expected values, higher is better)."""
    if measure == "halves":
        return [HALVES]
    cuts = sorted({k, *FIRST_CUTS}) if measure == "recall" else [k]
    shared = [f"p_at_{k}", "map", f"map_at_{k}", f"ndcg_at_{k}", "mrr", f"radius{RADIUS}_precision"]
    pools = POOL_FIGURES if measure == "recall" else ()
    return [*shared, *(f"{name}_at_{cut}" for name in ("recall", "hit") for cut in cuts), *pools, HALVES]


def check_selection_metric(name: str, k: int, *measures: Measure) -> None:
    """Raise :class:`UsageError` unless models of a corpus of one of these measures can be selected by that metric."""
    known = list(dict.fromkeys(figure for measure in measures for figure in figures(k, measure)))
    if name not in known:
        raise UsageError(
            f"evaluation.selection_metric={name}: there is no such metric with evaluation.k={k}.",
            f"{nearest_name(name, known)} There are {', '.join(known)}.",
        )


def expected(
    query_codes: Codes,
    database_codes: Codes,
    relevance: Relevance,
    k: int,
    *,
    threads: int = 1,
    measure: Measure = "precision",
    metric: str | None = None,
) -> float:
    """Return the macro average of one expected metric, for selection in training.

    It is NaN if no query has a relevant document.

    Args:
        query_codes: Packed codes of the queries, uint8 [Q, bits/8].
        database_codes: Packed codes of the database, uint8 [N, bits/8].
        relevance: Relevance of the same queries and documents, in the same order.
        k: Cutoff rank.
        threads: Number of threads that count distances.
        measure: Kind of metric.
        metric: One of :func:`figures`; None for P@k, or recall@k, which are faster: they need no gains.
    """
    if metric is not None and metric != f"{SHORT[measure]}_at_{k}":
        values = _by_query(query_codes, database_codes, relevance, k=k, cuts=[], threads=threads, measure=measure)
        return metrics.mean(values[metric])
    bits = _check(query_codes, database_codes, relevance)
    n, n_relevant = kernels.label_histogram(
        to_words(database_codes), to_words(query_codes), relevance.database, relevance.queries, bits, threads
    )
    figure = metrics.precision_at_k if measure == "precision" else metrics.recall_at_k
    return metrics.mean(figure(n, n_relevant, k).expected)


def _graded_histograms(
    query_codes: Codes, database_codes: Codes, relevance: Relevance, threads: int
) -> Iterator[NDArray[np.int64]]:
    """Yield histograms int64 [block, bits+1, gmax+1], a block of queries at a time, in order."""
    bits = _check(query_codes, database_codes, relevance)
    words = to_words(database_codes)
    indptr, indices = relevance.queries
    gains = int(np.diff(indptr).max(initial=0)) + 1
    block = max(1, _CELLS // ((64 * len(words) + 1) * gains))
    for start in range(0, len(query_codes), block):
        codes = query_codes[start : start + block]
        bounds = indptr[start : start + len(codes) + 1]
        labels = bounds - bounds[0], indices[bounds[0] : bounds[-1]]
        yield kernels.graded_histogram(words, to_words(codes), relevance.database, labels, bits, threads)


def _per_query(graded: NDArray[np.int64], k: int, cuts: list[int], measure: Measure) -> dict[str, NDArray[Any]]:
    """Return every metric of each query: [block], or [block, points] for curves."""
    n = graded.sum(axis=2)
    relevant = graded[:, :, 1:].sum(axis=2)
    values: dict[str, NDArray[Any]] = {}

    def add(name: str, tied: metrics.Tied) -> None:
        values[name], values[f"{name}_best"], values[f"{name}_worst"] = tied

    add(f"p_at_{k}", metrics.precision_at_k(n, relevant, k))
    add("map", metrics.average_precision(n, relevant))
    add(f"map_at_{k}", metrics.average_precision(n, relevant, k))
    add(f"ndcg_at_{k}", metrics.ndcg_at_k(graded, k))
    for cut in sorted({k, *FIRST_CUTS}) if measure != "precision" else [k]:
        add(f"recall_at_{cut}", metrics.recall_at_k(n, relevant, cut))
        add(f"hit_at_{cut}", metrics.hit_at_k(n, relevant, cut))
    add("mrr", metrics.reciprocal_rank(n, relevant))
    ball = metrics.radius_precision(n, relevant, RADIUS)
    unknown = np.isnan(ball.precision)
    values[f"radius{RADIUS}_precision"] = ball.precision
    values[f"radius{RADIUS}_empty_rate"] = np.where(unknown, np.nan, ball.empty)
    values["distance_relevant"] = _mean_distance(relevant, unknown)
    values["distance_other"] = _mean_distance(n - relevant, unknown)
    if cuts:
        curve = metrics.precision_curve if measure == "precision" else metrics.recall_curve
        add(SHORT[measure], curve(n, relevant, cuts))
    balls = metrics.pr_curve(n, relevant)
    values |= {"radius_precision": balls.precision, "radius_recall": balls.recall, "radius_empty": balls.empty}
    return values


def _mean_distance(histogram: NDArray[np.int64], unknown: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the mean Hamming distance of the counted documents, float64 [Q].

    It is NaN if there are none, or the query is not answerable.
    """
    count = histogram.sum(axis=1)
    total = histogram @ np.arange(histogram.shape[1])
    return np.where(unknown | (count == 0), np.nan, total / np.maximum(count, 1))


def _check(query_codes: Codes, database_codes: Codes, relevance: Relevance) -> int:
    """Return the width in bits of the codes, after a check that they match each other and the relevance."""
    bits = check_codes(database_codes, name="database codes")
    check_codes(query_codes, bits, "query codes")
    for name, codes, labels in (
        ("queries", query_codes, relevance.queries),
        ("database documents", database_codes, relevance.database),
    ):
        if len(codes) != len(labels[0]) - 1:
            raise ModelMismatchError(
                f"there are {len(codes)} codes for {len(labels[0]) - 1} {name}.", "encode the same split of the corpus."
            )
    return bits
