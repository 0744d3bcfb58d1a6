"""Word vectors by co-occurrence: counted by loops, decomposed densely; k-max pooling by sorting."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import torch
from torch.autograd import gradcheck

from texthash.nn.k_max import KMaxEncoder, k_max
from texthash.nn.word_vectors import cooccurrences, positive_information, word_vectors

INDPTR, TOKENS = np.array([0, 4, 4, 9]), np.array([0, 1, 2, 1, 3, 0, 1, 1, 2])
WORDS, WINDOW = 5, 2


def counted() -> np.ndarray:
    counts = np.zeros((WORDS, WORDS))
    for start, stop in pairwise(INDPTR):
        text = TOKENS[start:stop]
        for i, one in enumerate(text):
            for j, other in enumerate(text):
                counts[one, other] += 0 < abs(i - j) <= WINDOW
    return counts


def test_counts_are_of_pairs_within_a_window_and_a_document() -> None:
    np.testing.assert_array_equal(cooccurrences(INDPTR, TOKENS, WORDS, WINDOW).toarray(), counted())


def test_information_and_vectors_are_the_plain_formulas() -> None:
    counts = counted()
    totals = counts.sum(axis=1)
    expected = np.zeros_like(counts)
    for w, v in zip(*np.nonzero(counts), strict=True):
        expected[w, v] = max(0.0, math.log(counts[w, v] * counts.sum() / (totals[w] * totals[v])))
    information = positive_information(cooccurrences(INDPTR, TOKENS, WORDS, WINDOW))
    np.testing.assert_allclose(information.toarray(), expected)
    left, values, _ = np.linalg.svd(expected)
    vectors = word_vectors(information, 2)
    gram = left[:, :2] * values[:2] @ left[:, :2].T
    np.testing.assert_allclose(vectors @ vectors.T, gram, atol=1e-5)
    assert not vectors[4].any(), "a word without neighbours"
    assert word_vectors(information, 7).shape == (WORDS, 7)
    assert not word_vectors(positive_information(cooccurrences(INDPTR[:1], TOKENS[:0], WORDS, 1)), 3).any()


def test_k_max_keeps_the_largest_in_their_order() -> None:
    values = torch.tensor([[[3.0, -1, 2, 9, 9]], [[-5.0, -4, 7, 7, 7]], [[1.0, 2, 3, 4, 5]]])
    found = k_max(values, torch.tensor([3, 2, 5]), torch.tensor([2, 3, 3]))
    assert found.tolist() == [[[3, 2, 0]], [[-5, -4, 0]], [[3, 4, 5]]]
    leaf = torch.randn(2, 2, 5, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda v: k_max(v, torch.tensor([5, 3]), torch.tensor([2, 4])), (leaf,))


def test_a_text_is_encoded_the_same_in_any_company() -> None:
    torch.manual_seed(0)
    encoder = KMaxEncoder(20, 4, position=2, length=12, channels=(3, 2), window=3, top=4, dropout=0.5).eval()
    texts = [[1, 2, 3], [4], [], list(range(12))]
    tokens, mask = torch.zeros(4, 12, dtype=torch.int64), torch.zeros(4, 12, dtype=torch.bool)
    for row, text in enumerate(texts):
        tokens[row, : len(text)] = torch.tensor(text, dtype=torch.int64)
        mask[row, : len(text)] = True
    together = encoder(tokens, mask)
    assert together.shape == (4, encoder.width) == (4, 8)
    for row, text in enumerate(texts):
        length = max(1, len(text))
        torch.testing.assert_close(
            encoder(tokens[row : row + 1, :length], mask[row : row + 1, :length])[0], together[row]
        )
    turned = encoder(tokens[:1, :3].flip(1), mask[:1, :3])
    assert not torch.allclose(turned, together[:1]), "the order of words matters"
