"""Fusion of two lists: by scores, by ranks, and where one of the lists has nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from texthash.index.fusion import Fusion, Side, fuse

NEAR = Side(np.array([7, 3, 5]), np.array([8.0, 4.0, -1.0]))
WORDS = Side(np.array([5, 8]), np.array([6.0, 3.0]))
NOTHING = Side(np.empty(0, np.int64), np.empty(0))


@pytest.mark.parametrize(
    ("fusion", "scores"),
    [
        (Fusion(0.3), {7: 0.3, 3: 0.3 / 2, 5: 0.7, 8: 0.7 / 2}),
        (Fusion(0.3, "ranks", 2), {7: 0.3, 3: 0.3 * 3 / 4, 5: 0.3 * 3 / 5 + 0.7, 8: 0.7 * 3 / 4}),
    ],
)
def test_scores_are_those_of_the_equation(fusion, scores):
    found = fuse(NEAR, WORDS, fusion, 4)
    assert found.numbers.tolist() == sorted(scores, key=lambda number: -scores[number])
    assert found.scores == pytest.approx([scores[number] for number in found.numbers.tolist()])
    places = dict(
        zip(found.numbers.tolist(), zip(found.semantic.tolist(), found.keyword.tolist(), strict=True), strict=True)
    )
    assert places == {7: (0, -1), 3: (1, -1), 5: (2, 0), 8: (-1, 1)}


def test_a_list_without_any_relation_keeps_its_order():
    below = Side(np.array([9, 4]), np.array([0.0, -3.0]))
    assert fuse(below, NOTHING, Fusion(), 5).numbers.tolist() == [9, 4]
    assert fuse(below, WORDS, Fusion(0.5), 5).numbers.tolist() == [5, 8, 9, 4]


@pytest.mark.parametrize("kind", ["scores", "ranks"])
@pytest.mark.parametrize(("weight", "expected"), [(0.0, [5, 8]), (1.0, [7, 3, 5])])
def test_a_list_without_weight_adds_nothing_to_the_other(weight, expected, kind):
    assert fuse(NEAR, WORDS, Fusion(weight, kind), 9).numbers.tolist() == expected


@pytest.mark.parametrize("weight", [0.0, 0.4, 1.0])
def test_where_one_list_is_empty_the_other_answers_whatever_the_weight(weight):
    assert fuse(NEAR, NOTHING, Fusion(weight), 9).numbers.tolist() == [7, 3, 5]
    assert fuse(NOTHING, WORDS, Fusion(weight), 9).numbers.tolist() == [5, 8]
    assert fuse(NOTHING, NOTHING, Fusion(weight), 9).numbers.tolist() == []


def _sides():
    numbers = st.lists(st.integers(0, 12), unique=True, max_size=9)
    return numbers.flatmap(
        lambda own: st.lists(st.integers(-3, 9), min_size=len(own), max_size=len(own)).map(
            lambda scores: Side(np.array(own, np.int64), np.array(sorted(scores, reverse=True), float))
        )
    )


@given(_sides(), _sides(), st.sampled_from([0.0, 0.3, 0.5, 1.0]), st.sampled_from(["scores", "ranks"]))
def test_every_order_is_that_of_brute_force(near, words, weight, kind):
    fusion = Fusion(weight, kind)
    if weight in (0, 1) and not len((words if weight == 0 else near).numbers):
        weight = 1 - weight
    total, order = {}, {}
    for side, share in ((near, weight), (words, 1 - weight)):
        for place, (number, score) in enumerate(zip(side.numbers.tolist(), side.scores.tolist(), strict=True)):
            if share:
                gain = 11 / (11 + place) if kind == "ranks" else max(score, 0) / max(side.scores[0], 1e-9)
                total[number] = total.get(number, 0.0) + share * gain
                order.setdefault(number, len(order))
    expected = sorted(total, key=lambda number: (-round(total[number], 9), order[number]))
    found = fuse(near, words, fusion, 30)
    assert found.numbers.tolist() == expected
    assert found.scores == pytest.approx([total[number] for number in expected])
    assert fuse(near, words, fusion, 2, 3).numbers.tolist() == expected[3:5]
