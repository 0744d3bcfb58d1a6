"""Exact nearest neighbours against brute force, whatever tiles, blocks and threads are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, random_array

from tests.memory import check_peak
from texthash.corpora.prepared.neighbours.cosine import CosineSearch
from texthash.corpora.prepared.neighbours.dense import DenseSearch
from texthash.corpora.prepared.neighbours.hamming import HammingSearch
from texthash.corpora.prepared.neighbours.search import all_nearest
from texthash.errors import UsageError
from texthash.hamming.codes import unpack

SEEDS = st.integers(0, 2**32 - 1)


def similarities(dense: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cosines with every sum in ascending order of words, as the search takes them; equal ones are then equal bits."""
    norms = np.sqrt((dense * dense).sum(axis=1, dtype=np.float64))[:, None]
    unit = dense / np.where(norms > 0, norms, 1.0).astype(np.float32)
    total = np.zeros((len(dense), len(dense)), np.float32)
    for column in unit.T:
        total += np.outer(column, column)
    return total


def by_brute_force(similarity: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Others by similarity descending and row ascending."""
    ordered = np.argsort(-similarity, axis=1, kind="stable")
    return np.array([[j for j in row if j != i][:k] for i, row in enumerate(ordered)])


@given(SEEDS, st.integers(2, 60), st.data(), st.sampled_from([1, 3, 256]), st.sampled_from([1, 7, 64, 1000]))
def test_cosine_neighbours_are_those_of_brute_force(
    seed: int, documents: int, data: st.DataObject, block: int, tile: int
) -> None:
    """With small whole numbers many similarities are equal, and some rows are empty; k goes up to all others."""
    k = data.draw(st.integers(1, documents - 1))
    dense = np.random.default_rng(seed).poisson(0.4, (documents, 5)).astype(np.float32)
    rows, weights = all_nearest(CosineSearch.of(csr_matrix(dense), tile), k, block, threads=2)
    similarity = similarities(dense)
    expected = by_brute_force(similarity, k)
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_array_equal(weights, np.take_along_axis(similarity, expected, axis=1))


@pytest.mark.parametrize("k", [1, 10, 400, 1499])
def test_many_documents_are_pruned_to_the_nearest(k: int) -> None:
    """Enough rows for candidates to overflow, for several tiles, and for words that are held densely."""
    random = np.random.default_rng(0)
    dense = random.poisson(0.2, (1500, 40)).astype(np.float32)
    dense[:, 0] = random.integers(0, 3, 1500)
    dense[700:900] = dense[600:800]
    similarity = similarities(dense)
    expected = by_brute_force(similarity, k)
    for tile in (500, 16_384):
        rows, weights = all_nearest(CosineSearch.of(csr_matrix(dense), tile), k)
        np.testing.assert_array_equal(rows, expected)
        np.testing.assert_array_equal(weights, np.take_along_axis(similarity, expected, axis=1))


@given(SEEDS, st.integers(2, 60), st.data(), st.sampled_from([1, 3, 256]))
def test_hamming_neighbours_are_those_of_brute_force(
    seed: int, documents: int, data: st.DataObject, block: int
) -> None:
    """Few different codes, so that a document has more equals than neighbours are asked for."""
    k = data.draw(st.integers(1, documents - 1))
    codes = np.random.default_rng(seed).integers(0, 4, (documents, 2), dtype=np.uint8)
    rows, weights = all_nearest(HammingSearch.of(codes), k, block, threads=2)
    bits = unpack(codes)
    distances = (bits[:, None] != bits[None]).sum(axis=2)
    expected = by_brute_force(-distances.astype(np.float32), k)
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_array_equal(np.round(16 * (1 - weights)), np.take_along_axis(distances, expected, axis=1))


@given(SEEDS, st.integers(2, 600), st.data(), st.sampled_from([1, 7, 256, 1000]))
def test_neighbours_of_vectors_are_those_of_brute_force(
    seed: int, documents: int, data: st.DataObject, block: int
) -> None:
    """Vectors of small whole numbers, so that many similarities are equal; one vector is zero."""
    k = data.draw(st.integers(1, documents - 1))
    vectors = np.random.default_rng(seed).integers(-1, 2, (documents, 3)).astype(np.float32)
    vectors[0] = 0
    search = DenseSearch.of(vectors)
    rows, weights = all_nearest(search, k, block, threads=2)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.where(lengths > 0, lengths, 1)
    cosine = unit @ unit.T
    np.testing.assert_allclose(weights, np.take_along_axis(cosine, rows, axis=1), atol=1e-6)
    np.testing.assert_allclose(-np.sort(-weights, axis=1), weights)
    assert not (rows == np.arange(documents)[:, None]).any(), "a document is not its own neighbour"
    left = np.array(
        [np.delete(row, [i, *near]).max(initial=-1) for i, (row, near) in enumerate(zip(cosine, rows, strict=True))]
    )
    assert (weights[:, -1] >= left - 1e-6).all(), "none that is left out is nearer"
    again = all_nearest(search, k, 256, threads=1)
    np.testing.assert_array_equal(rows, again[0], err_msg="whatever the blocks are")
    np.testing.assert_array_equal(weights, again[1])
    ties = weights[:, 1:] == weights[:, :-1]
    assert (rows[:, 1:] > rows[:, :-1])[ties].all(), "equal ones by row number"


def test_equal_similarities_are_ordered_by_row() -> None:
    rows, _ = all_nearest(CosineSearch.of(csr_matrix(np.ones((5, 2), np.float32))), 3)
    assert rows.tolist() == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2], [0, 1, 2]]


@pytest.mark.parametrize("k", [0, 5])
def test_k_has_to_leave_other_documents(k: int) -> None:
    with pytest.raises(UsageError, match=f"k={k} neighbours of 5"):
        all_nearest(CosineSearch.of(csr_matrix(np.ones((5, 2), np.float32))), k)
    with pytest.raises(UsageError, match=f"k={k} neighbours of 5"):
        all_nearest(HammingSearch.of(np.zeros((5, 2), np.uint8)), k)


def test_negative_values_are_refused() -> None:
    with pytest.raises(UsageError, match="down to -2"):
        CosineSearch.of(csr_matrix(np.array([[1, -2], [1, 1]], np.float32)))


@pytest.mark.alone  # threads that other tests have left allocate too
def test_memory_does_not_grow_with_the_square_of_the_documents() -> None:
    documents, k, block, threads = 20_000, 50, 256, 2
    matrix = csr_matrix(random_array((documents, 500), density=0.01, dtype=np.float32, rng=np.random.default_rng(0)))
    search = CosineSearch.of(matrix)
    all_nearest(search, k, block, threads)
    graph = documents * k * 8
    blocks_under_way = 2 * threads * block * (8 * (2 * k + 256) + 8 * k)
    most = graph + blocks_under_way + 1_000_000
    assert most < 4 * documents * block, "similarities of a block to all documents would be more"
    check_peak(lambda: all_nearest(search, k, block, threads), most)
