"""What makes Doc2hash this method: pairs that are one-hot, a code that is their argmax, a divergence of each bit."""

import pytest
import torch

from texthash.corpora.prepared.batches import batches
from texthash.corpora.prepared.inputs import Inputs
from texthash.methods.base import Progress
from texthash.methods.registry import build
from texthash.models.encoding import activations_of
from texthash.nn.estimators import gumbel_softmax

BITS = 16


@pytest.fixture(params=["doc2hash", "doc2hash_s"])
def method(request, small_corpus):
    return build(request.param, small_corpus.shape, BITS, {"dropout": 0.0})


@pytest.fixture
def batch(small_corpus):
    return next(iter(batches(small_corpus.train, 64, Inputs(needs={"labels"}))))


def progress(step=10):
    return Progress(step=step, total=10, generator=torch.Generator().manual_seed(0))


def test_pairs_are_one_hot_and_each_value_of_a_bit_has_a_word_embedding(method, batch, small_corpus):
    z, _ = method.sample(batch, progress())
    pairs = z.detach().unflatten(1, (BITS, 2))
    assert set(pairs.unique().tolist()) == {0.0, 1.0}
    assert (pairs.sum(dim=-1) == 1).all()
    assert method.decoder.weight.shape == (2 * BITS, small_corpus.shape.vocabulary)


def test_the_code_is_the_argmax_without_noise(method, batch):
    method.eval()
    bits = method.binarizer(method.activations(batch))
    assert torch.equal(bits, method.pairs(batch).argmax(dim=-1) == 1)


def test_gradients_are_those_of_the_tempered_softmax_at_the_final_temperature(method, batch):
    z, _ = method.sample(batch, progress())
    q = method.pairs(batch)
    soft = gumbel_softmax(q, method.end_temperature, torch.Generator().manual_seed(0), hard=False).flatten(1)
    weights = torch.randn(z.shape)
    expected = torch.autograd.grad((soft * weights).sum(), method.logits.weight)[0]
    torch.testing.assert_close(torch.autograd.grad((z * weights).sum(), method.logits.weight)[0], expected)


def test_the_divergence_is_of_each_bit_and_never_below_zero(method, batch):
    """A softmax over all 2m logits at once, as in the authors' code, gives values down to log 2 - log 2m."""
    torch.nn.init.normal_(method.logits.weight, std=1.0)
    _, kl = method.sample(batch, progress())
    pi = torch.softmax(method.pairs(batch), dim=-1)
    torch.testing.assert_close(kl, (pi * torch.log(2 * pi)).sum(dim=(1, 2)))
    assert (kl >= 0).all()
    method.flat_divergence = True
    _, coded = method.sample(batch, progress())
    flat = torch.softmax(method.pairs(batch).flatten(1), dim=1)
    torch.testing.assert_close(coded, (flat * torch.log(2 * flat)).sum(dim=1))
    assert (coded < 0).any()


def test_dropout_and_noise_stay_out_of_encoding(small_corpus):
    method = build("doc2hash", small_corpus.shape, BITS, {"dropout": 0.5}).train()
    one, two = (activations_of(method, batches(small_corpus.validation, 64)) for _ in range(2))
    assert torch.equal(one, two)


def test_labels_move_the_code(small_corpus, batch):
    method = build("doc2hash_s", small_corpus.shape, BITS)
    method.loss(batch, progress())["labels"].backward()
    assert method.logits.weight.grad.abs().sum() > 0
