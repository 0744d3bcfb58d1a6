"""The bound on the entropy of all codes against the sum over all 2^5 codes, and against Markov chains."""

import itertools
import math

import pytest
import torch

from texthash.nn.code_entropy import closest_earlier_bits, entropy_bound, nested_blocks
from texthash.nn.mutual_information import cross_entropy, lift, window_marginals

BITS = 5
CODES = torch.tensor(list(itertools.product([0.0, 1.0], repeat=BITS)), dtype=torch.float64)
LOGITS = 2 * torch.randn(6, BITS, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
P = torch.sigmoid(LOGITS)


def entropy(p):
    """H of the mixture of independent bits, by its definition."""
    q = (p[:, None] * CODES + (1 - p[:, None]) * (1 - CODES)).prod(dim=2).mean(dim=0)
    return float(-(q * q.log()).sum())


def test_given_all_earlier_bits_it_is_the_entropy_and_given_fewer_it_is_larger():
    bounds = [float(entropy_bound(P, closest_earlier_bits(P, count))) for count in range(BITS + 1)]
    assert bounds[BITS] == pytest.approx(entropy(P))
    assert bounds[BITS - 1] == pytest.approx(entropy(P))
    assert all(more >= fewer - 1e-12 for more, fewer in itertools.pairwise(bounds))
    mean = P.mean(dim=0)
    single = -(mean * mean.log() + (1 - mean) * (1 - mean).log()).sum()
    assert bounds[0] == pytest.approx(float(single)), "without a condition, the sum over single bits"


@pytest.mark.parametrize("order", [0, 1, 3])
def test_given_the_bits_just_before_it_is_the_best_chain(order):
    before = torch.arange(BITS)[:, None] - 1 - torch.arange(order)
    given = torch.where(before < 0, BITS, before)
    windows = window_marginals(lift(LOGITS[:, :, None], order)).mean(dim=0)
    best = (windows[..., 1] / windows[..., 0]).log().nan_to_num(nan=0.0)  # the logits of the mixture's own windows
    torch.testing.assert_close(entropy_bound(P, given), cross_entropy(windows, best))


def test_the_closest_bits_are_earlier_ones_by_correlation():
    given = closest_earlier_bits(P, 2)
    correlation = torch.corrcoef(P.T).abs()
    for bit in range(BITS):
        ranked = sorted(range(bit), key=lambda other: -correlation[bit, other])[:2]
        assert given[bit].tolist() == [*ranked, *[BITS] * (2 - len(ranked))]


def test_a_bit_that_repeats_another_or_never_changes_adds_nothing():
    p = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.0, 1.0, 1.0, 0.0], [1.0, 0.0, 1.0, 0.0], [1.0, 1.0, 1.0, 1.0]])
    p[:, 3] = p[:, 1]
    assert float(entropy_bound(p, closest_earlier_bits(p, 1))) == pytest.approx(2 * math.log(2), abs=1e-6)


def test_the_first_terms_are_the_bound_of_the_shorter_code():
    terms = [float(entropy_bound(P[:, :m], closest_earlier_bits(P[:, :m], min(2, m)))) for m in range(1, BITS + 1)]
    given = closest_earlier_bits(P, 2)
    for m, bound in enumerate(terms, start=1):
        longer = torch.cat([P[:, :m], torch.full((len(P), BITS - m), 1e-12, dtype=torch.float64)], dim=1)
        assert float(entropy_bound(longer, given)) == pytest.approx(bound, abs=1e-8), (
            "bits that are always off add nothing"
        )


def test_its_gradient_is_that_of_a_difference():
    given = closest_earlier_bits(P, 2)
    assert torch.autograd.gradcheck(lambda p: entropy_bound(p, given), P.clone().requires_grad_())


def test_blocks_end_at_the_usual_widths():
    assert nested_blocks(72).tolist() == [0] * 16 + [1] * 16 + [2] * 32 + [3] * 8
    assert nested_blocks(16).tolist() == [0] * 16
    assert nested_blocks(8).tolist() == [0] * 8


def test_a_block_has_the_gradient_that_it_has_without_those_behind_it():
    def gradient(p, blocks):
        p = p.clone().requires_grad_()
        entropy_bound(p, closest_earlier_bits(p, 2), blocks).backward()
        return p.grad

    blocks = torch.tensor([0, 0, 0, 1, 1])
    first, whole = gradient(P[:, :3], blocks[:3]), gradient(P, blocks)
    torch.testing.assert_close(whole[:, :3], first)
    torch.testing.assert_close(first, gradient(P[:, :3], None))
    assert not torch.allclose(gradient(P, None)[:, :3], first)
    torch.testing.assert_close(gradient(P, None)[:, 3:], whole[:, 3:])
