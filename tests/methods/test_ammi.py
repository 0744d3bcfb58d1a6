"""AMMI: exact entropies instead of samples and a decoder; the prior follows, the posterior flees."""

import pytest
import torch

from texthash.corpora.prepared.batches import batches
from texthash.errors import UsageError
from texthash.methods.base import Progress
from texthash.methods.registry import build

BITS = 16


@pytest.fixture
def batch(small_corpus):
    return next(iter(batches(small_corpus.train, 64)))


def test_it_has_no_decoder_and_draws_nothing(small_corpus, batch):
    method = build("ammi", small_corpus.shape, BITS)
    assert {name.split(".")[0] for name, _ in method.named_parameters()} == {"posterior", "prior"}
    state = torch.random.get_rng_state()
    one, two = method.loss(batch, Progress(0, 10)), method.loss(batch, Progress(0, 10))
    assert one == two
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize(("layers", "order"), [(0, 0), (1, 1)])
def test_a_step_lets_the_prior_follow_and_raises_the_objective(small_corpus, batch, layers, order):
    method = build("ammi", small_corpus.shape, BITS, {"layers": layers, "posterior_order": order})
    progress = Progress(0, 10)
    optimizers = method.optimizers()
    before = method.loss(batch, progress)
    at_the_step = method.step(batch, progress, optimizers)
    after = method.loss(batch, progress)
    assert float(at_the_step["entropy"]) > float(before["entropy"]), "a lower cross entropy with the prior"
    assert sum(map(float, after.values())) < sum(map(float, at_the_step.values()))
    assert method.activations(batch).shape == (len(batch), BITS)


def test_independent_bits_are_cut_at_one_half(small_corpus, batch):
    method = build("ammi", small_corpus.shape, BITS)
    torch.testing.assert_close(method.activations(batch), method.posterior(batch))


def test_a_prior_that_looks_back_less_far_than_the_posterior_is_refused(small_corpus):
    with pytest.raises(UsageError, match="prior_order=1 is below posterior_order=2"):
        build("ammi", small_corpus.shape, BITS, {"prior_order": 1, "posterior_order": 2})
