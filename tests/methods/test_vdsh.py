"""VDSH is an autoencoder under strong Gaussian noise, VDSH-S tells labels, VDSH-SP has a part that they do not see."""

import math

import pytest
import torch

from texthash.corpora.prepared.batches import batches
from texthash.corpora.prepared.inputs import Inputs
from texthash.methods.base import Progress
from texthash.methods.registry import build

BITS = 16
SUPERVISED = ["vdsh_s", "vdsh_sp"]


@pytest.fixture(scope="module")
def batch(small_corpus):
    return next(iter(batches(small_corpus.train, 32, Inputs(needs={"labels"}))))


def progress(step=10):
    return Progress(step=step, total=10, generator=torch.Generator().manual_seed(0))


def seen_by(module):
    seen = []
    module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    return seen


def test_without_divergence_it_is_a_plain_autoencoder_with_noise_of_deviation_one_and_more(small_corpus, batch):
    """Written out with dense matrices; each distinct word counts once, whatever its weight."""
    method = build("vdsh", small_corpus.shape, BITS, {"kl_weight": 0.0}).eval()
    terms = method.loss(batch, progress())
    assert float(terms["kl"].detach()) == 0
    with torch.no_grad():
        x = torch.zeros(len(batch), small_corpus.shape.vocabulary)
        x[batch.document, batch.indices] = batch.values
        first, second = method.encoder.first, method.encoder.rest[0]
        t = torch.relu(second(torch.relu(x @ first.weight + first.bias)))
        log_variance = torch.sigmoid(method.log_variance(t))
        noise = torch.randn(len(batch), BITS, generator=torch.Generator().manual_seed(0))
        z = method.mean(t) + torch.exp(log_variance / 2) * noise
        log_p = torch.log_softmax(z @ method.decoder.weight + method.decoder.bias, dim=1)
    assert 1 < float(log_variance.exp().min()) < float(log_variance.exp().max()) < math.e
    torch.testing.assert_close(terms["reconstruction"].detach(), -(log_p * (x > 0)).sum(dim=1).mean())


def test_the_variance_is_free_where_it_is_asked_to_be(small_corpus, batch):
    method = build("vdsh", small_corpus.shape, BITS, {"bounded_variance": False})
    torch.nn.init.constant_(method.log_variance.bias, -5.0)
    assert float(method.posterior(batch)[1].detach().max()) < -3


@pytest.mark.parametrize("name", SUPERVISED)
def test_labels_are_told_from_the_sampled_code_and_reach_its_encoder(name, small_corpus, batch):
    method = build(name, small_corpus.shape, BITS, {"label_weight": 2.0, "label_ramp": 0.0}).eval()
    told = seen_by(method.labels.map)
    terms = method.loss(batch, progress())
    with torch.no_grad():
        z, _ = method.sample(batch, progress())
        expected = torch.nn.functional.cross_entropy(method.labels.map(z), batch.labels.argmax(dim=1))
    assert torch.equal(told[0], z), "a sample, not the mean"
    torch.testing.assert_close(terms["labels"].detach(), 2 * expected)
    terms["labels"].backward()
    assert method.mean.weight.grad.abs().sum() > 0


def test_the_decoder_sees_what_is_private_too_and_labels_and_code_do_not(small_corpus, batch):
    method = build("vdsh_sp", small_corpus.shape, BITS).eval()
    seen = seen_by(method.decoder)
    terms = method.loss(batch, progress())
    shared, divergence = method.sample(batch, progress())
    generator = torch.Generator().manual_seed(0)
    torch.randn(shared.shape, generator=generator)
    with torch.no_grad():
        t = method.private_encoder(batch)
        mean, log_variance = method.private_mean(t), torch.sigmoid(method.private_log_variance(t))
        private = mean + torch.exp(log_variance / 2) * torch.randn(shared.shape, generator=generator)
        own = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(dim=1)
    torch.testing.assert_close(seen[0], shared.detach() + private)
    torch.testing.assert_close(terms["kl"].detach(), (divergence.detach() + own).mean())
    (terms["labels"] + method.activations(batch).sum()).backward()
    assert all(p.grad is None for key, p in method.named_parameters() if key.startswith("private"))


def test_the_weight_of_the_divergence_rises_to_its_end(small_corpus, batch):
    method = build("vdsh", small_corpus.shape, BITS, {"kl_weight": 0.8, "kl_ramp": 0.5}).eval()
    weights = [float(method.loss(batch, progress(step))["kl"].detach()) for step in (0, 2, 5, 10)]
    whole = float(method.sample(batch, progress())[1].detach().mean())
    assert weights == pytest.approx([0.0, 0.32 * whole, 0.8 * whole, 0.8 * whole], rel=1e-5)
