"""THC: spectral bits, predicted by convolutions over words in their order and by the words themselves."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from texthash.config import TrainingConfig
from texthash.corpora.prepared.batches import Batch, batches
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.methods.base import HashMethod, Progress
from texthash.methods.registry import build
from texthash.training.loop import fit

BITS = 16
NARROW = {"channels": 4, "embedding": 8, "length": 40}


def made(corpus: PreparedCorpus, name: str = "thc", **params: object) -> HashMethod:
    method = build(name, corpus.shape, BITS, {**NARROW, **params})
    method.setup(corpus.train)
    method.embed(corpus.train)
    return method.eval()


def first_batch(method: HashMethod, corpus: PreparedCorpus) -> Batch:
    return next(iter(batches(corpus.train, 16, method.inputs)))


def test_targets_are_balanced_and_shared_by_neighbours(small_corpus: PreparedCorpus) -> None:
    targets = made(small_corpus).targets.numpy()
    count = len(small_corpus.train)
    assert (np.abs(targets.sum(axis=0) - count / 2) <= 1).all()
    nearest = small_corpus.train.neighbours(5, "cosine:tfidf")[0]
    near = (targets[:, None] == targets[nearest]).mean()
    far = (targets == np.random.default_rng(0).permutation(targets)).mean()
    assert near > far + 0.2


def test_the_loss_of_even_odds_is_known_and_targets_are_fixed(small_corpus: PreparedCorpus) -> None:
    method = made(small_corpus)
    for layer in (method.implicit, method.explicit):
        for parameter in layer.parameters():
            torch.nn.init.zeros_(parameter)
    batch = first_batch(method, small_corpus)
    assert method.loss(batch, Progress(step=0, total=1))["bits"].item() == pytest.approx(BITS * math.log(2))
    with torch.no_grad():
        method.explicit.bias.fill_(3.0)
    on = method.targets[batch.rows].float().sum(dim=1).mean().item()
    expected = on * math.log1p(math.exp(-3)) + (BITS - on) * math.log1p(math.exp(3))
    assert method.loss(batch, Progress(step=0, total=1))["bits"].item() == pytest.approx(expected, rel=1e-5)
    before = made(small_corpus).targets
    fitted = fit(build("thc", small_corpus.shape, BITS, NARROW), small_corpus.train, TrainingConfig(epochs=1)).method
    assert torch.equal(before, fitted.targets)
    assert "targets" not in fitted.inference_state_dict()


def test_the_order_of_words_and_the_words_both_decide(small_corpus: PreparedCorpus) -> None:
    method = made(small_corpus)
    method.start_words(small_corpus.train)
    batch = first_batch(method, small_corpus)
    both = method.activations(batch)
    assert not torch.allclose(both, method.implicit(method.features(batch)), atol=1e-3)
    assert not torch.allclose(both, method.explicit(batch), atol=1e-3)
    length = int(batch.mask.sum(dim=1).min())
    order = torch.arange(batch.tokens.shape[1])
    order[:length] = order[:length].flip(0)
    assert length > 2
    assert not torch.allclose(both, method.activations(replace(batch, tokens=batch.tokens[:, order])), atol=1e-4)


def test_word_vectors_start_at_their_company(small_corpus: PreparedCorpus) -> None:
    method = made(small_corpus)
    method.start_words(small_corpus.train)
    words = method.encoder.words.detach()
    assert words.square().mean().item() == pytest.approx(1.0, rel=1e-4)


def test_tags_weigh_edges_and_are_predicted(small_corpus: PreparedCorpus) -> None:
    method = made(small_corpus, "thc_s", between=0.25, label_weight=0.5)
    nearest, weights = small_corpus.train.neighbours(5, "cosine:tfidf")
    labels = small_corpus.train.labels.toarray().argmax(axis=1)
    same = labels[:, None] == labels[nearest]
    np.testing.assert_allclose(
        method.weighed(nearest, weights, small_corpus.train), np.where(same, weights, 0.25 * weights), rtol=1e-6
    )
    for parameter in method.labels.parameters():
        torch.nn.init.zeros_(parameter)
    loss = method.loss(first_batch(method, small_corpus), Progress(step=0, total=1))
    assert loss["labels"].item() == pytest.approx(0.5 * math.log(8), rel=1e-5)
    assert "labels" not in method.encoding_inputs.needs
