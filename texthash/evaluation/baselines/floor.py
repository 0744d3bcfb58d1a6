"""Floor of a learned model: scores of methods without learning, on the same queries and documents.

random       constant codes, which rank at random: expected score over all orders of the documents
cosine       tf-idf, sublinear tf-idf and BM25 weights of the words, or vectors of the sentence encoder
itq          codes of the same width from the same input, by iterative quantization (:mod:`texthash.methods.itq`)

They are computed on up to 500 queries, and ITQ is fitted to up to 10,000 training documents, so that they take
seconds; the model is compared with them on those queries.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from texthash.config import EvaluationConfig, Weighting
from texthash.corpora.prepared.corpus import PreparedCorpus, Split
from texthash.evaluation.baselines.cosine import cosine_figures
from texthash.evaluation.baselines.quantized_embeddings import QuantizedEmbeddings
from texthash.evaluation.metrics import mean
from texthash.evaluation.relevance import Encode, JudgedQueries, judged_queries
from texthash.evaluation.results import Evaluation
from texthash.evaluation.scoring import SHORT, Relevance, by_query
from texthash.io.ragged import take_rows
from texthash.methods.itq import ITQ
from texthash.methods.registry import build
from texthash.models.encoding import encode_split
from texthash.models.hasher import Hasher
from texthash.progress import track

QUERIES = 500
DOCUMENTS = 10_000
"""Largest number of training documents that ITQ is fitted to, drawn at random where there are more."""
WIDEST = 256
"""Width in bits beyond which ITQ is left out: its principal components would take minutes."""
RANDOM, QUANTIZED = "random", "itq"
WEIGHTINGS: tuple[Weighting, ...] = ("tfidf", "sublinear_tfidf", "bm25")
_SEED = 0
_PREFIX = "floor/"
_SAMPLED, _BELOW = "The floor", "The model is below the floor"


class _Sample(Split):
    """Sample of the training documents, as a split to fit a method to."""

    def __init__(self, whole: Split, rows: NDArray[np.int64]) -> None:
        super().__init__(whole.name, whole._corpus)
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def counts(self) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
        """``indptr`` [N + 1], sorted word numbers and their counts [words]."""
        indptr, words, counts = super().counts
        part, entries = take_rows(indptr, self._rows)
        return part, words[entries], counts[entries]


def with_floor(evaluation: Evaluation, corpus: PreparedCorpus, hasher: Hasher) -> Evaluation:
    """Return an evaluation on validation with the scores of methods without learning, and a warning if one is higher.

    Args:
        evaluation: Evaluation of the hasher with all queries of validation.
        corpus: Corpus of the evaluation.
        hasher: Model that defines the width, and the input of ITQ.
    """
    if "pool_mrr_bm25" in evaluation.metrics:
        return _beside_bm25(evaluation)
    judged = judged_queries(corpus, "validation")
    rows = _drawn(len(evaluation.per_query), QUERIES)
    scores = floor(corpus, judged, rows, evaluation.k, hasher)
    own = mean(evaluation.per_query[rows])
    warnings = list(evaluation.warnings)
    queries = len(evaluation.per_query)
    if len(rows) < queries:
        warnings.append(
            f"{_SAMPLED}, the scores without learning, is of {len(rows)} of {queries} queries, drawn at random; "
            f"on these the model has {evaluation.main} {own:.4f}."
        )
    below = [name for name in _standards(scores, hasher) if own < scores[name]]
    if below:
        named = " and ".join(f"{name} ({scores[name]:.4f})" for name in below)
        warnings.append(
            f"{_BELOW}: {evaluation.main} {own:.4f}, where {named} needs no learning. Train "
            "longer, lower the learning rate, or use method.name=itq."
        )
    return replace(evaluation, references=scores, warnings=warnings)


def _beside_bm25(evaluation: Evaluation) -> Evaluation:
    """Return the evaluation of a method that only re-ranks, with a warning if BM25 orders its candidates better."""
    own, words = evaluation.metrics["pool_mrr"], evaluation.metrics["pool_mrr_bm25"]
    if own >= words:
        return evaluation
    warning = f"{_BELOW}: pool_mrr {own:.4f}, where BM25 ({words:.4f}) needs no learning. Train longer."
    return replace(evaluation, warnings=[*evaluation.warnings, warning])


def without_floor(evaluation: Evaluation) -> Evaluation:
    """Return an evaluation without what :func:`with_floor` added, which holds at one cutoff only."""
    warnings = [warning for warning in evaluation.warnings if not warning.startswith((_SAMPLED, _BELOW))]
    return replace(evaluation, references={}, warnings=warnings)


def floor(
    corpus: PreparedCorpus, judged: JudgedQueries, rows: NDArray[np.int64], k: int, hasher: Hasher
) -> dict[str, float]:
    """Return the main metric of methods without learning by name, in display order.

    Args:
        corpus: Corpus of the judged queries.
        judged: Queries, documents and relevance.
        rows: Rows of the queries to evaluate.
        k: Cutoff of the metric.
        hasher: Model that defines the width, and the input of ITQ.
    """
    inputs = hasher.method.inputs
    dense = inputs.encoder if "dense" in inputs.needs else None
    vectors = [dense] if dense else list(WEIGHTINGS)
    relevance = _relevance(judged.relevance, rows)
    score = partial(_score, relevance=relevance, k=k, judged=judged)
    width = hasher.bits // 8
    equal = [np.zeros((count, width), np.uint8) for count in (len(rows), judged.documents)]
    scores = {RANDOM: score(*equal)}
    for name in track(vectors, "cosine references"):
        label = "sentence vectors" if dense else name
        scores[f"{label} cosine"] = mean(cosine_figures(judged, k, name, rows))
    encode = _itq(corpus, hasher, dense)
    if encode is not None:
        queries, database = judged.codes(encode)
        scores[f"{QUANTIZED} {hasher.bits}"] = score(queries[rows], database)
    return scores


def floor_metrics(evaluation: Evaluation) -> dict[str, float]:
    """Return the references of an evaluation by metric name of the tracking store."""
    return {_PREFIX + name.replace(" ", "_"): value for name, value in evaluation.references.items()}


def _standards(scores: dict[str, float], hasher: Hasher) -> list[str]:
    """Return the names of the scores that the model should reach: for a method without learning, only random codes."""
    learned = hasher.method.card.survey_entry is not None
    return [name for name in scores if name == RANDOM or (learned and name.startswith(QUANTIZED))]


def _itq(corpus: PreparedCorpus, hasher: Hasher, dense: str | None) -> Encode | None:
    """Return a function that encodes a split by ITQ; None where ITQ has no codes of that width."""
    bits = hasher.bits
    if bits > WIDEST:
        return None
    if dense:
        return (
            QuantizedEmbeddings(corpus, dense, "itq", bits).encode_split if bits < hasher.method.shape.dense else None
        )
    sample = _Sample(corpus.train, _drawn(len(corpus.train), DOCUMENTS))
    if bits >= min(len(sample), corpus.shape.vocabulary):
        return None
    method = build(QUANTIZED, corpus.shape, bits, {"weighting": hasher.method.inputs.weighting})
    assert isinstance(method, ITQ)
    with torch.no_grad():
        method.rotate(sample)
    return partial(encode_split, method.eval())


def _score(
    query_codes: NDArray[np.uint8],
    database_codes: NDArray[np.uint8],
    *,
    relevance: Relevance,
    k: int,
    judged: JudgedQueries,
) -> float:
    config, threads = EvaluationConfig(k=k, curve=(1,)), torch.get_num_threads()
    values = by_query(query_codes, database_codes, relevance, config, threads, judged.measure)
    return mean(values[f"{SHORT[judged.measure]}_at_{k}"])


def _relevance(whole: Relevance, rows: NDArray[np.int64]) -> Relevance:
    indptr, indices = whole.queries
    part, entries = take_rows(indptr, rows)
    return Relevance((part, np.asarray(indices)[entries]), whole.database)


def _drawn(count: int, most: int) -> NDArray[np.int64]:
    return np.sort(np.random.default_rng(_SEED).permutation(count)[:most])
