"""Restricted Boltzmann machines, against enumeration of the hidden units and against the distributions they name."""

import pytest
import torch

from texthash.nn.boltzmann import RBM, CountedWords, CountRBM, frequent_words


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def words(rows):
    """Bags from dense counts [B, V]."""
    document, indices = rows.nonzero(as_tuple=True)
    per_document = (rows > 0).sum(dim=1)
    return CountedWords(
        indices, per_document.cumsum(0) - per_document, rows[document, indices], document, rows.sum(dim=1)
    )


def all_bits(count):
    return torch.tensor([[float(i >> j & 1) for j in range(count)] for i in range(2**count)])


def spread(module, std=0.7):
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=std, generator=seeded(parameter.numel()))
    return module


@pytest.mark.parametrize("replicated", [True, False])
def test_free_energy_of_counts_is_the_sum_over_hidden_states(replicated):
    rbm = spread(CountRBM(5, 8, replicated))
    v = torch.tensor([[2.0, 0, 1, 0, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 3]])
    h = all_bits(8)
    scale = v.sum(dim=1, keepdim=True) if replicated else 1.0
    minus_energy = v @ rbm.up.weight @ h.T + (scale * rbm.up.bias) @ h.T + (v @ rbm.visible_bias)[:, None]
    torch.testing.assert_close(rbm.free_energy(words(v)), -torch.logsumexp(minus_energy, dim=1))
    posterior = torch.softmax(minus_energy, dim=1) @ h
    torch.testing.assert_close(torch.sigmoid(rbm.hidden_input(words(v))), posterior)


@pytest.mark.parametrize("gaussian", [False, True])
def test_free_energy_of_binary_units(gaussian):
    rbm = spread(RBM(6, 8, gaussian))
    v = all_bits(6)
    if not gaussian:
        h = all_bits(8)
        minus_energy = v @ rbm.weight @ h.T + h @ rbm.hidden_bias + (v @ rbm.visible_bias)[:, None]
        expected = -torch.logsumexp(minus_energy, dim=1)
    else:  # the integral of exp(- h^2 / 2 + h x) / sqrt(2 pi) is exp(x^2 / 2)
        grid = torch.linspace(-25, 25, 20_001, dtype=torch.float64)
        x = (v @ rbm.weight + rbm.hidden_bias).double()[..., None]
        density = torch.exp(-grid.square() / 2 + grid * x) / (2 * torch.pi) ** 0.5
        expected = (-(v @ rbm.visible_bias) - torch.log(torch.trapezoid(density, grid)).sum(dim=1)).float()
    torch.testing.assert_close(rbm.free_energy(v), expected, rtol=1e-4, atol=1e-4)


def test_the_gradient_is_that_of_contrastive_divergence():
    """dW = - <v h>_data + <v' h>_model, by hand."""
    rbm = spread(RBM(6, 4))
    v = torch.rand(10, 6, generator=seeded())
    rbm.contrastive_loss(v, seeded(3)).backward()
    with torch.no_grad():
        other = rbm.reconstruct(v, seeded(3))
        h, other_h = torch.sigmoid(rbm.hidden_input(v)), torch.sigmoid(rbm.hidden_input(other))
        expected = -(v.T @ h - other.T @ other_h) / 10
    torch.testing.assert_close(rbm.weight.grad, expected)


def test_reconstructed_documents_keep_their_length_and_follow_the_softmax():
    rbm = spread(CountRBM(6, 3))
    counts = torch.tensor([[0.0, 0, 0, 0, 0, 0], [30_000, 0, 0, 0, 0, 0], [0, 2, 0, 1, 0, 0]])
    with torch.no_grad():
        rbm.up.bias[:] = torch.tensor([100.0, -100.0, 100.0])  # h is certain
        rbm.up.weight[0] = torch.tensor([1.0, -1.0, 1.0])
    again = rbm.reconstruct(words(counts), seeded())
    assert torch.bincount(again.document, minlength=3).tolist() == [0, 30_000, 3]
    assert again.lengths.tolist() == [0, 30_000, 3]
    drawn = torch.bincount(again.indices[again.document == 1], minlength=6) / 30_000
    expected = torch.softmax(rbm.word_logits(torch.tensor([[1.0, 0, 1]])), dim=1)[0]
    torch.testing.assert_close(drawn, expected, atol=0.012, rtol=0)


def test_the_length_scales_the_hidden_bias_of_a_replicated_softmax_alone():
    counts = torch.tensor([[1.0, 2, 0, 0]])
    for replicated in (True, False):
        rbm = spread(CountRBM(4, 3, replicated))
        once, twice = rbm.hidden_input(words(counts)), rbm.hidden_input(words(2 * counts))
        expected = 2 * once if replicated else 2 * once - rbm.up.bias
        torch.testing.assert_close(twice, expected)


def test_learning_lowers_the_error_on_three_topics():
    topic = torch.randint(0, 3, (300,), generator=seeded())
    counts = torch.zeros(300, 30)
    drawn = topic[:, None] * 10 + torch.randint(0, 10, (300, 20), generator=seeded(1))
    counts.scatter_add_(1, drawn, torch.ones(300, 20))
    torch.manual_seed(0)
    rbm, v = CountRBM(30, 8), words(counts)
    optimizer = torch.optim.Adam(rbm.parameters(), lr=0.02)

    def nats():
        with torch.no_grad():
            log_p = torch.log_softmax(rbm.word_logits(torch.sigmoid(rbm.hidden_input(v))), dim=1)
            return float(-(counts * log_p).sum() / counts.sum())

    assert nats() == pytest.approx(3.40, abs=0.05)  # log 30
    generator = seeded(2)
    for _ in range(150):
        optimizer.zero_grad()
        rbm.contrastive_loss(v, generator).backward()
        optimizer.step()
    assert nats() < 2.6  # log 10 is 2.30


def test_only_the_chosen_words_are_read():
    bag = words(torch.tensor([[1.0, 0, 2, 0], [0, 3, 0, 0], [0, 0, 1, 1]]))
    v = frequent_words(bag, torch.tensor([-1, -1, 1, 0]), bag.values)
    assert v.indices.tolist() == [1, 1, 0]
    assert v.document.tolist() == [0, 2, 2]
    assert v.offsets.tolist() == [0, 1, 1]
    assert v.lengths.tolist() == [2.0, 0.0, 2.0]
