"""Weights of words in the reconstruction of methods that decode the words of a document."""

import pytest
import torch

from tests.methods.test_methods import ITERATIVE
from texthash.corpora.prepared.batches import batches
from texthash.methods.base import Progress
from texthash.methods.generative import WeighsWords
from texthash.methods.registry import build, get_method, hyperparameters
from texthash.nn.bags import Words

WEIGHING = [
    name
    for name in ITERATIVE
    if issubclass(get_method(name), WeighsWords) and "dense" not in get_method(name).card.inputs_needed
]


def test_each_word_counts_by_the_weight_that_is_chosen(small_corpus):
    bag = Words(torch.tensor([0, 2, 1]), torch.tensor([0, 2]), torch.tensor([0.6, 0.8, 0.5]), torch.tensor([0, 0, 1]))
    logits = torch.randn(2, small_corpus.shape.vocabulary, generator=torch.Generator().manual_seed(0))
    log = torch.log_softmax(logits, dim=1)
    expected = {
        "once": [log[0, 0] + log[0, 2], log[1, 1]],
        "input": [0.6 * log[0, 0] + 0.8 * log[0, 2], 0.5 * log[1, 1]],
        "share": [(0.6 * log[0, 0] + 0.8 * log[0, 2]) / 1.4, log[1, 1]],
    }
    for weights, own in expected.items():
        method = build("mash", small_corpus.shape, 16, {"hidden": 8, "word_weights": weights})
        torch.testing.assert_close(method.word_likelihood(logits, bag), torch.stack(own))


@pytest.mark.parametrize("name", WEIGHING)
def test_the_weights_reach_the_loss(name, small_corpus):
    """The reconstruction falls by the mean number of distinct words of a document, about."""
    narrow = {"hidden": 8} if "hidden" in hyperparameters(name) else {}
    found = {}
    for weights in ("once", "share"):
        method = build(name, small_corpus.shape, 16, {**narrow, "word_weights": weights}, seed=1)
        method.setup(small_corpus.train)
        batch = next(iter(batches(small_corpus.train, 8, method.inputs)))
        progress = Progress(step=1, total=100, generator=torch.Generator().manual_seed(0))
        found[weights] = float(method.loss(batch, progress)["reconstruction"].detach())
    assert found["once"] > 5 * found["share"]
