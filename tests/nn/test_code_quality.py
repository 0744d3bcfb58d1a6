"""Balance, few bits, quantisation and robustness against closed forms, finite differences and Monte Carlo."""

import math

import pytest
import torch
from scipy.linalg import hadamard
from scipy.stats import norm

from texthash.nn.balance import (
    ExemplarMemory,
    bit_balance,
    decorrelation,
    memory_bit_balance,
    memory_decorrelation,
)
from texthash.nn.decoders import SoftmaxDecoder, TopicDecoder
from texthash.nn.few_bit import orthogonality, relevance_propagation
from texthash.nn.quantization import quantization_loss, root_scale, scaled_tanh
from texthash.nn.robustness import folded_normal_keep, mask_words

HADAMARD = torch.tensor(hadamard(8), dtype=torch.float32)


def generator():
    return torch.Generator().manual_seed(0)


def test_balance_and_decorrelation_are_zero_for_a_hadamard_matrix_only():
    codes = HADAMARD[:, 1:]  # without the constant column
    assert float(bit_balance(codes)) == 0
    assert float(decorrelation(codes)) == 0
    assert float(bit_balance(HADAMARD)) == 1
    twice = codes[:, [0, 0, 1]]
    assert float(decorrelation(twice)) == 2, "one pair of bits is one, counted both ways"


def test_memory_weights_the_worst_bits():
    codes = torch.ones(2, 4)
    memory = torch.zeros(6, 4, dtype=torch.int8)
    assert float(memory_bit_balance(codes, memory)) == pytest.approx(2 / 4), "no memory: all bits alike"
    memory[:, 1] = 1
    tilted = codes * torch.tensor([1.0, 3.0, 1.0, 1.0])
    weight = math.exp(6) / (math.exp(6) + 3)
    assert float(memory_bit_balance(tilted, memory)) == pytest.approx((6 * weight + 2 * (1 - weight)) / 4)


def test_memory_decorrelation_equals_its_formula():
    codes, memory = torch.randn(5, 3, generator=generator()), HADAMARD[:, [1, 1, 2]].to(torch.int8)
    weights = torch.softmax(torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]), dim=1)
    expected = torch.linalg.norm((codes.T @ codes / 5 - torch.eye(3)) * weights) ** 2 / 9
    assert float(memory_decorrelation(codes, memory)) == pytest.approx(float(expected))
    assert float(memory_decorrelation(codes, memory[:0])) > 0, "defined before anything is remembered"


def test_exemplars_are_believed_for_a_while_and_longer_when_the_loss_has_fallen():
    memory = ExemplarMemory(documents=4, bits=2, alpha=0.5)
    assert len(memory.recent(0, period=10)) == 0
    memory.write(torch.tensor([2]), torch.tensor([[0.3, -0.7]]), step=0)
    memory.record_loss(torch.tensor(8.0))
    assert memory.recent(4, period=10).tolist() == [[1, -1]]
    assert len(memory.recent(5, period=10)) == 0, "half an epoch"
    memory.record_loss(torch.tensor(4.0))  # delta = 1/2: valid for 3/4 of an epoch
    assert len(memory.recent(7, period=10)) == 1
    assert len(memory.recent(8, period=10)) == 0


def test_orthogonality():
    orthonormal = torch.linalg.qr(torch.randn(10, 4, generator=generator()))[0].T
    assert float(orthogonality(orthonormal)) == pytest.approx(0, abs=1e-10)
    assert float(orthogonality(torch.zeros(4, 10))) == 4


def test_topics_that_are_the_identity_are_the_decoder_of_nash():
    plain, topics = SoftmaxDecoder(4, 20), TopicDecoder(4, 20, width=4)
    with torch.no_grad():
        topics.topics.copy_(torch.eye(4))
        topics.weight.copy_(plain.weight)
    codes = torch.tensor([[1.0, 0, 1, 1], [0, 0, 0, 0]])
    torch.testing.assert_close(topics(codes), plain(codes))


@pytest.mark.parametrize("average", [False, True])
def test_the_decoder_sees_the_topics_that_are_on(average):
    decoder = TopicDecoder(3, 20, width=100, average=average)
    assert decoder.weight.shape == (100, 20), "its width is not that of the code"
    mixed = decoder.topics[0] + decoder.topics[2]
    expected = (mixed / 2 if average else mixed) @ decoder.weight
    torch.testing.assert_close(decoder(torch.tensor([[1.0, 0, 1]]))[0], expected)
    assert torch.isfinite(decoder(torch.zeros(1, 3))).all()


def test_relevance_propagation_is_the_mean_over_pairs():
    short, long = (torch.rand(5, width, generator=generator()) * 2 - 1 for width in (3, 9))
    pairs = [
        abs(float(short[i] @ short[j]) / 3 - float(long[i] @ long[j]) / 9) for i in range(5) for j in range(5) if i != j
    ]
    assert float(relevance_propagation(short, long)) == pytest.approx(sum(pairs) / 20)
    assert float(relevance_propagation(short, short.repeat(1, 3))) == pytest.approx(0, abs=1e-6)


def test_quantization_loss_is_zero_at_signs_and_draws_to_the_near_one():
    codes = torch.tensor([[1.0, -1.0], [0.5, 0.0]], requires_grad=True)
    loss = quantization_loss(codes)
    assert loss.tolist() == [0.0, 1.25]
    loss.sum().backward()
    assert codes.grad.tolist() == [[0.0, 0.0], [-1.0, 2.0]]


def test_the_scale_grows_as_a_root_and_tanh_becomes_the_sign():
    assert [root_scale(f, end=5.0) for f in (0.0, 0.125, 1.0)] == pytest.approx([1.0, 2.0, 5.0])
    assert scaled_tanh(torch.tensor([0.2, -0.1]), 1000.0).tolist() == [1.0, -1.0]


def test_masked_words_stay_as_often_as_they_should():
    values = torch.full((40_000,), 2.0)
    masked = mask_words(values, 0.3, generator())
    assert set(masked.unique().tolist()) == {0.0, 2.0}
    assert float((masked > 0).float().mean()) == pytest.approx(0.3, abs=0.01)


@pytest.mark.parametrize("noise", [0.3, 0.6])
def test_shares_to_keep_have_the_mean_of_a_folded_and_capped_normal(noise):
    std = 1 - noise
    mean = std * math.sqrt(2 / math.pi) * (1 - math.exp(-1 / (2 * std**2))) + 2 * norm.cdf(-1 / std)
    keep = folded_normal_keep(torch.empty(100_000), noise, generator())
    assert float(keep.mean()) == pytest.approx(mean, abs=0.004)
    assert float(keep.max()) <= 1
