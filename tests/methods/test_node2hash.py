"""node2hash: VDSH with a decoder of the documents that a walk visits, which is left behind after training."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from texthash.config import TrainingConfig
from texthash.corpora.prepared.batches import batches
from texthash.methods.base import Progress
from texthash.methods.registry import build
from texthash.models.hasher import Hasher
from texthash.nn.reconstruction import word_log_likelihood
from texthash.training.loop import fit

BITS = 16


def at(seed=0):
    return Progress(step=1, total=2, generator=torch.Generator().manual_seed(seed))


def made(corpus, **params):
    method = build("node2hash", corpus.shape, BITS, {"hidden": 32, **params}).eval()
    method.setup(corpus.train)
    return method, next(iter(batches(corpus.train, 8, method.inputs)))


def test_a_loss_by_hand(small_corpus):
    """All documents equally likely at first: log N for each of the 21 that are visited."""
    method, batch = made(small_corpus, edge_weight=0.5)
    expected = 0.5 * 21 * np.log(len(small_corpus.train))
    assert float(method.loss(batch, at())["nodes"].detach()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("word_weights", ["once", "input"])
def test_without_links_it_is_vdsh(small_corpus, word_weights):
    method, batch = made(small_corpus, edge_weight=0.0, word_weights=word_weights, weighting="tfidf")
    vdsh = build("vdsh", small_corpus.shape, BITS, {"hidden": 32}).eval()
    vdsh.load_state_dict(method.inference_state_dict())
    ours, theirs = method.loss(batch, at()), vdsh.loss(batch, at())
    assert float(ours["nodes"].detach()) == 0
    assert ours["kl"] == theirs["kl"]
    z, _ = vdsh.sample(batch, at())
    expected = -word_log_likelihood(vdsh.decoder(z), batch, batch.values if word_weights == "input" else None).mean()
    torch.testing.assert_close(ours["reconstruction"], expected)
    if word_weights == "once":
        torch.testing.assert_close(ours["reconstruction"], theirs["reconstruction"])


def test_other_words_with_the_same_links_change_the_word_decoder_only(small_corpus, monkeypatch):
    method, batch = made(small_corpus)
    torch.nn.init.normal_(method.node_decoder.weight, std=0.1)
    order = torch.randperm(small_corpus.shape.vocabulary)
    other = replace(batch, indices=order[batch.indices])
    z, kl = (value.detach() for value in method.sample(batch, at()))
    monkeypatch.setattr(method, "sample", lambda batch, progress: (z, kl))
    one, two = method.loss(batch, at()), method.loss(other, at())
    assert one["reconstruction"] != two["reconstruction"]
    assert one["nodes"] == two["nodes"]
    assert one["kl"] == two["kl"]


def test_neighbours_learn_alike_codes_and_the_decoder_of_documents_is_not_saved(small_corpus, tmp_path):
    method = build("node2hash", small_corpus.shape, BITS, {"hidden": 32})
    history = fit(method, small_corpus.train, TrainingConfig(epochs=4, batch_size=64)).history
    assert history[-1].terms["nodes"] < history[1].terms["nodes"]
    assert method.node_decoder.weight.abs().sum() > 0
    assert not [name for name in method.inference_state_dict() if name.startswith("node_decoder")]
    hasher = Hasher.of(method, small_corpus)
    codes = Hasher.load(hasher.save(tmp_path / "model")).encode(["plot a histogram", ""])
    assert np.array_equal(codes, hasher.encode(["plot a histogram", ""])), "a new document has no links"


@pytest.mark.parametrize("walk", ["random", "depth", "neighbours"])
def test_each_walk_trains(small_corpus, walk):
    method, batch = made(small_corpus, walk=walk, walk_length=4)
    nodes = method.loss(batch, at())["nodes"]
    visited = float(nodes.detach()) / np.log(len(small_corpus.train))
    assert 2 <= round(visited, 3) <= 5
    nodes.backward()
    assert method.node_decoder.weight.grad.abs().sum() > 0
