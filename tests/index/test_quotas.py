"""Quotas of labels: their sum, their shares, and the documents that they find, against a plain search."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from texthash.errors import UsageError
from texthash.index.memory.flat import Hits
from texthash.index.quotas import quotas, search_quotas


class PlainShard:
    """Documents with codes and labels in memory, every label of which is compared."""

    def __init__(self, codes, numbers, labels):
        self.stored, self.numbers, self.labels = codes, numbers, labels

    def search(self, codes, limit, offset=0, radius=None, where=None, threads=1, plan="auto"):
        own = [row for row, has in enumerate(self.labels) if set(has) & set(where.names)]
        distances = np.unpackbits(codes[0] ^ self.stored, axis=1).sum(axis=1)
        order = sorted(own, key=lambda row: (distances[row], self.numbers[row]))[offset : offset + limit]
        return Hits([distances[order].astype(np.uint16)], [self.numbers[order]], ["flat"], np.array([len(own)]))


def test_quotas_are_those_of_the_equation():
    shares = np.array([[0.5, 0.3, 0.2], [1.0, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3]])
    assert quotas(shares, 10).tolist() == [[5, 3, 2], [8, 1, 1], [4, 3, 3]]
    assert quotas(shares, 3).tolist() == [[1, 1, 1]] * 3


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=12).filter(lambda own: sum(own) > 0),
    st.integers(0, 200),
)
def test_quotas_sum_to_their_total_and_none_is_empty(own, more):
    shares = np.array([own]) / sum(own)
    total = len(own) + more
    found = quotas(shares, total)[0]
    assert found.sum() == total
    assert found.min() >= 1
    assert (np.abs(found - 1 - shares[0] * more) < 1 + 1e-9).all()


def test_shares_that_cannot_be_divided_are_refused():
    with pytest.raises(UsageError, match="2 candidates cannot be divided over 3 labels"):
        quotas(np.full((1, 3), 1 / 3), 2)
    for wrong in (np.nan, -0.1):
        with pytest.raises(UsageError, match="negative or not finite"):
            quotas(np.array([[0.5, wrong]]), 10)


def test_each_label_gives_its_nearest_documents_over_all_shards():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 256, (60, 2), dtype=np.uint8)
    labels = [[f"c{rng.integers(3)}", *(["c0"] if row % 7 == 0 else [])] for row in range(60)]
    numbers = np.arange(60)
    shards = [PlainShard(codes[i::2], numbers[i::2], labels[i::2]) for i in range(2)]
    asked = rng.integers(0, 256, (4, 2), dtype=np.uint8)
    wanted = np.array([[1, 5, 3], [9, 1, 1], [4, 4, 4], [1, 200, 1]])
    found = search_quotas(shards, asked, ["c0", "c1", "c2"], wanted)
    for query in range(4):
        expected = set()
        distances = np.unpackbits(asked[query] ^ codes, axis=1).sum(axis=1)
        for label, quota in zip(["c0", "c1", "c2"], wanted[query], strict=True):
            own = [row for row in range(60) if label in labels[row]]
            expected |= set(sorted(own, key=lambda row: (distances[row], row))[:quota])
        for i in range(2):
            hits = found[i].of(query)
            assert set(hits.numbers[0].tolist()) == {row for row in expected if row % 2 == i}
            keys = list(zip(hits.distances[0].tolist(), hits.numbers[0].tolist(), strict=True))
            assert keys == sorted(keys)
            assert all(distances[number] == distance for distance, number in keys)
