"""Exact nearest neighbours against brute force, and the graph kept beside a corpus."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from texthash.corpora.dataset import PreparedCorpus
from texthash.corpora.neighbours import cached_graph, nearest_by_cosine
from texthash.errors import CorpusError, UsageError


@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 12))
def test_neighbours_are_those_of_brute_force(seed: int, k: int, block: int) -> None:
    """With small whole numbers many similarities are equal, and some rows are empty."""
    dense = np.random.default_rng(seed).poisson(0.4, (12, 5)).astype(np.float32)
    rows, weights = nearest_by_cosine(csr_matrix(dense), k, block)
    norms = np.linalg.norm(dense, axis=1, keepdims=True)
    similarity = (unit := dense / np.where(norms > 0, norms, 1)) @ unit.T
    for i in range(12):
        others = [j for j in range(12) if j != i]
        expected = np.sort(similarity[i, others])[::-1][:k]
        assert i not in rows[i]
        assert len(set(rows[i])) == k
        np.testing.assert_allclose(weights[i], expected, atol=1e-5)
        np.testing.assert_allclose(similarity[i, rows[i]], weights[i], atol=1e-5)


def test_equal_similarities_are_ordered_by_row() -> None:
    rows, _ = nearest_by_cosine(csr_matrix(np.ones((5, 2), np.float32)), 3)
    assert rows.tolist() == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2], [0, 1, 2]]


@pytest.mark.parametrize("k", [0, 5])
def test_k_has_to_leave_other_documents(k: int) -> None:
    with pytest.raises(UsageError, match=f"k={k} neighbours of 5"):
        nearest_by_cosine(csr_matrix(np.ones((5, 2), np.float32)), k)


def test_the_graph_of_a_corpus_is_kept(small_corpus: PreparedCorpus) -> None:
    rows, weights = small_corpus.train.neighbours(5)
    again, _ = small_corpus.train.neighbours(5)
    assert isinstance(again, np.memmap)
    expected, _ = nearest_by_cosine(small_corpus.train.matrix(), 5)
    np.testing.assert_array_equal(rows, expected)
    assert (np.diff(weights, axis=1) <= 0).all()
    with pytest.raises(CorpusError, match="validation"):
        small_corpus.validation.neighbours(5)


def test_of_several_that_need_a_graph_one_computes_it(small_corpus: PreparedCorpus, tmp_path: Path) -> None:
    computed = []

    def matrix() -> csr_matrix:
        computed.append(1)
        return small_corpus.train.matrix()

    with ThreadPoolExecutor(3) as pool:
        graphs = list(pool.map(lambda _: cached_graph(tmp_path, 5, matrix), range(3)))
    assert len(computed) == 1
    for rows, _ in graphs:
        np.testing.assert_array_equal(rows, small_corpus.train.neighbours(5)[0])
