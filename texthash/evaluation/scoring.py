"""From codes and relevance to every figure of the protocol. Pure: no splits, no models, no files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from texthash.config import EvaluationConfig
from texthash.errors import ModelMismatchError, UsageError, nearest_name
from texthash.evaluation import metrics
from texthash.hamming import kernels
from texthash.hamming.codes import check_codes, to_words

RADIUS = 2
FIRST_CUTS = (1, 10)  # of recall and hits, beside the main one
_CELLS = 16_000_000  # histogram cells held at once: 128 MB of int64

Codes = NDArray[np.uint8]
Measure = Literal["precision", "recall", "halves"]
"""What is measured: how many of the first k documents share a label with the query; how many of the documents that
answer it are among them; or, without any labels, whether the other half of its document is."""
SHORT: dict[Measure, str] = {"precision": "p", "recall": "recall", "halves": "recall"}
TITLE: dict[Measure, str] = {"precision": "P", "recall": "recall", "halves": "other half: recall"}
HALVES_PREFIX = "halves_"
"""What figures without labels are called by beside others: never by the bare name of a figure that rests on labels."""
HALVES_CUT = 10
HALVES = f"{HALVES_PREFIX}hit_at_{HALVES_CUT}"
"""Name of the figure by which models are chosen where there are no labels."""


@dataclass(frozen=True)
class Relevance:
    """Which database documents are relevant to a query: those with which it shares a label; how many, is the gain.

    Attributes:
        queries: CSR (indptr [Q+1], indices) of the label numbers of the queries.
        database: The same of the database documents.
    """

    queries: kernels.LabelSets
    database: kernels.LabelSets

    @classmethod
    def answers(cls, queries: kernels.LabelSets, documents: int) -> Relevance:
        """Relevance of named documents: each has one label, its own number, which those queries share that it answers.

        Args:
            queries: CSR of the numbers of the documents that answer each query.
            documents: Of the database.
        """
        return cls(queries, (np.arange(documents + 1), np.arange(documents, dtype=np.int32)))


class Scores(NamedTuple):
    """Figures of one set of codes; see :class:`texthash.evaluation.results.Evaluation` for the names."""

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
    """All metrics of packed codes.

    Args:
        query_codes: uint8 [Q, bits/8].
        database_codes: uint8 [N, bits/8].
        relevance: Of the same queries and documents, in the same order.
        config: Main cut, and the cuts of the curve, of which those beyond N are left out.
        threads: For the counting of distances.
        measure: What the curve and the figure of each query are of. But for ``precision`` there are recall and hits at
            1 and 10 too.

    Raises:
        ModelMismatchError: codes of different widths, or not one for each row of the relevance.
        UsageError: no query has a relevant document.
    """
    k, documents = config.k, len(database_codes)
    values = by_query(query_codes, database_codes, relevance, config, threads, measure)
    per_query = values.get(f"{SHORT[measure]}_at_{k}", np.zeros(0))
    known = ~np.isnan(per_query)
    if not known.any():
        raise nothing_relevant(len(query_codes), documents)
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
    """Every figure of each query by its flat name, float64 [Q], and every curve [Q, points]; arguments and errors are
    those of :func:`score`. NaN where nothing is relevant."""
    cuts = _cuts(config, len(database_codes))
    return _by_query(query_codes, database_codes, relevance, config.k, cuts, threads, measure)


def _by_query(
    query_codes: Codes,
    database_codes: Codes,
    relevance: Relevance,
    k: int,
    cuts: list[int],
    threads: int,
    measure: Measure,
) -> dict[str, NDArray[Any]]:
    """Return what :func:`by_query` does, with the curve at ``cuts``; without any there is none."""
    blocks = [
        _per_query(graded, k, cuts, measure)
        for graded in _graded_histograms(query_codes, database_codes, relevance, threads)
    ]
    return {name: np.concatenate([block[name] for block in blocks]) for name in (blocks[0] if blocks else ())}


def _cuts(config: EvaluationConfig, documents: int) -> list[int]:
    return [cut for cut in config.curve if cut <= documents]


def nothing_relevant(queries: int, documents: int) -> UsageError:
    """What to say of queries of which none has a relevant document."""
    return UsageError(
        f"none of {queries} queries has a relevant document in the database of {documents}.",
        "check that the corpus has labels that queries and train share, or questions with documents that answer them.",
    )


def figures(k: int, measure: Measure) -> list[str]:
    """Names of the figures by which models can be chosen: their expected values, higher is better."""
    if measure == "halves":
        return [HALVES]
    cuts = sorted({k, *FIRST_CUTS}) if measure == "recall" else [k]
    shared = [f"p_at_{k}", "map", f"map_at_{k}", f"ndcg_at_{k}", "mrr", f"radius{RADIUS}_precision"]
    return [*shared, *(f"{name}_at_{cut}" for name in ("recall", "hit") for cut in cuts), HALVES]


def check_figure(name: str, k: int, *measures: Measure) -> None:
    """Raise :class:`UsageError` unless models of a corpus of one of these measures can be chosen by that figure."""
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
    threads: int = 1,
    measure: Measure = "precision",
    metric: str | None = None,
) -> float:
    """One expected figure alone, macro average: what training selects by. NaN when no query has a relevant document.

    Args:
        metric: One of :func:`figures`; None: P@k, or recall@k, for which distances are counted once only.
    """
    if metric is not None and metric != f"{SHORT[measure]}_at_{k}":
        values = _by_query(query_codes, database_codes, relevance, k, [], threads, measure)
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
    """Histograms int64 [block, bits+1, gmax+1], a block of queries at a time, in order."""
    bits = _check(query_codes, database_codes, relevance)
    words = to_words(database_codes)
    indptr, indices = relevance.queries
    gains = int(np.diff(indptr).max(initial=0)) + 1
    block = max(1, _CELLS // ((64 * len(words) + 1) * gains))
    for start in range(0, len(query_codes), block):
        some = query_codes[start : start + block]
        bounds = indptr[start : start + len(some) + 1]
        labels = bounds - bounds[0], indices[bounds[0] : bounds[-1]]
        yield kernels.graded_histogram(words, to_words(some), relevance.database, labels, bits, threads)


def _per_query(graded: NDArray[np.int64], k: int, cuts: list[int], measure: Measure) -> dict[str, NDArray[Any]]:
    """Every figure of each query: [block], or [block, points] for curves."""
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
    """Mean Hamming distance of the documents counted, float64 [Q]; NaN where there are none or the query is unknown."""
    count = histogram.sum(axis=1)
    total = histogram @ np.arange(histogram.shape[1])
    return np.where(unknown | (count == 0), np.nan, total / np.maximum(count, 1))


def _check(query_codes: Codes, database_codes: Codes, relevance: Relevance) -> int:
    """The width in bits of codes that fit each other and the relevance."""
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
