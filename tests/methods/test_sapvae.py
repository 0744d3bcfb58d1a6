"""SAPVAE: one code of two views."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from texthash.config import TrainingConfig
from texthash.corpora.prepared.batches import Batch, batches
from texthash.corpora.prepared.corpus import CorpusShape, PreparedCorpus
from texthash.errors import CorpusError, ModelMismatchError
from texthash.methods.base import HashMethod, Progress
from texthash.methods.registry import build
from texthash.models.graphs import ensure_views
from texthash.training.loop import fit

BITS = 16


def made(shape: CorpusShape, corpus: PreparedCorpus, **params: object) -> HashMethod:
    method = build("sapvae", shape, BITS, {"hidden": 32, **params})
    ensure_views(method, corpus.train)
    method.setup(corpus.train)
    method.standardise(corpus.train)
    return method.eval()


def first_batch(method: HashMethod, corpus: PreparedCorpus) -> Batch:
    return next(iter(batches(corpus.train, 16, method.inputs)))


def progress() -> Progress:
    return Progress(step=1, total=10, generator=torch.Generator().manual_seed(0))


def test_the_loss_without_weights_is_known(encoded_shape: CorpusShape, small_corpus: PreparedCorpus) -> None:
    """All words equally likely, p = 1/2 everywhere, and the decoder says 0 of a vector of 16 standardised numbers."""
    method = made(encoded_shape, small_corpus)
    for layer in (method.of_words, method.of_vector, method.decoder, method.dense_decoder):
        for parameter in layer.parameters():
            torch.nn.init.zeros_(parameter)
    batch = first_batch(method, small_corpus)
    loss = method.loss(batch, progress())
    words = len(batch.indices) / len(batch)
    assert loss["reconstruction"].item() == pytest.approx(words * math.log(encoded_shape.vocabulary), rel=1e-5)
    train = np.asarray(small_corpus.train.dense(encoded_shape.encoder), np.float64)
    e = (train - train.mean(axis=0)) / train.std(axis=0)
    assert loss["features"].item() == pytest.approx(np.square(e[batch.rows]).sum(axis=1).mean() / 2, rel=1e-4)
    assert [loss[name].item() for name in ("kl", "views", "neighbours")] == pytest.approx([0, 0, 0], abs=1e-6)


def test_the_terms_of_alignment_are_the_plain_formulas(
    encoded_shape: CorpusShape, small_corpus: PreparedCorpus
) -> None:
    method = made(encoded_shape, small_corpus, view_weight=0.5, neighbour_weight=2.0, neighbours=1)
    batch = first_batch(method, small_corpus)
    loss = method.loss(batch, progress())
    p = torch.sigmoid(method.activations(batch)).double()

    def divergence(logits: torch.Tensor) -> torch.Tensor:
        q = torch.sigmoid(logits).double()
        return (q * (q / p).log() + (1 - q) * ((1 - q) / (1 - p)).log()).sum(dim=1).mean()

    words, dense = method.views(batch)
    assert loss["views"].item() == pytest.approx(0.5 * (divergence(words) + divergence(dense)).item(), rel=1e-4)
    nearest = small_corpus.train.neighbours(1, f"dense:{encoded_shape.encoder}")[0][:16, 0]
    everything = next(iter(batches(small_corpus.train, len(small_corpus.train), method.inputs)))
    near = torch.sigmoid(method.activations(everything))[nearest.astype(np.int64)]
    assert loss["neighbours"].item() == pytest.approx(2 * (p - near).square().sum(dim=1).mean().item(), rel=1e-4)


def test_words_alone_make_it_nash(encoded_shape: CorpusShape, small_corpus: PreparedCorpus) -> None:
    """Without the vector's weights and with a gate that is open to words, its loss is that of a Bernoulli VAE."""
    off = {"view_weight": 0.0, "neighbour_weight": 0.0, "feature_weight": 0.0, "kl_weight": 1.0}
    method = made(encoded_shape, small_corpus, **off)
    torch.nn.init.zeros_(method.fusion.gate.weight)
    torch.nn.init.constant_(method.fusion.gate.bias, 50.0)
    nash = build("nash", small_corpus.shape, BITS, {"hidden": 32, "layers": 1}).eval()
    nash.encoder.load_state_dict(method.encoder.state_dict())
    nash.logits.load_state_dict(method.of_words.state_dict())
    nash.decoder.load_state_dict(method.decoder.state_dict())
    batch = first_batch(method, small_corpus)
    ours, theirs = method.loss(batch, progress()), nash.loss(batch, progress())
    for term in ("reconstruction", "kl"):
        torch.testing.assert_close(ours[term], theirs[term])
    assert sum(ours.values()).item() == pytest.approx(sum(theirs.values()).item(), rel=1e-6)


def test_swapped_vectors_change_codes_and_the_loss_of_vectors(
    encoded_shape: CorpusShape, small_corpus: PreparedCorpus
) -> None:
    method = made(encoded_shape, small_corpus, view_weight=0.0, neighbour_weight=0.0)
    batch = first_batch(method, small_corpus)
    order = torch.arange(16)
    order[:2] = torch.tensor([1, 0])
    swapped = replace(batch, dense=batch.dense[order])
    ours, theirs = method.activations(batch), method.activations(swapped)
    assert (ours[:2] != theirs[:2]).all()
    torch.testing.assert_close(ours[2:], theirs[2:])
    code = torch.rand(16, BITS)
    vector = method.dense_encoder.standardization
    errors = [method.dense_decoder.error(code, vector(b.dense)) for b in (batch, swapped)]
    assert (errors[0][:2] != errors[1][:2]).all()
    torch.testing.assert_close(errors[0][2:], errors[1][2:])
    torch.testing.assert_close(method.decoder(code), method.decoder(code))


def test_vectors_of_another_encoder_than_the_models_are_refused(
    encoded_shape: CorpusShape, small_corpus: PreparedCorpus
) -> None:
    plain = encoded_shape.encoder.rpartition("@")[0]
    other = replace(encoded_shape, encoder=f"{plain}@0123456789ab")
    with pytest.raises(ModelMismatchError, match=r"holds vectors by .*, not by .*@0123456789ab"):
        fit(build("sapvae", other, BITS, {"hidden": 32}), small_corpus.train, TrainingConfig(epochs=1))
    absent = replace(encoded_shape, encoder="minilm@0123456789ab")
    with pytest.raises(CorpusError, match="no sentence vectors") as error:
        fit(build("sapvae", absent, BITS, {"hidden": 32}), small_corpus.train, TrainingConfig(epochs=1))
    assert "corpus.features=minilm" in error.value.remedy
