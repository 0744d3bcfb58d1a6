"""Distillation of similarities: the divergence by hand, and the similarities of a teacher."""

import math

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from texthash.nn.distillation import Teacher, add_neighbours, ranking_divergence


def test_the_divergence_by_hand():
    """Of the other two documents the teacher prefers one by 3 to 1, the student none."""
    similarities = torch.tensor([[9.0, 0.0, 0.0]] * 3)
    similarities[:, 1] = 0.5 * math.log(3)
    scores = torch.zeros(3, 3)
    once = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    first = float(ranking_divergence(similarities, scores, 0.5))
    # The second document is left out of its own list, where the first, at 9, is all that counts.
    high = 9.0 / 0.5
    p = math.exp(high) / (math.exp(high) + 1)
    q = math.exp(high) / (math.exp(high) + 3)
    second, third = (share * math.log(2 * share) + (1 - share) * math.log(2 * (1 - share)) for share in (p, q))
    assert first == pytest.approx((once + second + third) / 3, abs=1e-5)


def test_a_student_of_the_same_order_has_no_divergence_and_gradients_are_finite():
    similarities = torch.rand(5, 5)
    scores = (similarities / 0.03 + torch.rand(5, 1)).requires_grad_(True)
    loss = ranking_divergence(similarities, scores, 0.03)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0.0, abs=1e-5)
    assert torch.isfinite(scores.grad).all()


def test_similarities_are_cosines_of_words_vectors_or_both():
    words, dense = np.float32([[1, 0, 2], [0, 3, 1], [4, 0, 0]]), np.float32([[3, 4], [0, 2], [1, 0]])
    rows = torch.tensor([2, 0])

    def cosines(x):
        unit = x / np.linalg.norm(x, axis=1, keepdims=True)
        return unit[rows] @ unit[rows].T

    for given, expected in (
        ((csr_matrix(words), None), cosines(words)),
        ((None, dense), cosines(dense)),
        ((csr_matrix(words), dense), 0.75 * cosines(words) + 0.25 * cosines(dense)),
    ):
        np.testing.assert_allclose(Teacher(*given, 0.25).similarities(rows), expected, atol=1e-6)


def test_words_of_neighbours_are_added_by_their_similarity():
    words = np.array([[1, 0, 0, 0], [0.6, 0.8, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]], np.float32)
    near = np.array([[1, 2], [0, 2], [3, 0], [0, 1]], np.int32)
    similarities = np.array([[0.6, 0.2], [0.6, 0], [0, 0], [0, 0]], np.float32)
    lengths = np.array([[1], [3], [0.5], [1]], np.float32)  # do not matter
    found = add_neighbours(csr_matrix(lengths * words), near, similarities, 0.5).toarray()
    of_first = 0.6 * words[1] + 0.2 * words[2]
    first = words[0] + 0.5 * of_first / np.linalg.norm(of_first)
    second = words[1] + 0.5 * words[0]
    expected = [first / np.linalg.norm(first), second / np.linalg.norm(second), words[2], words[3]]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_heaviest_words_are_kept_and_blocks_change_nothing(monkeypatch):
    generator = np.random.default_rng(0)
    words = csr_matrix(generator.random((40, 500), dtype=np.float32) * (generator.random((40, 500)) < 0.4))
    near = generator.permuted(np.tile(np.arange(40, dtype=np.int32), (40, 1)), axis=1)[:, :5]
    similarities = generator.random((40, 5), dtype=np.float32)
    found = add_neighbours(words, near, similarities, 1.0)
    assert np.diff(found.indptr).tolist() == [128] * 40
    np.testing.assert_allclose(np.linalg.norm(found.toarray(), axis=1), 1, atol=1e-5)
    monkeypatch.setattr("texthash.nn.distillation._BLOCK", 7)
    np.testing.assert_array_equal(add_neighbours(words, near, similarities, 1.0).toarray(), found.toarray())
