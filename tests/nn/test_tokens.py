"""Layers over vectors of word pieces, and the Jensen-Shannon estimate: loops over documents and pieces, no padding."""

from __future__ import annotations

import math

import pytest
import torch
from torch.autograd import gradcheck

from texthash.nn.jensen_shannon import Bilinear, pairwise_information, token_information
from texthash.nn.tokens import KeyPieces, TokenConvolution, TokenProjection, masked_mean

LENGTHS = (3, 1, 0, 4)


@pytest.fixture
def texts() -> tuple[torch.Tensor, torch.Tensor]:
    """Vectors [4, 4, 5] of texts of these lengths, with noise in the padding, and their mask."""
    vectors = torch.randn(4, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return vectors, torch.arange(4) < torch.tensor(LENGTHS)[:, None]


def test_raw_and_stored_vectors_are_the_same() -> None:
    torch.manual_seed(0)
    layer = TokenProjection(100, 64)
    layer.mean.normal_()
    layer.weight.normal_(std=0.1)
    raw = torch.randn(2, 3, 100)
    stored = ((raw.double() - layer.mean.double()) @ layer.weight.double()).half()
    assert torch.equal(layer(raw), stored.float())
    assert torch.equal(layer(stored), stored.float())
    narrow = TokenProjection(8, 8)
    assert torch.equal(narrow(raw[..., :8]), raw[..., :8].half().float())


def test_a_convolution_sees_a_text_and_no_padding(texts: tuple[torch.Tensor, torch.Tensor]) -> None:
    vectors, mask = texts
    torch.manual_seed(1)
    layer = TokenConvolution(5, 2, (1, 3)).double()
    features = layer(vectors, mask)
    assert features.shape == (4, 4, layer.width) == (4, 4, 4)
    for b, length in enumerate(LENGTHS):
        assert not features[b, length:].any()
        for i in range(length):
            parts = []
            for convolution in layer.convolutions:
                half = convolution.kernel_size[0] // 2
                value = convolution.bias.clone()
                for k in range(-half, half + 1):
                    if 0 <= i + k < length:
                        value = value + convolution.weight[:, :, k + half] @ vectors[b, i + k]
                parts.append(value.clamp(min=0))
            torch.testing.assert_close(features[b, i], torch.cat(parts))


def test_the_mean_is_of_the_pieces(texts: tuple[torch.Tensor, torch.Tensor]) -> None:
    vectors, mask = texts
    mean = masked_mean(vectors, mask)
    torch.testing.assert_close(mean[0], vectors[0, :3].mean(dim=0))
    assert not mean[2].any(), "a text without pieces"


def test_key_and_redundant_pieces_are_the_plain_sums(texts: tuple[torch.Tensor, torch.Tensor]) -> None:
    vectors, mask = texts
    torch.manual_seed(2)
    layer = KeyPieces(5).double()
    key, redundant = layer(vectors, mask)
    for b, length in enumerate(LENGTHS):
        h = vectors[b, :length]
        if not length:
            assert not key[b].any()
            assert not redundant[b].any()
            continue
        s = torch.softmax(torch.tanh(h @ layer.hidden.weight.T + layer.hidden.bias) @ layer.score.weight[0], dim=0)
        torch.testing.assert_close(key[b], s @ h)
        torch.testing.assert_close(redundant[b], ((1 - s) / (length - 1)) @ h if length > 1 else torch.zeros_like(h[0]))
    vectors.requires_grad_()
    assert gradcheck(lambda v: layer(v, mask), (vectors,))


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def test_the_estimate_is_the_sum_over_pairs(texts: tuple[torch.Tensor, torch.Tensor]) -> None:
    """Six documents: this worker has the tokens of the four in the middle, and those of others are negatives too."""
    _, mask = texts
    torch.manual_seed(3)
    discriminator = Bilinear(3).double()
    codes, tokens = (torch.rand(n, 3, dtype=torch.float64) for n in (6, 16))
    scores = discriminator(codes, tokens)
    expected = discriminator.map.weight @ codes[2] + discriminator.map.bias
    torch.testing.assert_close(scores[2, 5], expected @ tokens[5])
    found = token_information(scores, mask, first=1)
    for b, length in enumerate(LENGTHS):
        values = []
        for t in range(length):
            column = scores[:, 4 * b + t].tolist()
            others = [softplus(s) for n, s in enumerate(column) if n != b + 1]
            values.append(-softplus(-column[b + 1]) - sum(others) / 5)
        assert found[b].item() == pytest.approx(sum(values) / length if length else 0.0, abs=1e-12)
    leaf = scores.detach().requires_grad_()
    assert gradcheck(lambda s: token_information(s, mask, 1), (leaf,))


def test_the_estimate_grows_with_what_two_variables_share() -> None:
    none = pairwise_information(torch.zeros(5, 5), torch.arange(5))
    torch.testing.assert_close(none, torch.full((5,), -2 * math.log(2)))
    told_apart = pairwise_information(40 * (2 * torch.eye(5) - 1), torch.arange(5))
    assert told_apart.abs().max() < 1e-6
    alone = pairwise_information(torch.zeros(1, 1), torch.zeros(1, dtype=torch.int64))
    torch.testing.assert_close(alone, torch.tensor([-math.log(2)]))
