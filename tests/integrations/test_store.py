"""One interface over an index and a service: the same documents, filters and errors on both."""

from __future__ import annotations

import datetime

import numpy as np
import pytest

from texthash.errors import TexthashError, UsageError
from texthash.integrations.diversity import diverse
from texthash.integrations.filters import EVERYTHING, NOTHING, compare, every, negate, of_mapping, some
from texthash.integrations.metadata import join_metadata, split_metadata
from texthash.integrations.store import Entry, Query, Store, store_of

BORN = datetime.datetime(2024, 5, 1, 12, tzinfo=datetime.UTC)
METADATA = {
    "a": {"year": 2020, "draft": True, "source": "a.txt", "born": BORN, "labels": ["news", "sport"]},
    "b": {"year": 2021, "score": 0.5, "source": "b.txt", "id": 7, "pages": [1, 2], "nested": {"x": None}, "none": None},
    "c": {"year": 2022, "long": "x" * 5000, "title": "A title", "source file": "c.txt"},
    "d": {},
}
TEXT = {"a": "sort an array", "b": "open a file", "c": "a table of numbers", "d": "plot a figure"}


def fill(store: Store) -> None:
    store.add([Entry(id_, TEXT[id_], metadata, kept={"of": id_}) for id_, metadata in METADATA.items()])


def test_documents_come_back_as_they_were(store: Store) -> None:
    fill(store)
    found = store.get(["d", "missing", "c", "b", "a"])
    assert [one.id for one in found] == ["d", "c", "b", "a"]
    for one in found:
        assert (one.text, one.metadata, one.kept) == (TEXT[one.id], METADATA[one.id], {"of": one.id})
        assert one.code.shape == (store.bits // 8,)
    store.add([Entry("a", "another text", {"year": 1})])
    (one,) = store.get(["a"])
    assert (one.text, one.metadata, one.kept) == ("another text", {"year": 1}, {})
    assert store.count() == 4
    assert store.attributes["year"] == "number"


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        (None, "abcd"),
        (NOTHING, ""),
        (EVERYTHING, "abcd"),
        (compare("year", "==", 2021), "b"),
        (compare("year", "!=", 2021), "acd"),
        (compare("year", ">", 2020), "bc"),
        (compare("year", ">=", 2021), "bc"),
        (compare("year", "<", 2021), "a"),
        (compare("year", "<=", 2021), "ab"),
        (compare("year", "in", [2020, 2022]), "ac"),
        (compare("year", "not in", [2020, 2022]), "bd"),
        (compare("year", "in", []), ""),
        (compare("year", "==", None), "d"),
        (compare("year", "!=", None), "abc"),
        (compare("year", ">", None), ""),
        (compare("born", "<", BORN + datetime.timedelta(days=1)), "a"),
        (compare("labels", "==", "sport"), "a"),
        (compare("labels", "not in", ["sport"]), "bcd"),
        (every([compare("year", ">", 2020), compare("source", "==", "b.txt")]), "b"),
        (some([compare("draft", "==", True), compare("source", "==", "b.txt")]), "ab"),
        (negate(negate(compare("year", "==", 2021))), "b"),
        (of_mapping({"year": {"gte": 2021}, "source": "b.txt"}), "b"),
        (of_mapping({"year": [2020, 2021]}), "ab"),
        (of_mapping({"labels": ["news"]}), "a"),
        (of_mapping({}), "abcd"),
    ],
)
def test_filters(store: Store, filter: dict | None, expected: str) -> None:
    fill(store)
    assert sorted(one.id for one in store.select(filter)) == list(expected)
    assert store.count(filter) == len(expected)
    found = store.search(Query(text="sort an array", mode="keyword", filter=filter), 10)
    assert {hit.stored.id for hit in found} <= set(expected)


def test_searches_of_each_mode(store: Store) -> None:
    fill(store)
    first, *more = store.search(Query(text="sort an array"), 4)
    assert (first.stored.id, first.score, first.stored.kept) == ("a", 1.0, {"of": "a"})
    assert 0 < len(more) <= 3
    (word,) = store.search(Query(text="array", mode="keyword"), 4)
    assert word.stored.id == "a"
    both = store.search(Query(text="sort an array", mode="hybrid", weight=0.25), 4)
    assert both[0].stored.id == "a"
    assert both[0].score == pytest.approx(1)


