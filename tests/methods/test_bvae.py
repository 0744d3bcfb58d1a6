"""What makes B-VAE this method: relaxed samples that pass gradients, and probabilities that are not biased by them."""

import math

import pytest
import torch

from texthash.corpora.prepared.batches import batches
from texthash.methods.base import Progress
from texthash.methods.registry import build


@pytest.fixture
def method(small_corpus):
    return build("bvae", small_corpus.shape, 16)


@pytest.fixture
def batch(small_corpus):
    return next(iter(batches(small_corpus.train, 64)))


def seen_by_the_decoder(method, batch):
    seen = []
    hook = method.decoder.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    terms = method.loss(batch, Progress(step=0, total=10, generator=torch.Generator().manual_seed(0)))
    hook.remove()
    return seen[0], terms


def test_the_decoder_sees_relaxed_codes_and_gradients_reach_the_logits_through_them(method, batch):
    z, terms = seen_by_the_decoder(method, batch)
    assert ((z > 0) & (z < 1)).all()
    terms["reconstruction"].backward()
    assert method.logits.weight.grad.abs().sum() > 0


def test_the_sample_of_an_undecided_bit_is_as_often_on_as_off(method, batch):
    """Logistic noise, the difference of two Gumbel variables: a single one would turn 63 % of these bits on."""
    torch.nn.init.zeros_(method.logits.weight)
    z, terms = seen_by_the_decoder(method, batch)
    assert float((z > 0.5).float().mean()) == pytest.approx(0.5, abs=0.05)
    assert float(z.mean().detach()) == pytest.approx(0.5, abs=0.03)
    assert float(terms["kl"].detach()) == pytest.approx(0.0, abs=1e-6)


def test_a_decided_code_costs_its_bits(method, batch):
    torch.nn.init.zeros_(method.logits.weight)
    torch.nn.init.constant_(method.logits.bias, 100.0)
    assert float(seen_by_the_decoder(method, batch)[1]["kl"].detach()) == pytest.approx(16 * math.log(2), rel=1e-5)


def test_the_colder_the_more_binary(small_corpus, batch):
    def edge(temperature):
        z = seen_by_the_decoder(build("bvae", small_corpus.shape, 16, {"temperature": temperature}), batch)[0]
        return float(torch.minimum(z, 1 - z).mean().detach())

    assert edge(0.001) < 0.005 < edge(0.1) < edge(0.67)
