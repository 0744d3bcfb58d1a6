"""RBSH: the order of two neighbours, and their own words."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from texthash.config import TrainingConfig
from texthash.corpora.prepared.batches import batches
from texthash.methods.base import Progress
from texthash.methods.registry import build
from texthash.models.graphs import ensure_graph
from texthash.nn.reconstruction import word_log_likelihood
from texthash.training.loop import fit

BITS = 16


def at(step=0, seed=0):
    return Progress(step=step, total=2, generator=torch.Generator().manual_seed(seed))


def made(corpus, **params):
    method = build("rbsh", corpus.shape, BITS, {"hidden": 32, **params}).eval()
    ensure_graph(corpus.train, method.inputs.graph, method.inputs.neighbours)
    method.setup(corpus.train)
    return method, next(iter(batches(corpus.train, 8, method.inputs)))


def test_codes_set_by_hand(small_corpus):
    method, _ = made(small_corpus)
    codes = torch.zeros(12, BITS)
    codes[1::3, :2] = 1  # D_1 = 2
    codes[2::3, :5] = 1  # D_2 = 5
    order, counts = torch.tensor([1.0, -1.0, 0.0, 1.0]), torch.tensor([True, True, True, False])
    expected = (0 + 4) / 2 + 3  # max(0, 1 - 3), max(0, 1 + 3); |5 - 2|
    assert float(method.order_term(codes, order, counts, at())) == expected
    swapped = codes.clone()
    swapped[1::3], swapped[2::3] = codes[2::3], codes[1::3]
    assert float(method.order_term(swapped, -order, counts, at())) == expected
    assert float(method.order_term(codes, order, torch.zeros(4, dtype=torch.bool), at())) == 0


def test_triples_are_of_ten_ranks_and_in_their_order(small_corpus):
    method, batch = made(small_corpus)
    ranks = np.linspace(0, 199, 10).astype(int)
    seen = set()
    for seed in range(200):
        rows, order, counts = method.triples(batch, at(seed=seed))
        places = [[batch.neighbours[i].tolist().index(row) for row in two] for i, two in enumerate(rows.tolist())]
        seen |= {tuple(two) for two in places}
        assert all(one < two for one, two in places)
        assert set(order.tolist()) <= {0.0, 1.0}
        assert counts.all()
    assert seen == {(a, b) for a in ranks for b in ranks if a < b}


def test_documents_that_share_nothing_are_not_ranked(small_corpus):
    method, batch = made(small_corpus)
    alone = replace(batch, neighbour_weights=torch.zeros_like(batch.neighbour_weights))
    assert not method.triples(alone, at())[2].any()
    assert float(method.loss(alone, at())["ranking"].detach()) == 0


def test_distances_of_bits_are_often_equal(small_corpus):
    method, _ = made(small_corpus, graph="hamming:sth-64", neighbours=20)
    batch = next(iter(batches(small_corpus.train, 256, method.inputs)))
    order = method.triples(batch, at())[1]
    assert 0.02 < float((order == 0).float().mean()) < 0.9
    assert float(method.loss(batch, at())["ranking"].detach()) > 0


def test_each_of_the_three_explains_its_own_words(small_corpus, monkeypatch):
    method, batch = made(small_corpus)
    drawn = method.triples(batch, at())
    monkeypatch.setattr(method, "triples", lambda batch, progress: drawn)
    monkeypatch.setattr(torch, "rand", lambda shape, **options: torch.full(shape, 0.5, dtype=options.get("dtype")))
    terms = method.loss(batch, at())
    expected = []
    for rows in (batch.rows, drawn[0][:, 0], drawn[0][:, 1]):
        bag = method.bags(rows)
        codes = (method.activations(bag) > 0).float()
        expected.append(-word_log_likelihood(method.decoder(codes), bag).mean())
    torch.testing.assert_close(terms["reconstruction"], expected[0])
    torch.testing.assert_close(terms["neighbours"], expected[1] + expected[2])


def test_the_order_weighs_more_at_every_step(small_corpus):
    method, batch = made(small_corpus, ranking=1.0, ranking_rise=0.5)
    terms = [float(method.loss(batch, at(step))["ranking"].detach()) for step in (0, 2, 1_000)]
    assert terms == pytest.approx([terms[0], 2 * terms[0], 30 * terms[0]], rel=1e-5)


def test_without_the_order_it_trains_on_words_alone(small_corpus):
    method = build("rbsh", small_corpus.shape, BITS, {"hidden": 32, "ranking": 0.0, "ranking_rise": 0.0})
    history = fit(method, small_corpus.train, TrainingConfig(epochs=4, batch_size=64)).history
    assert history[-1].terms["ranking"] == 0
    assert history[-1].terms["reconstruction"] < history[1].terms["reconstruction"]
