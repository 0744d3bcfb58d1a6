"""Drawn neighbours and unions of words against plain formulas, and the two rules for documents without neighbours."""

import pytest
import torch

from texthash.nn.bags import Words
from texthash.nn.neighbours import (
    agreeing_probabilities,
    draw_neighbours,
    neighbour_probabilities,
    union_of_words,
)

SIMILARITIES = torch.tensor([[0.9, 0.5, 0.1], [0.4, 0.0, 0.0], [0.0, 0.0, 0.0]])
NEAR = torch.tensor([[4, 5, 6], [7, 8, 9], [1, 2, 3]])
ROWS = torch.tensor([10, 11, 12])


def bag_of(documents):
    """A bag with weight 1 for each word."""
    sizes = torch.tensor([len(d) for d in documents])
    indices = torch.tensor([w for d in documents for w in d])
    document = torch.repeat_interleave(torch.arange(len(documents)), sizes)
    return Words(indices, sizes.cumsum(0) - sizes, torch.ones(len(indices)), document)


def test_by_rank_all_neighbours_are_alike_and_by_weight_the_nearer_is_likelier():
    third = 1 / 3
    expected = torch.tensor([[third, third, third], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(neighbour_probabilities(SIMILARITIES), expected)
    weighed = neighbour_probabilities(SIMILARITIES, temperature=0.2)
    plain = torch.tensor([4.5, 2.5, 0.5]).exp()
    torch.testing.assert_close(weighed[0], plain / plain.sum())
    torch.testing.assert_close(weighed[1:], expected[1:])


def test_neighbours_whose_codes_agree_are_likelier_and_without_preference_all_are_alike():
    own = torch.tensor([[1.0, 1.0, -1.0, 1.0]]).expand(3, 4)
    near = torch.stack([own, -own, torch.zeros(3, 4)], dim=1)
    found = agreeing_probabilities(SIMILARITIES, own, near, sharpness=2.0)
    plain = torch.tensor([2.0, -2.0, 0.0]).exp()
    torch.testing.assert_close(found[0], plain / plain.sum())
    torch.testing.assert_close(found[1:], torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]))
    torch.testing.assert_close(
        agreeing_probabilities(SIMILARITIES, own, near, sharpness=0.0), neighbour_probabilities(SIMILARITIES)
    )


def test_the_nearer_neighbours_are_likelier_by_a_power_of_their_rank():
    codes = torch.zeros(3, 4)
    found = agreeing_probabilities(SIMILARITIES, codes, codes[:, None].expand(3, 3, 4), sharpness=2.0, rank_power=1.5)
    plain = torch.tensor([1.0, 2.0**-1.5, 3.0**-1.5])
    torch.testing.assert_close(found[0], plain / plain.sum())
    torch.testing.assert_close(found[1:], torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]))


@pytest.mark.parametrize("temperature", [None, 0.3])
def test_neighbours_are_drawn_as_often_as_their_probability(temperature):
    p = neighbour_probabilities(SIMILARITIES, temperature)
    generator = torch.Generator().manual_seed(0)
    draws = 20_000
    wide = [tensor.repeat_interleave(draws, dim=0) for tensor in (ROWS, NEAR, p)]
    drawn = draw_neighbours(*wide, generator).view(3, draws)
    shares = (drawn[:, :, None] == NEAR[:, None, :]).float().mean(dim=1)
    torch.testing.assert_close(shares, p, rtol=0, atol=0.015)
    assert set(drawn[2].tolist()) == {12}, "an isolated document is its own neighbour"


def test_a_document_that_shares_nothing_is_never_drawn_whatever_the_random_number(monkeypatch):
    p = neighbour_probabilities(SIMILARITIES)
    for u in (0.0, 0.5, 1 - 2**-24):
        monkeypatch.setattr(torch, "rand", lambda shape, u=u, **options: torch.full(shape, u))
        assert int(draw_neighbours(ROWS, NEAR, p)[1]) == 7


def test_the_union_has_each_word_once_and_counts_who_has_it():
    neighbours = [[1, 4], [4, 0], [], [2], [2], [2, 3]]
    owner = torch.tensor([0, 0, 0, 2, 2, 2])
    union = union_of_words(bag_of(neighbours), owner, owners=4, words=5)
    found = [union.indices[union.document == d].tolist() for d in range(4)]
    assert found == [[0, 1, 4], [], [2, 3], []]
    assert union.offsets.tolist() == [0, 3, 3, 5]
    assert union.values.tolist() == [1.0, 1.0, 2.0, 3.0, 1.0]


def test_the_union_is_that_of_sets():
    generator = torch.Generator().manual_seed(0)
    dense = torch.rand(24, 30, generator=generator) < 0.1
    owner = torch.randint(0, 7, (24,), generator=generator)
    union = union_of_words(bag_of([row.nonzero()[:, 0].tolist() for row in dense]), owner, owners=7, words=30)
    for d in range(7):
        expected = dense[owner == d].sum(dim=0)
        assert union.indices[union.document == d].tolist() == expected.nonzero()[:, 0].tolist()
        assert union.values[union.document == d].tolist() == expected[expected > 0].tolist()
