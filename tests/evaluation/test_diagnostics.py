"""Code diagnostics on codes whose figures are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from texthash.errors import UsageError
from texthash.evaluation.diagnostics import collapse_warning, diagnose, share_of_ones
from texthash.hamming.codes import pack


def test_every_code_once_is_perfect():
    got = diagnose(np.arange(256, dtype=np.uint8)[:, None])
    assert got["bit_balance"] == 0
    assert got["bit_correlation"] == pytest.approx(0, abs=1e-12)
    assert got["bit_dependence"] == pytest.approx(0, abs=1e-12)
    assert got["entropy"] == pytest.approx(1)
    assert got["effective_bits"] == pytest.approx(8)
    assert (got["unique_codes"], got["unique_ratio"], got["largest_bucket"]) == (256, 1.0, 1 / 256)
    assert got["unique_ratio_uniform"] == pytest.approx(1 - math.exp(-1))
    assert got["collision_rate"] == pytest.approx(1 / 256)
    assert got["dead_bits"] == 0


def test_figures_match_plain_formulas():
    generator = np.random.default_rng(0)
    bits = (generator.random((5000, 16)) < generator.uniform(0.2, 0.8, 16)).astype(np.uint8)
    bits[:, 3] = bits[:, 2]
    bits[:, 7] = 0
    got = diagnose(pack(bits))
    p = bits.mean(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = np.abs(np.nan_to_num(np.corrcoef(bits.T)))
    signs = bits.astype(float) * 2 - 1
    assert got["bit_balance"] == pytest.approx(np.abs(2 * p - 1).mean())
    assert got["bit_correlation"] == pytest.approx((correlation.sum() - np.trace(correlation)) / (16 * 15))
    assert got["bit_dependence"] == pytest.approx(np.linalg.norm(signs.T @ signs / 5000 - np.eye(16)) / 16)
    assert got["dead_bits"] == 1
    _, counts = np.unique(bits, axis=0, return_counts=True)
    frequency = counts / 5000
    assert got["effective_bits"] == pytest.approx(-(frequency * np.log2(frequency)).sum())
    assert got["largest_bucket"] == frequency.max()
    np.testing.assert_allclose(share_of_ones(pack(bits)), p)


def test_blocks_change_nothing(monkeypatch):
    codes = np.random.default_rng(1).integers(0, 256, (1000, 4), dtype=np.uint8)
    whole = diagnose(codes)
    monkeypatch.setattr("texthash.evaluation.diagnostics._BLOCK", 77)
    assert diagnose(codes) == pytest.approx(whole)


def test_one_document_and_equal_codes():
    assert diagnose(np.zeros((1, 2), np.uint8))["effective_bits"] == 0
    got = diagnose(np.zeros((50, 2), np.uint8))
    assert (got["bit_balance"], got["entropy"], got["dead_bits"], got["largest_bucket"]) == (1, 0, 16, 1)


@pytest.mark.parametrize(
    ("codes", "named"),
    [
        (np.zeros((150, 2), np.uint8), "16 of 16 bits"),
        (np.repeat(np.arange(100, dtype=np.uint8), [900, *[1] * 99])[:, None], "90% of the documents"),
    ],
)
def test_collapse_is_said(codes, named):
    warning = collapse_warning(diagnose(codes), codes.shape[1] * 8, len(codes))
    assert warning is not None
    assert named in warning


def test_bits_that_hardly_vary_are_a_collapse_though_none_is_stuck():
    rng = np.random.default_rng(3)
    codes = np.packbits(rng.random((3000, 32)) < 0.05, axis=1)
    diagnostics = diagnose(codes)
    assert diagnostics["dead_bits"] == 0
    assert diagnostics["entropy"] == pytest.approx(0.286, abs=0.02)  # H(0.05)
    warning = collapse_warning(diagnostics, 32, 3000)
    assert warning is not None
    assert "0.29 bits of entropy" in warning


def test_codes_as_few_as_the_labels_are_no_collapse_of_a_method_that_learned_these():
    four = np.random.default_rng(4).integers(0, 256, (4, 4), dtype=np.uint8)  # one code a label
    diagnostics = diagnose(np.repeat(four, 500, axis=0))
    warning = collapse_warning(diagnostics, 32, 2000)
    assert warning is not None
    assert "25% of the documents share one code" in warning
    assert collapse_warning(diagnostics, 32, 2000, allow_few_codes=True) is None
    stuck = diagnose(np.zeros((2000, 4), np.uint8))
    assert collapse_warning(stuck, 32, 2000, allow_few_codes=True) is not None


def test_sound_codes_are_not_warned_about():
    codes = np.random.default_rng(2).integers(0, 256, (3000, 4), dtype=np.uint8)
    assert collapse_warning(diagnose(codes), 32, 3000) is None


@pytest.mark.parametrize("documents", [3, 10, 99, 100])
@pytest.mark.parametrize("allow_few_codes", [False, True])
def test_codes_that_are_all_equal_are_a_collapse_of_a_small_corpus_too(documents, allow_few_codes):
    warning = collapse_warning(diagnose(np.zeros((documents, 4), np.uint8)), 32, documents, allow_few_codes)
    assert warning is not None
    assert "Lower the learning rate" in warning


def test_nearly_all_equal_is_a_collapse_and_half_of_few_documents_is_none():
    for equal, warned in ((95, True), (48, False)):
        codes = np.repeat(np.arange(100 - equal, dtype=np.uint8), [equal, *[1] * (99 - equal)])[:, None]
        assert len(codes) == 99
        assert (collapse_warning(diagnose(codes), 8, 99) is not None) == warned


def test_one_document_and_two_are_not_judged():
    for documents in (1, 2):
        assert collapse_warning(diagnose(np.zeros((documents, 4), np.uint8)), 32, documents) is None


def test_no_codes_is_an_error():
    with pytest.raises(UsageError, match=r"\(0, 4\)"):
        diagnose(np.zeros((0, 4), np.uint8))
