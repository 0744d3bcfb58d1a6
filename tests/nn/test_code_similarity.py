"""Inner products of the codes of pairs, against loops over their entries."""

import math

import pytest
import torch

from texthash.nn.code_similarity import joint_similarity, matched_products, similarity_error


def codes(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


def test_matched_products_are_those_of_a_loop_and_leave_out_what_is_ignored():
    one, other = codes(4, 6), codes(4, 7)[:, :6]
    ignored = torch.zeros(4, 4, dtype=torch.bool)
    ignored[1, 3] = True
    total = 0.0
    for i in range(4):
        for j in range(4):
            if (i, j) != (1, 3):
                total += (float(one[i] @ other[j]) - (6 if i == j else 0)) ** 2
    assert float(matched_products(one, other, ignored)) == pytest.approx(math.sqrt(total))


def test_matched_products_vanish_for_equal_codes_of_pairs_at_half_of_the_bits_of_others():
    hadamard = torch.tensor([[1.0, 1], [1, -1]])
    h = torch.kron(torch.kron(hadamard, hadamard), hadamard)
    nothing = torch.zeros(8, 8, dtype=torch.bool)
    assert float(matched_products(h, h, nothing)) == 0
    assert float(matched_products(h, -h, nothing)) > 0


def test_similarity_is_that_of_the_equations():
    one, other = codes(5, 3), codes(5, 4)
    found = joint_similarity(one, other, share=0.6, second_order=0.4)

    def cosine(a, b):
        return float(a @ b / (a.norm() * b.norm()))

    first = [[0.6 * cosine(one[i], one[j]) + 0.4 * cosine(other[i], other[j]) for j in range(5)] for i in range(5)]
    for i in range(5):
        for j in range(5):
            second = sum(first[i][k] * first[j][k] for k in range(5)) / 5
            expected = 1.0 if i == j else 0.6 * first[i][j] + 0.4 * second
            assert float(found[i, j]) == pytest.approx(expected)


def test_different_pairs_of_a_high_similarity_are_asked_to_be_alike():
    """The smallest test of CoSHC: the target of a cosine of 0.8 is min(1.5 * 0.8, 1), and not 0."""
    v = torch.tensor([[1.0, 0.0], [0.8, 0.6]])
    target = (1.5 * joint_similarity(v, v, 0.6, 0.0)).clamp(max=1)
    assert target[0, 1] == 1
    assert float(similarity_error(torch.ones(2, 8), torch.ones(2, 8), target)) == 0


def test_error_is_the_mean_over_all_entries():
    one, other, target = codes(3, 8), codes(3, 9)[:, :8], codes(3, 3)
    expected = [(float(target[i, j]) - float(one[i] @ other[j]) / 8) ** 2 for i in range(3) for j in range(3)]
    assert float(similarity_error(one, other, target)) == pytest.approx(sum(expected) / 9)
