"""Primal Wasserstein distances, against all permutations, and what each of them sees."""

from itertools import permutations

import pytest
import torch

from texthash.nn.matching import fair_coins
from texthash.nn.transport import assigned_distance, componentwise_distance, sliced_distance

DISTANCES = (assigned_distance, sliced_distance, componentwise_distance)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def codes(documents, bits, seed=0):
    return torch.rand(documents, bits, generator=seeded(seed), dtype=torch.float64)


def test_the_assignment_is_the_cheapest_of_all():
    a, z = codes(6, 3), fair_coins(codes(6, 3), seeded(1))
    costs = [float((a - z[list(order)]).square().sum(dim=1).mean()) for order in permutations(range(6))]
    assert float(assigned_distance(a, z)) == pytest.approx(min(costs), rel=1e-6)


@pytest.mark.parametrize("distance", DISTANCES)
def test_zero_for_permuted_rows_and_blind_to_their_order(distance):
    z = fair_coins(codes(20, 8), seeded(1))
    order = torch.randperm(20, generator=seeded(2))
    assert float(distance(z[order], z)) == pytest.approx(0.0, abs=1e-12)
    a = codes(20, 8)

    def between(x, y):
        return float(distance(x, y, 50, seeded(3)) if distance is sliced_distance else distance(x, y))

    assert between(a[order], z) == pytest.approx(between(a, z), rel=1e-6)


def test_a_shift_costs_the_same_in_all():
    a = codes(30, 5)
    moved = a + torch.tensor([0.3, -0.2, 0.1, 0.0, 0.4], dtype=torch.float64)
    expected = 0.09 + 0.04 + 0.01 + 0.16
    assert float(assigned_distance(a, moved)) == pytest.approx(expected, rel=1e-6)
    assert float(componentwise_distance(a, moved)) == pytest.approx(expected, rel=1e-6)
    assert float(sliced_distance(a, moved, 50_000, seeded())) == pytest.approx(expected, rel=0.02)


def test_only_the_marginals_say_nothing_of_correlated_bits():
    independent = torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]])
    alike = torch.tensor([[0.0, 0], [0, 0], [1, 1], [1, 1]])
    assert float(componentwise_distance(alike, independent)) == 0
    assert float(assigned_distance(alike, independent)) == pytest.approx(0.5)
    assert float(sliced_distance(alike, independent, 100, seeded())) > 0.05


@pytest.mark.parametrize("distance", [assigned_distance, componentwise_distance])
def test_gradient(distance):
    z = fair_coins(codes(6, 3), seeded(1))
    assert torch.autograd.gradcheck(lambda a: distance(a, z), codes(6, 3).requires_grad_())


def test_descent_alone_makes_codes_balanced_uncorrelated_and_binary():
    """Eight bits that all follow one another end as fair coins."""
    logits = torch.randn(256, 1, generator=seeded()).expand(256, 8) + 0.3 * torch.randn(256, 8, generator=seeded(1)) + 1
    logits = logits.clone().requires_grad_()

    def state():
        b = torch.sigmoid(logits.detach())
        bits = (b > 0.5).float()
        off_diagonal = torch.corrcoef(bits.T) - torch.eye(8)
        return (bits.mean(dim=0) - 0.5).abs().max(), off_diagonal.abs().max(), (b - b.round()).abs().mean()

    before = state()
    optimizer = torch.optim.Adam([logits], lr=0.1)
    for step in range(300):
        optimizer.zero_grad()
        b = torch.sigmoid(logits)
        assigned_distance(b, fair_coins(b, seeded(step % 4))).backward()
        optimizer.step()
    after = state()
    assert before[0] > 0.2
    assert before[1] > 0.6
    assert after[0] < 0.1
    assert after[1] < 0.25
    assert after[2] < before[2] / 2
