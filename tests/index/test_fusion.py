"""Fusion of two lists: by reciprocal ranks, and where one of the lists has nothing."""

from __future__ import annotations

import numpy as np
import pytest

from texthash.index.fusion import fuse

NEAR, WORDS, NOTHING = np.array([7, 3, 5]), np.array([5, 8]), np.empty(0, np.int64)


def test_scores_are_those_of_the_equation():
    found = fuse(NEAR, WORDS, 4, weight=0.3, constant=2)
    scores = {7: 0.3 / 3, 3: 0.3 / 4, 5: 0.3 / 5 + 0.7 / 3, 8: 0.7 / 4}
    assert found.numbers.tolist() == sorted(scores, key=lambda number: -scores[number])
    assert found.scores == pytest.approx([scores[number] for number in found.numbers.tolist()])


@pytest.mark.parametrize(("weight", "expected"), [(0.0, [5, 8]), (1.0, [7, 3, 5])])
def test_a_list_without_weight_adds_nothing_to_the_other(weight, expected):
    assert fuse(NEAR, WORDS, 9, weight=weight).numbers.tolist() == expected


@pytest.mark.parametrize("weight", [0.0, 0.4, 1.0])
def test_where_one_list_is_empty_the_other_answers_whatever_the_weight(weight):
    assert fuse(NEAR, NOTHING, 9, weight=weight).numbers.tolist() == [7, 3, 5]
    assert fuse(NOTHING, WORDS, 9, weight=weight).numbers.tolist() == [5, 8]
    assert fuse(NOTHING, NOTHING, 9, weight=weight).numbers.tolist() == []
