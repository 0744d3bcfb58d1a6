"""SNUH: a Gaussian autoencoder whose codes are drawn together along the trees of a neighbour graph."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from texthash.config import TrainingConfig
from texthash.corpora.prepared.batches import batches
from texthash.methods.base import Progress
from texthash.methods.registry import build
from texthash.nn.priors import gaussian_kl
from texthash.nn.reconstruction import word_log_likelihood
from texthash.nn.trees import TreeEdges
from texthash.training.loop import fit

BITS = 16


def at(seed=0):
    return Progress(step=1, total=2, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def method(small_corpus):
    method = build("snuh", small_corpus.shape, BITS, {"kl_weight": 0.5, "trees": 3, "neighbours": 5})
    method.setup(small_corpus.train)
    return method


@pytest.fixture
def batch(method, small_corpus):
    return next(iter(batches(small_corpus.train, 8, method.inputs)))


def test_without_correlations_it_is_a_plain_gaussian_autoencoder(method, batch):
    for parameter in method.edge.parameters():
        torch.nn.init.zeros_(parameter)  # gamma = 0
    method.prior_correlation = 0.0  # tau = 0
    terms = method.loss(batch, at())
    assert float(terms["edges"].detach()) == pytest.approx(0, abs=1e-6)
    mean, std = method.posterior(batch)
    generator = at().generator
    torch.rand((8,), generator=generator)  # the edges
    z = mean + std * torch.randn(mean.shape, generator=generator)
    torch.testing.assert_close(terms["reconstruction"], -word_log_likelihood(method.decoder(z), batch).mean())
    torch.testing.assert_close(terms["kl"], 0.5 * gaussian_kl(mean, 2 * std.log()).mean())


def test_the_edge_term_of_one_tree_by_hand(method, batch):
    """All logits 0: mu = 1/2, s = log 2, gamma = 0 for all, and every document has one edge, of weight 1."""
    for parameter in (*method.encoder.parameters(), *method.edge.parameters()):
        torch.nn.init.zeros_(parameter)
    documents = len(method.documents)
    pairs = np.arange(documents) ^ 1
    method.tree_edges = TreeEdges(np.arange(documents + 1), np.minimum(pairs, documents - 1), np.ones(documents))
    s2, tau = np.log(2) ** 2, 0.99
    squares, rest = 0.5 + 2 * s2, 1 - tau**2
    bit = 0.5 * ((squares - 2 * tau * 0.25) / rest - squares + np.log(rest))
    expected = 0.5 * 0.5 * BITS * bit
    assert float(method.loss(batch, at())["edges"].detach()) == pytest.approx(expected, rel=1e-4)


def test_the_correlation_of_an_edge_is_that_of_both_directions(method, batch):
    both = method.edge(batch)
    i, j = both[0], both[1]
    weights = method.edge.weight.detach()
    dense = torch.zeros(8, len(weights))
    dense[batch.document, batch.indices] = batch.values
    torch.testing.assert_close(i + j, (dense[0] + dense[1]) @ weights + 2 * method.edge.bias)


def test_the_edges_draw_the_codes_of_neighbours_together(small_corpus):
    """Share of bits in which a document and its nearest neighbour agree, against training without the divergence."""
    near = small_corpus.train.neighbours(1)[0][:, 0]
    alike = []
    for weight in (0.0, 0.3):
        params = {"kl_weight": weight, "learning_rate": 1e-2}
        method = fit(
            build("snuh", small_corpus.shape, BITS, params), small_corpus.train, TrainingConfig(epochs=8)
        ).method
        whole = next(iter(batches(small_corpus.train, len(small_corpus.train))))
        bits = method.binarizer(method.activations(whole))
        alike.append(float((bits == bits[near]).float().mean()))
    assert alike[1] > alike[0] + 0.02


def test_isolated_documents_have_no_edge(method, small_corpus):
    near, similarities = small_corpus.train.neighbours(5)
    nothing = np.zeros_like(similarities)

    class Alone:
        def neighbours(self, k, graph):
            return near, nothing

    method.setup(Alone())
    method.documents = small_corpus.train
    batch = next(iter(batches(small_corpus.train, 8, method.inputs)))
    others, _ = method.tree_edges.draw(batch.rows)
    assert torch.equal(others, batch.rows)
    terms = method.loss(replace(batch), at())
    assert float(terms["edges"].detach()) == 0
    assert all(torch.isfinite(term) for term in terms.values())


def test_bits_are_cut_at_one_half_of_mu(method, batch):
    mean, _ = method.posterior(batch)
    assert torch.equal(method.binarizer(method.activations(batch)), mean > 0.5)


def test_trees_are_those_of_every_process(method, small_corpus):
    again = build("snuh", small_corpus.shape, BITS, {"trees": 3, "neighbours": 5})
    again.setup(small_corpus.train)
    for one, two in zip(vars(method.tree_edges).values(), vars(again.tree_edges).values(), strict=True):
        assert np.array_equal(one, two)
