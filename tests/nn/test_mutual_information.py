"""Entropies of Markov chains over bits against sums over all 2^8 codes."""

import itertools

import pytest
import torch

from texthash.nn.mutual_information import cross_entropy, lift, max_marginals, window_marginals

BITS = 8
CODES = torch.tensor(list(itertools.product([0, 1], repeat=BITS)))


def chains(documents, order, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(documents, BITS, 2**order, dtype=torch.float64, generator=generator)


def log_probabilities(logits):
    """log p of all codes, by the definition of a chain, [documents, 2^8]."""
    order = logits.shape[-1].bit_length() - 1
    padded = torch.cat([torch.zeros(len(CODES), order, dtype=torch.long), CODES], dim=1)
    total = torch.zeros(len(logits), len(CODES), dtype=torch.float64)
    for i in range(BITS):
        context = sum((padded[:, order + i - t] << (t - 1) for t in range(1, order + 1)), torch.zeros_like(CODES[:, 0]))
        on = torch.sigmoid(logits[:, i, context])
        total += torch.where(CODES[:, i] == 1, on, 1 - on).log()
    return total


@pytest.mark.parametrize("order", [0, 1, 3])
def test_a_chain_is_a_distribution_and_lifting_leaves_it_as_it_is(order):
    logits = chains(3, order)
    log_p = log_probabilities(logits)
    assert log_p.exp().sum(dim=1).tolist() == pytest.approx([1.0] * 3)
    torch.testing.assert_close(log_probabilities(lift(logits, 4)), log_p)
    windows = window_marginals(logits)
    torch.testing.assert_close(windows.sum(dim=(2, 3)), torch.ones(3, BITS, dtype=torch.float64))
    torch.testing.assert_close(windows[..., 1].sum(dim=2), log_p.exp() @ CODES.double())


@pytest.mark.parametrize(("posterior", "prior"), [(0, 0), (0, 3), (1, 2), (2, 2)])
def test_entropies_equal_sums_over_all_codes(posterior, prior):
    p, q = chains(5, posterior, seed=1), chains(1, prior, seed=2)
    log_p, log_q = log_probabilities(p), log_probabilities(q)
    lifted = lift(p, prior)
    windows = window_marginals(lifted)
    torch.testing.assert_close(cross_entropy(windows, lifted), -(log_p.exp() * log_p).sum(dim=1))
    torch.testing.assert_close(cross_entropy(windows, q[0]), -(log_p.exp() * log_q).sum(dim=1))
    mixture = log_p.exp().mean(dim=0)
    torch.testing.assert_close(cross_entropy(windows.mean(dim=0), q[0]), -(mixture * log_q[0]).sum())


def test_the_cross_entropy_with_the_best_prior_falls_to_the_entropy_as_its_order_grows():
    p = chains(4, 0, seed=3)
    mixture = log_probabilities(p).exp().mean(dim=0)
    entropy = float(-(mixture * mixture.log()).sum())
    bounds = []
    for order in range(BITS):
        windows = window_marginals(lift(p, order)).mean(dim=0)
        best = (windows[..., 1].log() - windows[..., 0].log()).nan_to_num()
        bounds.append(float(cross_entropy(windows, best)))
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[0] > entropy + 0.2
    assert bounds[-1] == pytest.approx(entropy, abs=1e-9)


@pytest.mark.parametrize("order", [0, 1, 2])
def test_max_marginals_compare_the_best_codes_with_a_bit_on_and_off(order):
    logits = chains(6, order, seed=4)
    log_p = log_probabilities(logits)
    expected = torch.stack(
        [log_p[:, CODES[:, j] == 1].amax(dim=1) - log_p[:, CODES[:, j] == 0].amax(dim=1) for j in range(BITS)], dim=1
    )
    torch.testing.assert_close(max_marginals(logits), expected)
    assert torch.equal((max_marginals(logits) > 0).long(), CODES[log_p.argmax(dim=1)])