def test_documents_are_deleted(store: Store) -> None:
    fill(store)
    assert store.delete(["a", "missing"]) == 1
    assert store.delete_where(compare("year", "==", 2021)) == 1
    assert {one.id for one in store.select(None)} == {"c", "d"}
    assert store.delete_where(None) == 2
    assert store.count() == 0
    assert store.search(Query(text="sort an array"), 4) == []
    store.add([])
    assert store.delete([]) == 0


def test_a_service_lists_no_document_without_a_code(client) -> None:
    store = store_of(client)
    store.add([Entry("known", "sort an array", {}), Entry("unknown", "qzxv", {})])
    with pytest.raises(TexthashError, match="keeps 2 documents, of which the service lists 1"):
        store.select(None)


def test_more_documents_than_a_request_holds(client) -> None:
    store = store_of(client)
    store.add([Entry(f"n{number}", f"sort the array {number}", {"number": number}) for number in range(600)])
    assert store.count(compare("number", ">=", 300)) == 300
    large = "array " * 10_000
    store.add([Entry(f"large{number}", large, {}) for number in range(40)])  # 2.4 MB
    assert store.count() == 640
    assert store.delete([f"n{number}" for number in range(600)]) == 600


def test_errors_name_what_is_wrong(store: Store) -> None:
    fill(store)
    with pytest.raises(UsageError, match=r"'id' cannot be filtered by"):
        compare("id", "==", 1)
    with pytest.raises(UsageError, match=r"no operator '~'"):
        compare("year", "~", 1)
    with pytest.raises(UsageError, match="not a list"):
        compare("year", "in", 3)
    with pytest.raises(UsageError, match="labels do not compare by '>'"):
        compare("labels", ">", "a")
    with pytest.raises(UsageError, match="not a mapping"):
        of_mapping(["year"])  # type: ignore[arg-type]
    with pytest.raises(TexthashError, match="yaer"):
        store.search(Query(text="a", filter=compare("yaer", "==", 1)), 3)
    with pytest.raises(UsageError, match=r"'here'.*cannot be written as JSON"):
        store.add([Entry("x", "text", {"here": {"it is": object()}})])
    with pytest.raises(UsageError, match="at most 32768 are kept"):
        store.add([Entry("x", "text", {"long": "x" * 40_000})])
    with pytest.raises(UsageError, match="neither an index nor a client"):
        store_of("http://127.0.0.1:8000")  # type: ignore[arg-type]
    assert store.count() == 4


def test_metadata_of_many_names() -> None:
    metadata = {f"name{number}": number for number in range(100)}
    attributes, labels = split_metadata(metadata)
    assert len(attributes) <= 64
    assert labels == []
    assert join_metadata(attributes) == (metadata, {})


def by_formula(codes: np.ndarray, query: np.ndarray, k: int, weight: float) -> list[int]:
    """Maximal marginal relevance with the cosine of vectors of -1 and 1, one step at a time."""
    signs = np.unpackbits(codes, axis=1) * 2.0 - 1
    cosine = signs @ signs.T / signs.shape[1]
    taken = [int(np.argmax(query))]
    while len(taken) < min(k, len(codes)):
        left = [place for place in range(len(codes)) if place not in taken]
        taken.append(max(left, key=lambda p: (weight * query[p] - (1 - weight) * max(cosine[p, t] for t in taken), -p)))
    return taken


@pytest.mark.parametrize("weight", [0.0, 0.3, 0.5, 1.0])
def test_diverse_codes(weight: float) -> None:
    generator = np.random.default_rng(3)
    codes = generator.integers(0, 256, (30, 4), np.uint8)
    query = generator.permutation(np.linspace(-1, 1, 30))
    assert diverse(codes, query, 12, weight) == by_formula(codes, query, 12, weight)
    with pytest.raises(UsageError, match="weight of the relevance is 2"):
        diverse(codes, query, 3, 2)
