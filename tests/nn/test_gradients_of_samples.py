"""Gradients through samples against the exact ones, by enumeration of all 2^8 codes or by quadrature."""

import itertools

import pytest
import torch
from scipy.integrate import quad
from torch import Tensor

from texthash.nn.estimators import (
    arm,
    binary_concrete,
    gumbel_softmax,
    straight_through_bernoulli,
    straight_through_sign,
)

BITS = 8
CODES = torch.tensor(list(itertools.product([0.0, 1.0], repeat=BITS)), dtype=torch.float64)
SAMPLES = 200_000


@pytest.fixture
def logits() -> Tensor:
    return torch.randn(BITS, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()


@pytest.fixture
def table() -> Tensor:
    """Values f(z) of all codes, without any structure."""
    return torch.randn(2**BITS, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def probability(p: Tensor) -> Tensor:
    """Of each code, [256], under independent bits that are on with probabilities p [8]."""
    return torch.where(CODES == 1, p, 1 - p).prod(dim=1)


def lookup(table: Tensor, z: Tensor) -> Tensor:
    return table[(z @ (2.0 ** torch.arange(BITS - 1, -1, -1, dtype=z.dtype))).round().long()]


def multilinear(table: Tensor, z: Tensor) -> Tensor:
    """The extension of f that is linear in each bit by itself: sum_c f(c) prod_j z_j^c_j (1 - z_j)^(1 - c_j)."""
    return torch.stack([torch.where(CODES == 1, row, 1 - row).prod(dim=1) @ table for row in z])


def exact_gradient(logits: Tensor, values: Tensor) -> Tensor:
    return torch.autograd.grad(probability(torch.sigmoid(logits)) @ values, logits)[0]


def straight_through_gradient(logits: Tensor, function) -> Tensor:
    """Mean over all codes, each with its probability, of the gradient that passes through it."""
    codes = CODES.clone().requires_grad_()
    slopes = torch.autograd.grad(function(codes).sum(), codes)[0]
    p = torch.sigmoid(logits)
    return ((probability(p)[:, None] * slopes).sum(dim=0) * p * (1 - p)).detach()


def test_arm_is_unbiased_for_any_function(logits, table):
    many = logits.expand(SAMPLES, BITS)
    values = arm(many, lambda z: lookup(table, z), torch.Generator().manual_seed(0))
    (gradient,) = torch.autograd.grad(values.mean(), logits)
    exact = exact_gradient(logits, table)
    assert exact.abs().max() > 0.05, "there is something to find"
    torch.testing.assert_close(gradient, exact, rtol=0, atol=0.01)
    assert float(values.mean()) == pytest.approx(float(probability(torch.sigmoid(logits)) @ table), abs=0.02)


def test_arm_passes_gradients_to_what_the_function_is_made_of(logits, table):
    table.requires_grad_()
    many = logits.detach().expand(SAMPLES, BITS)
    arm(many, lambda z: lookup(table, z), torch.Generator().manual_seed(0)).mean().backward()
    torch.testing.assert_close(table.grad, probability(torch.sigmoid(logits)).detach(), rtol=0, atol=0.002)


def test_straight_through_is_unbiased_where_the_function_is_linear_in_each_bit(logits, table):
    through = straight_through_gradient(logits, lambda z: multilinear(table, z))
    torch.testing.assert_close(through, exact_gradient(logits, table))


def test_straight_through_is_biased_by_p_minus_a_half_where_bits_are_squared(logits):
    weights = torch.arange(1.0, BITS + 1, dtype=torch.float64)
    through = straight_through_gradient(logits, lambda z: z.square() @ weights)
    p = torch.sigmoid(logits).detach()
    exact = exact_gradient(logits, CODES.square() @ weights)
    torch.testing.assert_close(through - exact, (2 * p - 1) * weights * p * (1 - p))


def test_sampled_straight_through_gradients_have_the_enumerated_mean(logits):
    weights = torch.arange(1.0, BITS + 1, dtype=torch.float64)
    z = straight_through_bernoulli(torch.sigmoid(logits).expand(SAMPLES, BITS), torch.Generator().manual_seed(0))
    (gradient,) = torch.autograd.grad((z.square() @ weights).mean(), logits)
    torch.testing.assert_close(
        gradient, straight_through_gradient(logits, lambda z: z.square() @ weights), rtol=0, atol=0.02
    )


def test_signs_are_cut_as_bits_and_saturate():
    a = torch.tensor([-2.0, -0.5, 0.0, 0.5, 2.0], requires_grad=True)
    weights = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
    signs = straight_through_sign(a)
    assert signs.tolist() == [-1, -1, -1, 1, 1]
    assert torch.autograd.grad(signs @ weights, a)[0].tolist() == weights.tolist()
    saturated = straight_through_sign(a, saturation=1.0)
    assert saturated.tolist() == signs.tolist()
    assert torch.autograd.grad(saturated @ weights, a)[0].tolist() == [0, 2, 3, 4, 0]


@pytest.mark.parametrize("temperature", [0.67, 0.1])
def test_concrete_samples_are_above_one_half_as_often_as_bits_are_on(logits, temperature):
    z = binary_concrete(logits.expand(SAMPLES, BITS), temperature, torch.Generator().manual_seed(0)).detach()
    torch.testing.assert_close((z > 0.5).double().mean(dim=0), torch.sigmoid(logits).detach(), rtol=0, atol=0.005)


def test_concrete_samples_of_an_even_bit_are_symmetric_and_grow_binary_with_the_cold():
    even = torch.zeros(SAMPLES, 1)
    warm = binary_concrete(even, 0.67, torch.Generator().manual_seed(0))
    assert float(warm.mean()) == pytest.approx(0.5, abs=0.005)
    assert float(warm.quantile(0.1) + warm.quantile(0.9)) == pytest.approx(1.0, abs=0.01)
    cold = binary_concrete(even, 1e-4, torch.Generator().manual_seed(0))
    assert float(torch.minimum(cold, 1 - cold).max(dim=0).values) <= 0.5
    assert float((torch.minimum(cold, 1 - cold) < 1e-3).float().mean()) > 0.99


def mean_soft_bit_slope(a: float, temperature: float) -> float:
    """d/da E sigma((a + L) / tau), L standard logistic, by quadrature over its distribution function u."""

    def slope(u: float) -> float:
        soft = torch.sigmoid((a + torch.logit(torch.tensor(u, dtype=torch.float64))) / temperature)
        return float(soft * (1 - soft) / temperature)

    return quad(slope, 0, 1, limit=200, points=[1 / (1 + torch.tensor(a).exp().item())])[0]


@pytest.mark.parametrize("temperature", [1.0, 0.67, 0.2])
def test_concrete_gradients_are_those_of_the_mean_of_relaxed_samples(logits, temperature):
    z = binary_concrete(logits.expand(SAMPLES, BITS), temperature, torch.Generator().manual_seed(0))
    (gradient,) = torch.autograd.grad(z.mean(dim=0).sum(), logits)
    expected = [mean_soft_bit_slope(a, temperature) for a in logits.tolist()]
    assert gradient.tolist() == pytest.approx(expected, abs=0.005)


def test_hard_gumbel_samples_are_categorical():
    logits = torch.tensor([[0.5, -1.0, 0.0, 1.5]], dtype=torch.float64)
    z = gumbel_softmax(logits.expand(SAMPLES, 4), 0.5, torch.Generator().manual_seed(0))
    assert set(z.unique().tolist()) == {0.0, 1.0}
    assert (z.sum(dim=1) == 1).all()
    torch.testing.assert_close(z.mean(dim=0), torch.softmax(logits[0], dim=0), rtol=0, atol=0.005)


def test_soft_gumbel_samples_lie_in_the_simplex_and_have_the_gradient_of_hard_ones():
    logits = torch.randn(64, 5, 3, dtype=torch.float64).requires_grad_()
    weights = torch.randn(64, 5, 3, dtype=torch.float64)
    soft, hard = (gumbel_softmax(logits, 0.7, torch.Generator().manual_seed(4), hard=h) for h in (False, True))
    torch.testing.assert_close(soft.sum(dim=-1), torch.ones(64, 5, dtype=torch.float64))
    assert torch.equal(soft.argmax(dim=-1), hard.argmax(dim=-1))
    gradients = [torch.autograd.grad((z * weights).sum(), logits)[0] for z in (soft, hard)]
    torch.testing.assert_close(*gradients)


def test_gumbel_gradients_are_finite_differences_of_the_soft_sample_at_fixed_noise():
    logits = torch.randn(3, 2, dtype=torch.float64).requires_grad_()

    def sample(q):
        return gumbel_softmax(q, 0.4, torch.Generator().manual_seed(9), hard=False)

    assert torch.autograd.gradcheck(sample, logits)


@pytest.mark.parametrize("temperature", [1.0, 0.2])
def test_straight_through_gumbel_is_biased_as_the_mean_of_soft_samples_is(logits, table, temperature):
    """Of f linear in each bit, the gradient is the exact one times [d/da E soft z] / [d/da sigma(a)], bit by bit."""
    pairs = torch.stack([torch.zeros_like(logits), logits], dim=1).expand(SAMPLES // 4, BITS, 2)
    z = gumbel_softmax(pairs, temperature, torch.Generator().manual_seed(0))[..., 1]
    # f linear in each bit has the slope f(z with bit j on) - f(z with bit j off).
    with torch.no_grad():
        slopes = torch.empty_like(z)
        for j in range(BITS):
            on, off = z.clone(), z.clone()
            on[:, j], off[:, j] = 1, 0
            slopes[:, j] = lookup(table, on) - lookup(table, off)
    (gradient,) = torch.autograd.grad((z * slopes).sum(dim=1).mean(), logits)
    p = torch.sigmoid(logits).detach()
    factor = torch.tensor([mean_soft_bit_slope(a, temperature) for a in logits.tolist()]) / (p * (1 - p))
    torch.testing.assert_close(gradient, exact_gradient(logits, table) * factor, rtol=0, atol=0.02)
    assert ((factor - 1).abs() < (0.5 if temperature == 1.0 else 0.1)).all()


def test_samples_stay_finite_at_extreme_logits():
    logits = torch.tensor([[-1e4, -50.0, 50.0, 1e4]], requires_grad=True)
    for sample in (binary_concrete(logits, 0.1), gumbel_softmax(logits, 0.1), arm(logits, lambda z: z.sum(dim=1))):
        (gradient,) = torch.autograd.grad(sample.sum(), logits)
        assert torch.isfinite(sample).all()
        assert torch.isfinite(gradient).all()
