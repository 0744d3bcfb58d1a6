"""PairRec: a document's words from its neighbour's code, never a neighbour's words from the document's."""

from dataclasses import replace

import pytest
import torch

from texthash.corpora.prepared.batches import batches
from texthash.methods.base import Progress
from texthash.methods.registry import build
from texthash.nn.reconstruction import word_log_likelihood

BITS = 16


def at(step=1, seed=0):
    return Progress(step=step, total=2, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def method(small_corpus):
    method = build("pairrec", small_corpus.shape, BITS, {"hidden": 32, "neighbours": 3}).eval()
    method.setup(small_corpus.train)
    return method


@pytest.fixture
def batch(method, small_corpus):
    return next(iter(batches(small_corpus.train, 8, method.inputs)))


@pytest.fixture
def one_half(monkeypatch):
    """Thresholds u = 1/2, so that codes are those of the documents; the first neighbour of one is drawn."""
    monkeypatch.setattr(torch, "rand", lambda shape, **options: torch.full(shape, 0.5, dtype=options.get("dtype")))


def alone(batch):
    return replace(batch, neighbour_weights=torch.zeros_like(batch.neighbour_weights))


def test_of_a_document_that_is_its_own_neighbour_both_terms_are_one(method, batch, one_half):
    terms = method.loss(alone(batch), at())
    torch.testing.assert_close(terms["pair"], terms["reconstruction"])
    method.pair_weight = 0.5
    torch.testing.assert_close(method.loss(alone(batch), at())["pair"], 0.5 * terms["pair"])


def test_without_pairs_it_is_nash(method, batch, one_half, small_corpus):
    method.pair_weight = 0.0
    nash = build("nash", small_corpus.shape, BITS, {"hidden": 32, "kl_weight": 0.3, "weighting": "sublinear_tfidf"})
    state = {name: value for name, value in method.state_dict().items() if name != "decoder.importance"}
    nash.eval().load_state_dict(state)
    ours, theirs = method.loss(batch, at()), nash.loss(batch, at())
    assert float(ours.pop("pair").detach()) == 0
    for name, term in theirs.items():
        torch.testing.assert_close(ours[name], term)
    torch.testing.assert_close(method.activations(batch), nash.activations(batch))


def test_the_pair_term_predicts_the_documents_words_from_its_neighbours_code(method, batch, one_half):
    """Its value, and the gradient of the decoder, against the plain formula in that direction."""
    nearest = replace(batch, neighbour_weights=(torch.arange(3) == 0).float().expand(8, 3))
    neighbours = method.bags(batch.neighbours[:, 0])
    codes = (method.activations(neighbours) > 0).float().detach()
    expected = -word_log_likelihood(method.decoder(codes), batch).mean()
    other_way = -word_log_likelihood(method.decoder((method.activations(batch) > 0).float()), neighbours).mean()
    pair = method.loss(nearest, at())["pair"]
    torch.testing.assert_close(pair, expected)
    assert abs(float(pair.detach()) - float(other_way.detach())) > 1e-3
    weight = method.decoder.weight
    found, exact = (torch.autograd.grad(value, weight, retain_graph=True)[0] for value in (pair, expected))
    torch.testing.assert_close(found, exact)


def test_the_encoder_learns_through_the_neighbour(method, batch):
    nearest = replace(batch, neighbour_weights=(torch.arange(3) == 0).float().expand(8, 3))
    method.zero_grad()
    method.loss(nearest, at())["pair"].backward()
    words = set(method.bags(batch.neighbours[:, 0]).indices.tolist())
    moved = set(method.encoder.first.weight.grad.abs().sum(dim=1).nonzero()[:, 0].tolist())
    assert moved
    assert moved <= words


def test_noise_falls_by_steps(small_corpus):
    method = build("pairrec", small_corpus.shape, BITS, {"hidden": 8, "noise": 0.8, "noise_fall": 0.1})
    codes = torch.zeros(4_000, BITS)
    found = [float(method.add_noise(codes, at(step)).std()) for step in (0, 3, 8, 20)]
    assert found == pytest.approx([0.8, 0.5, 0.0, 0.0], abs=0.01)
