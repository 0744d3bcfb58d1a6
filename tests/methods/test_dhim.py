"""DHIM: mutual information of codes with the word pieces of their documents."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from texthash.corpora.prepared.batches import Batch, batches
from texthash.corpora.prepared.corpus import CorpusShape, PreparedCorpus
from texthash.errors import UsageError
from texthash.methods.base import HashMethod, Progress
from texthash.methods.registry import build
from texthash.nn.jensen_shannon import token_information

BITS = 16


def made(shape: CorpusShape, corpus: PreparedCorpus, **params: object) -> HashMethod:
    method = build("dhim", shape, BITS, {"filters": 6, **params})
    method.set_projection(corpus.train)
    return method.eval()


@pytest.fixture
def batch(encoded_shape: CorpusShape, small_corpus: PreparedCorpus) -> Batch:
    return next(iter(batches(small_corpus.train, 16, made(encoded_shape, small_corpus).inputs)))


def progress() -> Progress:
    return Progress(step=1, total=10, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("squashed", "score"), [(False, 0.0), (True, 0.5)])
def test_the_loss_of_a_discriminator_that_says_nothing_is_known(
    encoded_shape: CorpusShape, small_corpus: PreparedCorpus, batch: Batch, squashed: bool, score: float
) -> None:
    method = made(encoded_shape, small_corpus, squashed=squashed, sentence_weight=0.5)
    for discriminator in (method.of_pieces, method.of_sentences):
        for parameter in discriminator.parameters():
            torch.nn.init.zeros_(parameter)
    loss = method.loss(batch, progress())
    expected = math.log1p(math.exp(-score)) + math.log1p(math.exp(score))
    assert loss["pieces"].item() == pytest.approx(expected, rel=1e-5)
    assert loss["sentences"].item() == pytest.approx(0.5 * expected, rel=1e-5)


def test_the_order_of_pieces_matters_to_wide_windows_alone(
    encoded_shape: CorpusShape, small_corpus: PreparedCorpus, batch: Batch
) -> None:
    method = made(encoded_shape, small_corpus)
    length = int(batch.token_mask.sum(dim=1).min())
    order = torch.arange(batch.token_vectors.shape[1])
    order[:length] = order[:length].flip(0)
    turned = replace(batch, token_vectors=batch.token_vectors[:, order])
    assert length > 2
    assert not torch.allclose(method.activations(batch), method.activations(turned), atol=1e-4)
    with torch.no_grad():
        for convolution in method.convolution.convolutions[1:]:
            convolution.weight.zero_()
    torch.testing.assert_close(method.activations(batch), method.activations(turned), atol=1e-5, rtol=1e-4)


def test_negatives_that_are_the_document_itself_teach_nothing() -> None:
    """A token's scores with N copies of its own document: I is at most - 2 log 2, whatever the discriminator says."""
    scores = torch.linspace(-3, 3, 7).expand(4, 7).clone().requires_grad_()
    mask = torch.ones(1, 7, dtype=torch.bool)
    found = token_information(scores, mask, first=2)
    softplus = torch.nn.functional.softplus
    torch.testing.assert_close(found[0], (-softplus(-scores[0]) - softplus(scores[0])).mean())
    assert found.item() < -2 * math.log(2)


def test_padding_changes_nothing(encoded_shape: CorpusShape, small_corpus: PreparedCorpus, batch: Batch) -> None:
    method = made(encoded_shape, small_corpus)
    wide = replace(
        batch,
        token_vectors=torch.cat([batch.token_vectors, torch.ones_like(batch.token_vectors)], dim=1),
        token_mask=torch.cat([batch.token_mask, torch.zeros_like(batch.token_mask)], dim=1),
    )
    torch.testing.assert_close(method.activations(wide), method.activations(batch))


def test_the_encoder_gets_no_gradient(encoded_shape: CorpusShape, small_corpus: PreparedCorpus, batch: Batch) -> None:
    method = made(encoded_shape, small_corpus)
    sum(method.loss(batch, progress()).values()).backward()
    assert all(parameter.grad is not None for parameter in method.parameters())
    assert not batch.token_vectors.requires_grad
    assert {name for name, _ in method.named_buffers()} >= {"projection.mean", "projection.weight"}


@pytest.mark.parametrize(
    "source", ["column:embedding", "npy:mine.npy", "tei:http://127.0.0.1:9", "openai:m@http://h/v1"]
)
def test_sources_of_one_vector_a_document_are_refused(encoded_shape: CorpusShape, source: str) -> None:
    with pytest.raises(UsageError, match=r"dhim learns from vectors of word pieces, and .* one vector a") as error:
        build("dhim", replace(encoded_shape, encoder=source), BITS)
    assert "minilm" in error.value.remedy
