"""NASH's decoder sees bits; NASH-N's and NASH-DN's see them under noise, of one strength or one for each document."""

import pytest
import torch

from texthash.corpora.prepared.batches import batches
from texthash.corpora.prepared.inputs import Inputs
from texthash.methods.base import Progress
from texthash.methods.registry import build
from texthash.nn.priors import bernoulli_kl

BITS = 16


@pytest.fixture(scope="module")
def batch(small_corpus):
    return next(iter(batches(small_corpus.train, 8, Inputs(needs={"labels"}))))


def progress(seed=0):
    return Progress(step=1, total=1, generator=torch.Generator().manual_seed(seed))


def noise_of(method, batch, draws=2_000):
    """Standard deviation of what is added to each bit of each document, [B, bits]."""
    with torch.no_grad():
        hidden, z = method.encoder(batch), torch.zeros(len(batch), BITS)
        generator = progress()
        return torch.stack([method.noisy(z, hidden, generator) for _ in range(draws)]).std(dim=0)


def test_the_decoder_sees_bits_only_and_learns_through_them(small_corpus, batch):
    method, seen = build("nash", small_corpus.shape, BITS), []
    method.decoder.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    terms = method.loss(batch, progress())
    assert set(seen[0].unique().tolist()) == {0.0, 1.0}
    terms["reconstruction"].backward()
    assert method.logits.weight.grad.abs().sum() > 0


def test_the_gradient_of_a_bit_is_that_of_its_probability(small_corpus, batch):
    """Straight through with factor 1: dL/dlogit = dL/dz p (1 - p), for the very z that was drawn."""
    method = build("nash", small_corpus.shape, BITS).eval()
    logits = method.activations(batch)
    z, _ = method.sample(batch, progress())
    slopes = torch.randn(z.shape)
    found = torch.autograd.grad((z * slopes).sum(), method.logits.bias)[0]
    p = torch.sigmoid(logits).detach()
    torch.testing.assert_close(found, (slopes * p * (1 - p)).sum(dim=0))


def test_thresholds_are_drawn_anew_for_every_document_and_step_or_never(small_corpus, batch):
    method = build("nash", small_corpus.shape, BITS, {"dropout": 0.0})
    torch.nn.init.zeros_(method.logits.weight)  # all p = 1/2
    drawn = [method.sample(batch, progress(seed))[0] for seed in (0, 1)]
    assert not torch.equal(*drawn)
    assert not torch.equal(drawn[0][0], drawn[0][1])
    certain = build("nash", small_corpus.shape, BITS, {"dropout": 0.0, "stochastic": False})
    once, twice = (certain.sample(batch, progress(seed))[0] for seed in (0, 1))
    assert torch.equal(once, twice)
    assert torch.equal(once.detach() > 0.5, certain.binarizer(certain.activations(batch)))


@pytest.mark.parametrize("name", ["nash", "nash_n", "nash_dn", "nash_dn_s"])
def test_bits_cost_their_divergence_from_fair_coins_in_full(name, small_corpus, batch):
    """Summed over bits and averaged over documents, with weight 1, beside words that are summed over a document."""
    method = build(name, small_corpus.shape, BITS).eval()
    terms = method.loss(batch, progress())
    torch.testing.assert_close(terms["kl"], bernoulli_kl(method.activations(batch)).mean())


def test_noise_of_one_strength_is_drawn(small_corpus, batch):
    """A re-implementation adds a deterministic shift instead."""
    method = build("nash_n", small_corpus.shape, BITS, {"noise": 0.3}).eval()
    torch.testing.assert_close(noise_of(method, batch), torch.full((len(batch), BITS), 0.3), rtol=0.1, atol=0)


def test_noise_that_depends_on_the_document_differs_between_two_and_is_learned(small_corpus, batch):
    method = build("nash_dn", small_corpus.shape, BITS, {"noise": 0.3}).eval()
    torch.nn.init.normal_(method.log_variance.weight, std=2.0)
    found = noise_of(method, batch)
    with torch.no_grad():
        expected = torch.exp(0.5 * method.log_variance(method.encoder(batch)))
    torch.testing.assert_close(found, expected, rtol=0.1, atol=0)
    assert float((found[0] / found[1]).log().abs().mean()) > 0.1
    method.loss(batch, progress())["reconstruction"].backward()
    assert method.log_variance.weight.grad.abs().sum() > 0


def test_noise_starts_at_the_strength_it_was_asked_for(small_corpus, batch):
    method = build("nash_dn", small_corpus.shape, BITS, {"noise": 0.3})
    assert torch.exp(0.5 * method.log_variance.bias).tolist() == pytest.approx([0.3] * BITS)


def test_labels_are_told_from_noisy_codes(small_corpus, batch):
    method, told = build("nash_dn_s", small_corpus.shape, BITS).eval(), []
    method.labels.map.register_forward_pre_hook(lambda module, inputs: told.append(inputs[0].detach()))
    method.loss(batch, progress())["labels"].backward()
    assert not set(told[0].unique().tolist()) <= {0.0, 1.0}
    assert method.logits.weight.grad.abs().sum() > 0
