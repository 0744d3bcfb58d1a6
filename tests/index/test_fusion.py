"""Fusion of two lists: by reciprocal ranks, and where one of the lists has nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from texthash.index.fused import HybridLists, hybrid_pages, load_kernel, plain_page
from texthash.index.fusion import fuse
from texthash.index.keywords.postings import KeywordHits
from texthash.index.memory.hits import Hits

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


def _lists(rng: np.random.Generator, shards: int, documents: int) -> HybridLists:
    """Lists of a query over documents that the shards have in turns, with many ties."""
    near, words, distances = [], [], []
    for shard in range(shards):
        own = np.arange(shard, documents, shards)
        some = rng.permutation(own)[: rng.integers(0, len(own) + 1)]
        far = rng.integers(0, 4, len(some)).astype(np.uint16)
        order = np.lexsort((some, far))
        near.append(Hits([far[order]], [some[order]]))
        others = rng.permutation(own)[: rng.integers(0, len(own) + 1)]
        scores = rng.integers(1, 4, len(others)) / 3
        order = np.lexsort((others, -scores))
        words.append(KeywordHits(others[order], scores[order]))
        distances.append(rng.integers(-1, 4, len(others)))
    which = rng.integers(0, 4)
    limit, offset = int(rng.integers(1, 12)), int(rng.integers(0, 5))
    return HybridLists(
        near=near if which != 1 else (),
        words=words if which > 1 else (),
        distances=distances if which > 1 else (),
        limit=limit,
        offset=offset,
        depth=limit + offset + int(rng.integers(0, 20)),
        weight=float(rng.choice([0.0, 0.1, 0.5, 1.0])),
        constant=float(rng.choice([1.0, 10.0, 60.5])),
    )


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    queries=st.integers(1, 5),
    shards=st.integers(1, 3),
    documents=st.integers(3, 60),
)
def test_the_kernel_makes_the_pages_that_numpy_makes(seed, queries, shards, documents):
    load_kernel()
    rng = np.random.default_rng(seed)
    lists = [_lists(rng, shards, documents) for _ in range(queries)]
    for (page, members), own in zip(hybrid_pages(lists), lists, strict=True):
        plain, expected = plain_page(own)
        assert members == expected
        assert page.numbers.tolist() == plain.numbers.tolist()
        assert page.owners.tolist() == plain.owners.tolist()
        assert (page.distances, page.scores) == (plain.distances, plain.scores)


def test_no_queries_have_no_pages():
    load_kernel()
    assert hybrid_pages([]) == []
