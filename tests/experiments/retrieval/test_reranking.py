"""Rows of a re-ranker: which documents it orders, and where the others are."""

from __future__ import annotations

import numpy as np
import pytest

from texthash.evaluation.retrieval.collection import Collection
from texthash.evaluation.retrieval.ranked import Cuts, Ranked
from texthash.evaluation.retrieval.table import Row, searched
from texthash.experiments.retrieval.reranking import PoolRows, reranked_row

DOCUMENTS = ["a", "bb bb", "ccc", "dddd", "eeeee", "f"]


class Longest:
    """The longest text first; the question says how many are read."""

    name = "longest"

    def scores(self, question, texts):
        return np.array([len(text) for text in texts], np.float32)


def row_of(name, *lists):
    made = [Ranked(np.array(numbers, np.int64), -np.arange(len(numbers), dtype=float)) for numbers in lists]
    return Row(name, lambda queries: [made[int(query)] for query in queries], bytes_per_document=3.0)


def order(row, query="0"):
    (ranked,) = row.search([query])
    return ranked.in_order().documents.tolist()


def test_the_first_are_ordered_again_and_later_ones_follow():
    row = reranked_row(row_of("words", [2, 0, 5, 4, 3], []), Longest(), DOCUMENTS, candidates=3)
    assert order(row) == [2, 0, 5, 4, 3]
    row = reranked_row(row_of("words", [0, 4, 5, 3, 1]), Longest(), DOCUMENTS, candidates=4)
    assert order(row) == [4, 3, 0, 5, 1]
    assert (row.name, row.bytes_per_document) == ("words, then longest", 3.0)
    assert order(reranked_row(row_of("words", [0], []), Longest(), DOCUMENTS), "1") == []


def test_a_pool_is_the_first_documents_of_one_row_in_the_order_of_another():
    pools = PoolRows(row_of("words", [5, 1, 3, 0], [2, 4]), candidates=3)
    other = row_of("codes", [0, 3, 2, 5], [])
    assert order(pools.ordered(other)) == [3, 5, 1]
    (ranked,) = pools.ordered(other).search(["1"])
    assert (ranked.documents.tolist(), len(set(ranked.scores.tolist()))) == ([2, 4], 1)
    assert order(pools.reranked(Longest(), DOCUMENTS)) == [1, 3, 5]
    assert order(pools.reranked(Longest(), DOCUMENTS), "1") == [4, 2]


def test_figures_of_a_pool_are_those_of_its_order():
    collection = Collection("c", "validation", list("012345"), DOCUMENTS, ["q", "r"], ["0", "1"], [{3: 1}, {0: 1}], [])
    pools = PoolRows(row_of("words", [5, 1, 3, 0], [2, 4]), candidates=3)
    found = searched(pools.ordered(row_of("codes", [0, 3, 2, 5], [4, 2])), collection, Cuts(precision=(1,)))
    assert found["p_at_1"] == pytest.approx(0.5)  # the answer of the second is in no pool
    assert found["map"] == pytest.approx(0.5)
    tied = searched(pools.ordered(row_of("nothing", [], [])), collection, Cuts(precision=(1,)))
    assert tied["p_at_1"] == pytest.approx(1 / 6)
    assert tied["map"] == pytest.approx((1 + 1 / 2 + 1 / 3) / 3 / 2)


def test_evenly_spaced_queries_of_a_collection():
    ids = [str(number) for number in range(9)]
    collection = Collection("c", "validation", ids, ids, ids, ids, [{number: 1} for number in range(9)], ["note"])
    some = collection.some(3)
    assert (list(some.query_ids), list(some.queries)) == (["0", "4", "8"], ["0", "4", "8"])
    assert list(some.judged) == [{0: 1}, {4: 1}, {8: 1}]
    assert list(some.notes) == ["note", "3 of 9 queries, evenly spaced."]
    assert collection.some(9) is collection
