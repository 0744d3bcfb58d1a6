"""Importance of words, the hinge of triples and schedules by steps, against plain formulas."""

import pytest
import torch

from texthash.nn.bags import Words
from texthash.nn.importance import ImportanceDecoder
from texthash.nn.ranking import triple_hinge
from texthash.nn.schedules import by_steps

BITS, WORDS = 8, 12


@pytest.fixture
def bag():
    return Words(torch.tensor([1, 3, 3]), torch.tensor([0, 2]), torch.tensor([2.0, 1.0, 4.0]), torch.tensor([0, 0, 1]))


@pytest.mark.parametrize("width", [None, 5])
def test_logits_are_those_of_scaled_word_vectors(width):
    decoder = ImportanceDecoder(BITS, WORDS, width)
    torch.nn.init.normal_(decoder.bias)
    codes = torch.randn(4, BITS)
    vectors = decoder.weight.T if width is None else decoder.factors(decoder.weight.T)
    expected = codes @ (vectors * decoder.importance[:, None]).T + decoder.bias
    torch.testing.assert_close(decoder(codes), expected)


@pytest.mark.parametrize("width", [None, 5])
def test_a_word_of_importance_0_is_read_by_neither_side(width, bag):
    decoder = ImportanceDecoder(BITS, WORDS, width)
    with torch.no_grad():
        decoder.importance[3] = 0
    assert decoder.weigh(bag).values[1:].tolist() == [0.0, 0.0]
    logits = decoder(torch.randn(5, BITS))
    assert logits[:, 3].tolist() == [float(decoder.bias[3])] * 5
    assert logits[:, 1].unique().numel() == 5


def test_importance_starts_in_its_range_and_learns_from_both_sides(bag):
    assert ImportanceDecoder(BITS, WORDS, lowest=1.0).importance.tolist() == [1.0] * WORDS
    decoder = ImportanceDecoder(BITS, 5_000, lowest=0.1)
    assert 0.1 <= float(decoder.importance.detach().min()) < 0.11
    assert 0.99 < float(decoder.importance.detach().max()) <= 1
    decoder.weigh(bag).values.sum().backward()
    assert decoder.importance.grad.nonzero()[:, 0].tolist() == [1, 3]
    assert float(decoder.importance.grad[3]) == 5


def test_the_hinge_of_triples_by_hand():
    b = torch.tensor([[0.0, 0, 0, 0]]).repeat(4, 1)
    one = torch.tensor([[1.0, 0, 0, 0]]).repeat(4, 1)  # D_1 = 1
    two = torch.tensor([[1.0, 1, 1, 0], [1.0, 1, 1, 0], [1.0, 1, 1, 0], [0.0, 1, 0, 0]])  # D_2 = 3, 3, 3, 1
    order = torch.tensor([1.0, -1.0, 0.0, 1.0])
    assert triple_hinge(b, one, two, order).tolist() == [0.0, 3.0, 2.0, 1.0]
    assert triple_hinge(b, two, one, -order).tolist() == [0.0, 3.0, 2.0, 1.0], "swapping both changes nothing"
    assert triple_hinge(b, one, two, order, margin=2.5).tolist() == [0.5, 4.5, 2.0, 2.5]


def test_a_schedule_by_steps_stops_at_its_end():
    assert [by_steps(t, 1.0, 0.0, 0.25) for t in (0, 1, 4, 9)] == [1.0, 0.75, 0.0, 0.0]
    assert [by_steps(t, 0.5, 2.0, 0.5) for t in (0, 2, 3, 9)] == [0.5, 1.5, 2.0, 2.0]
    assert by_steps(5, 1.0, 1.0, 0.1) == 1.0
    assert by_steps(350_000, 1.0, 0.0, 1e-6) == pytest.approx(0.65)
