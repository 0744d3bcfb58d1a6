"""CorrSH: bits that are correlated given the document, and the schedules of the code by share of training."""

import pytest
import torch

from texthash.corpora.prepared.batches import batches
from texthash.methods.base import Progress
from texthash.methods.registry import build
from texthash.nn.priors import bernoulli_kl

BITS = 16


@pytest.fixture
def method(small_corpus):
    return build("corrsh", small_corpus.shape, BITS, {"kl_weight": 0.5, "noise": 0.0, "final_noise": 0.0}).eval()


@pytest.fixture(scope="module")
def batch(small_corpus):
    return next(iter(batches(small_corpus.train, 4)))


def covariance(method, batch) -> torch.Tensor:
    """Of the bits of the first document over many samples, [bits, bits], without the variances."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        r = method.posterior_logits(batch, 100_000, generator)[0]
    return torch.cov(torch.bernoulli(torch.sigmoid(r), generator=generator).T).fill_diagonal_(0).abs()


def test_bits_are_correlated_given_the_document_where_u_is_not_zero(method, batch):
    torch.nn.init.zeros_(method.factors.weight)
    assert float(covariance(method, batch).max()) < 0.004, (
        "no more than sampling leaves: its standard deviation is .0008"
    )
    torch.nn.init.constant_(method.factors.bias, 5.0)  # U = 1 / k: all bits vary together in every direction
    off_diagonal = covariance(method, batch)[~torch.eye(BITS, dtype=torch.bool)]
    assert float(off_diagonal.min()) > 0.002
    assert float(off_diagonal.mean()) > 0.004


def test_of_one_certain_component_the_divergence_is_that_of_independent_bits(small_corpus, method, batch):
    """M = 1 and d = U = 0, so that r = mu: the plain conditional bound."""
    one = build("corrsh", small_corpus.shape, BITS, {"samples": 1, "kl_weight": 1.0, "kl_ramp": 0.0}).eval()
    for layer in (one.std, one.factors):
        torch.nn.init.zeros_(layer.weight)
    torch.nn.init.constant_(one.std.bias, -40.0)
    torch.nn.init.normal_(one.mean.weight, generator=torch.Generator().manual_seed(0))
    progress = Progress(step=0, total=1, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = torch.stack([one.loss(batch, progress)["kl"] for _ in range(2_000)])
        exact = bernoulli_kl(one.activations(batch)).mean()
    assert float(found.mean()) == pytest.approx(float(exact), abs=5 * float(found.std()) / len(found) ** 0.5)


def test_the_divergence_weighs_more_and_more(method, batch):
    def term(step: int) -> torch.Tensor:
        progress = Progress(step=step, total=10, generator=torch.Generator().manual_seed(0))
        return method.loss(batch, progress)["kl"].detach()

    assert float(term(0)) == 0
    torch.testing.assert_close(term(5), term(10) / 2)


def test_a_batch_of_one_document_is_learned_from(small_corpus, method):
    """The authors' code loses a dimension there."""
    alone = next(iter(batches(small_corpus.train, 1)))
    terms = method.loss(alone, Progress(step=0, total=1))
    assert all(term.shape == () and torch.isfinite(term) for term in terms.values())
