"""Both ends of every range that evaluation takes: width of the code, cut, curve, documents, queries."""

from __future__ import annotations

import math

import numpy as np
import pytest

from texthash.config import EvaluationConfig, load_config
from texthash.errors import UsageError
from texthash.evaluation.diagnostics import collapse_warning, diagnose, share_of_ones
from texthash.evaluation.protocol import EvaluationProtocol
from texthash.evaluation.results import Evaluation
from texthash.evaluation.scoring import Relevance, score
from texthash.hamming.codes import MAX_BITS, MIN_BITS
from texthash.hamming.interop import SUFFIXES, read_codes, write_codes
from texthash.index.memory.multi_index import MultiIndex
from texthash.reporting.report import ReportedRun, report

LARGEST_K = 1_000_000_000
ENDS = [(bits, documents) for bits in (MIN_BITS, MAX_BITS) for documents in (1, 2, 3, 500)]


def random_codes(bits, documents, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (documents, bits // 8), dtype=np.uint8)


def of_one_label(documents):
    return np.arange(documents + 1), np.zeros(documents, np.int32)


@pytest.mark.parametrize(("bits", "documents"), ENDS)
def test_diagnostics_are_finite_and_a_uniform_code_is_its_own_measure(bits, documents):
    found = diagnose(random_codes(bits, documents))
    assert all(math.isfinite(value) for value in found.values())
    load = documents / 2.0 ** (bits - 1) / 2
    assert found["unique_ratio_uniform"] == pytest.approx(-math.expm1(-load) / load if load > 1e-300 else 1.0)
    assert collapse_warning(found, bits, documents) is None


def test_equal_codes_are_a_collapse_at_both_widths():
    for bits in (MIN_BITS, MAX_BITS):
        assert collapse_warning(diagnose(np.zeros((500, bits // 8), np.uint8)), bits, 500)


@pytest.mark.parametrize("k", [1, LARGEST_K])
@pytest.mark.parametrize("measure", ["precision", "recall"])
@pytest.mark.parametrize(("bits", "documents"), ENDS)
def test_an_evaluation_is_scored_kept_and_reported(bits, documents, measure, k, tmp_path):
    """Everything is relevant, so every figure of the first k is known."""
    queries, database = random_codes(bits, 2, seed=1), random_codes(bits, documents)
    config = EvaluationConfig(k=k, curve=tuple(sorted({1, documents})))
    scores = score(queries, database, Relevance(of_one_label(2), of_one_label(documents)), config, 1, measure)
    assert scores.metrics[f"p_at_{k}"] == pytest.approx(min(k, documents) / k)
    assert scores.metrics[f"recall_at_{k}"] == pytest.approx(min(k, documents) / documents)
    for name in ("map", f"map_at_{k}", f"ndcg_at_{k}", "mrr", f"hit_at_{k}"):
        assert scores.metrics[name] == pytest.approx(1.0), name
    near = np.unpackbits(queries[:, None] ^ database[None], axis=2).sum(axis=2)
    assert scores.metrics["distance_relevant"] == pytest.approx(near.mean())
    evaluation = Evaluation(
        "corpus",
        "edition",
        "validation",
        bits,
        k,
        scores.metrics,
        {**scores.curves, "share_of_ones": share_of_ones(database).tolist()},
        diagnose(database),
        [],
        scores.per_query,
        queries,
        database,
        np.zeros(2, np.int32),
        measure,
    )
    kept = Evaluation.load(evaluation.save(tmp_path / "evaluation"))
    assert kept.metrics == pytest.approx(evaluation.metrics, nan_ok=True)
    if (measure == "recall") == (k == LARGEST_K):  # each measure and each cut, at every end: drawing takes long
        assert f"nash | {bits}" in report([ReportedRun("nash", kept)]).markdown


@pytest.mark.parametrize(("bits", "documents"), ENDS)
def test_indexes_and_files_keep_codes_of_every_width(bits, documents, tmp_path):
    codes, queries = random_codes(bits, documents), random_codes(bits, 3, seed=1)
    near = np.unpackbits(queries[:, None] ^ codes[None], axis=2).sum(axis=2)
    numbers = np.arange(documents)
    index = MultiIndex(codes, numbers)
    for plan in ("flat", "auto"):
        for limit in (1, documents, 10 * documents):
            hits = index.search(queries, limit, plan=plan)
            for row, (distances, found) in enumerate(zip(hits.distances, hits.numbers, strict=True)):
                order = np.lexsort((numbers, near[row]))[:limit]
                assert found.tolist() == order.tolist()
                assert distances.tolist() == near[row][order].tolist()
    for suffix in SUFFIXES:
        write_codes(tmp_path / f"codes{suffix}", codes)
        assert (read_codes(tmp_path / f"codes{suffix}")[0] == codes).all()


def test_a_curve_or_cut_that_cannot_be_is_one_error_before_any_work(small_corpus):
    for wrong in ("k=0", f"k={LARGEST_K + 1}", "curve=[]", "curve=[10,0]"):
        with pytest.raises(UsageError, match=f"evaluation.{wrong.split('=')[0]}"):
            load_config(None, [f"evaluation.{wrong}"])
    size = len(small_corpus.train)
    with pytest.raises(UsageError, match=rf"evaluation.curve=\[{size + 1}\] has no cut within the {size} documents"):
        EvaluationProtocol(small_corpus, EvaluationConfig(curve=(size + 1,)))
    EvaluationProtocol(small_corpus, EvaluationConfig(curve=(size, size + 1)))
