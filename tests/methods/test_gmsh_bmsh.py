"""GMSH and BMSH: of one component that never learned they are VDSH and NASH; the components part in training."""

import pytest
import torch

from texthash.config import TrainingConfig
from texthash.corpora.prepared.batches import batches
from texthash.methods.base import Progress
from texthash.methods.registry import build
from texthash.training.loop import fit

BITS = 16


@pytest.fixture(scope="module")
def batch(small_corpus):
    return next(iter(batches(small_corpus.train, 128)))


def progress() -> Progress:
    return Progress(step=1, total=1, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("mixture", "plain"), [("bmsh", "nash"), ("gmsh", "vdsh")])
def test_one_standard_component_has_the_divergence_of_the_plain_method(mixture, plain, small_corpus, batch):
    one = build(mixture, small_corpus.shape, BITS, {"components": 1, "prior_std": 0.0}).eval()
    other = build(plain, small_corpus.shape, BITS).eval()
    one.load_state_dict(other.state_dict(), strict=False)
    torch.testing.assert_close(one.sample(batch, progress())[1], other.sample(batch, progress())[1])


def test_the_noise_of_bmsh_has_the_standard_deviation_exp_of_half_its_logarithm(small_corpus, batch):
    """Re-implementations take exp(a) / 2 for it."""
    method = build("bmsh", small_corpus.shape, BITS, {"noise": 0.7, "stochastic": False}).eval()
    torch.nn.init.zeros_(method.log_variance[-1].weight)
    with torch.no_grad():
        seen = torch.cat([method.sample(batch, progress())[0] for _ in range(4)])
        bits = method.binarizer(method.activations(batch)).float().repeat(4, 1)
    assert float((seen - bits).std()) == pytest.approx(0.7, rel=0.03)


@pytest.mark.parametrize("name", ["bmsh", "gmsh"])
def test_components_part_in_training_and_each_document_falls_to_few(name, small_corpus, batch):
    method = build(name, small_corpus.shape, BITS, {"components": 8})
    fit(method, small_corpus.train, TrainingConfig(epochs=15, batch_size=64))
    with torch.no_grad():
        q = torch.softmax(method.responsibilities(batch), dim=1)
    used = q.mean(dim=0)
    assert float(torch.exp(-(used * used.log()).sum())) > 2, "components stayed merged, or all but one died"
    assert float(q.max(dim=1).values.mean()) > 2 / 8, "documents are spread evenly over the components"
