"""LASH: half of a code from the text, half from a graph, and angles that follow labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from texthash.config import TrainingConfig
from texthash.corpora.prepared.batches import Batch, batches
from texthash.corpora.prepared.corpus import CorpusShape, PreparedCorpus
from texthash.corpora.prepared.labelled import partly_labelled
from texthash.methods.base import HashMethod, Progress
from texthash.methods.registry import build
from texthash.nn.label_similarity import weighted_percentage
from texthash.training.loop import fit

BITS = 16


def made(shape: CorpusShape, corpus: PreparedCorpus, **params: object) -> HashMethod:
    method = build("lash", shape, BITS, {"hidden": 32, "view_width": 12, **params})
    method.setup(corpus.train)
    method.standardise(corpus.train)
    method.embed(corpus.train)
    return method.eval()


def first_batch(method: HashMethod, corpus: PreparedCorpus, size: int = 16) -> Batch:
    return next(iter(batches(corpus.train, size, method.inputs)))


def test_the_loss_of_codes_of_zeros_is_known(encoded_shape: CorpusShape, small_corpus: PreparedCorpus) -> None:
    method = made(encoded_shape, small_corpus, similarity=0.5, quantization=0.25)
    for layer in [method.decoder[2], *(tower[1] for tower in method.towers)]:
        for parameter in layer.parameters():
            torch.nn.init.zeros_(parameter)
    batch = first_batch(method, small_corpus)
    loss = method.loss(batch, Progress(step=10, total=10))
    e, n = method.view(batch), method.structure[batch.rows]
    same = (batch.labels @ batch.labels.T > 0).double()  # one label a document
    assert loss["text"].item() == pytest.approx(e.norm(dim=1).mean().item(), rel=1e-5)
    assert loss["structure"].item() == pytest.approx(n.norm(dim=1).mean().item(), rel=1e-5)
    assert loss["quantization"].item() == pytest.approx(0.25 * BITS**0.5, rel=1e-5)
    assert loss["similarity"].item() == pytest.approx(0.5 * BITS * same.norm(dim=1).mean().item(), rel=1e-5)


def test_each_view_has_its_half_of_the_bits(encoded_shape: CorpusShape, small_corpus: PreparedCorpus) -> None:
    method = made(encoded_shape, small_corpus)
    batch = first_batch(method, small_corpus, 2)
    e = method.view(batch)[:1].expand(2, -1)  # the text of both is that of the first
    n = method.structure[batch.rows]
    one, two = method.codes(e, n), method.codes(e, n.flip(0))
    assert torch.equal(one[:, : BITS // 2], two[:, : BITS // 2])
    assert (one[:, BITS // 2 :] != two[:, BITS // 2 :]).all()


def test_a_text_outside_of_the_graph_gets_its_place_from_its_words(
    encoded_shape: CorpusShape, small_corpus: PreparedCorpus
) -> None:
    method = made(encoded_shape, small_corpus)
    everything = first_batch(method, small_corpus, len(small_corpus.train))
    places = method.structure.double()
    torch.testing.assert_close(places.mean(dim=0), torch.zeros(12, dtype=torch.float64), atol=1e-5, rtol=0)
    predicted = method.structure_of_words(everything).double()
    left = (places - predicted).square().mean().item()
    assert left < 0.5, "words say most of where a training document lies"
    other = next(iter(batches(small_corpus.validation, 8, method.encoding_inputs)))
    assert np.isfinite(method.activations(other).detach().numpy()).all()


def test_hidden_labels_do_not_count(encoded_shape: CorpusShape, small_corpus: PreparedCorpus) -> None:
    method = made(encoded_shape, small_corpus)
    train = partly_labelled(small_corpus.train, 0.5, seed=0)
    batch = next(iter(batches(train, 32, method.inputs)))
    known = batch.labelled
    assert 0 < known.sum() < 32
    z = method.activations(batch)
    target = BITS * weighted_percentage(batch.labels[known], batch.labels[known])
    expected = (z[known] @ z[known].T - target).norm(dim=1).mean()
    torch.testing.assert_close(method.similarity_error(z, batch, Progress(step=0, total=1)), expected)


def test_only_the_classifier_moves_the_view_of_the_text(
    encoded_shape: CorpusShape, small_corpus: PreparedCorpus
) -> None:
    method = made(encoded_shape, small_corpus)
    method.loss(first_batch(method, small_corpus), Progress(step=1, total=2))["text"].backward()
    assert method.text.weight.grad is None
    assert method.towers[0][1].weight.grad is not None
    fitted = fit(build("lash", encoded_shape, BITS, {"hidden": 32}), small_corpus.train, TrainingConfig(epochs=1))
    assert [report.stage for report in fitted.history] == ["standardisation", "classifier", "structure", "train"]
    assert "structure" not in fitted.method.inference_state_dict()
