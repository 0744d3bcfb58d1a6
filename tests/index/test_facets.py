"""Facets, sorts and pages: against one document at a time, over any division into shards."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.index.test_filters import ATTRIBUTES, FILTERS, TYPES, VALUES
from texthash.api.attributes import AttributeType, Value, read_attributes, read_value, write_value
from texthash.errors import UsageError
from texthash.index.filters.facets import check_facets, count_values, facet_counts
from texthash.index.filters.given import facets_of, filter_of
from texthash.index.filters.language import FilterError, Row, Where, where_of
from texthash.index.filters.masks import mask_of
from texthash.index.filters.order import After, Sort, checked_sort, first_of, page_of
from texthash.index.filters.parts import Part
from texthash.local.memory_table import MemoryTable

Document = tuple[list[str], dict[str, Any]]
LABELS = st.lists(st.sampled_from("xyz"), max_size=3)
SHARDS = st.lists(st.lists(st.tuples(LABELS, ATTRIBUTES), max_size=8), min_size=1, max_size=3)
SIZES = st.fixed_dictionaries({}, optional={"limit": st.integers(1, 3)})
FACETS: dict[str, st.SearchStrategy] = {
    "labels": SIZES,
    "lang": SIZES,
    "free": SIZES,
    **{
        name: st.fixed_dictionaries({"ranges": st.integers(1, 4)}, optional={"limit": st.integers(1, 3)})
        | SIZES
        | st.lists(VALUES[name], min_size=1, max_size=3, unique_by=lambda own: read_value(own)).map(
            lambda own: {"edges": sorted(own, key=read_value)}
        )
        for name in ("year", "day")
    },
}


class Numbered(MemoryTable):
    """Rows whose documents have numbers of their own."""

    def __init__(self, documents: list[Document], first: int, step: int) -> None:
        ids = [str(first + step * row) for row in range(len(documents))]
        super().__init__(ids, [own for own, _ in documents], [read_attributes(own) for _, own in documents])
        self._numbers = np.asarray(ids, np.int64) if ids else np.empty(0, np.int64)

    @property
    def numbers(self) -> np.ndarray:
        return self._numbers


def divided(shards: list[list[Document]], made: dict[str, Any] | None) -> tuple[list[Part], dict[int, Row]]:
    """Parts of the shards, whose numbers interleave, and the documents that the filter keeps by number."""
    where: Where | None = where_of(filter_of(made), TYPES)
    parts, rows = [], {}
    for shard, documents in enumerate(shards):
        table = Numbered(documents, shard, len(shards))
        parts.append(Part(table, np.ones(len(table), np.bool_) if where is None else mask_of(where, table)))
        for number, (labels, own) in zip(table.numbers.tolist(), documents, strict=True):
            row = Row(str(number), frozenset(labels), read_attributes(own))
            if where is None or where.matches(row):
                rows[number] = row
    return parts, rows


@given(SHARDS, FILTERS | st.none(), st.fixed_dictionaries({}, optional=FACETS).filter(bool))
def test_counts_are_those_of_the_documents(shards: list[list[Document]], made: Any, options: dict[str, Any]) -> None:
    parts, rows = divided(shards, made)
    facets = facets_of(options)
    kinds = check_facets(facets, TYPES)
    found = facet_counts(facets, kinds, [(len(part), count_values([part], kinds)) for part in parts])
    assert found["documents"] == len(rows)
    for name, counted in found["counts"].items():
        values = [sorted(row.labels) if name == "labels" else own(row, name) for row in rows.values()]
        have = [value for several in values for value in several]
        assert counted["documents"] == sum(bool(several) for several in values)
        assert counted["missing"] == len(rows) - counted["documents"]
        assert counted["distinct"] == len(set(have))
        if "values" in counted:
            order = sorted(set(have), key=lambda value: (-have.count(value), value))
            most = options[name].get("limit", 10)
            assert counted["values"] == [
                {"value": write_value(value), "count": have.count(value)} for value in order[:most]
            ]
            assert counted["rest"] == sum(have.count(value) for value in order[most:])
        if name in ("year", "day"):
            assert counted["min"] == (write_value(min(have)) if have else None)
            assert counted["max"] == (write_value(max(have)) if have else None)
        if "ranges" in counted:
            check_ranges(name, counted, options[name], rows)


def own(row: Row, name: str) -> list[Any]:
    return [row.attributes[name]] if name in row.attributes else []


def check_ranges(name: str, counted: dict[str, Any], options: dict[str, Any], rows: dict[int, Row]) -> None:
    """Each range, given as a filter, keeps the documents that it counts, and every document is in one of them."""
    for part in counted["ranges"]:
        kept = where_of(filter_of({"attributes": {name: part["range"]}}), TYPES)
        assert kept is not None
        assert part["count"] == sum(kept.matches(row) for row in rows.values())
    assert sum(part["count"] for part in counted["ranges"]) == counted["documents"]
    if "edges" in options:
        assert len(counted["ranges"]) == len(options["edges"]) + 1
    else:
        assert len(counted["ranges"]) <= options.get("ranges", 10)


def by_hand(rows: dict[int, Row], sort: Sort | None) -> list[int]:
    numbers = sorted(rows)
    if sort is None:
        return numbers
    have = [number for number in numbers if sort.attribute in rows[number].attributes]
    have.sort(key=lambda number: rows[number].attributes[sort.attribute], reverse=sort.descending)
    return have + [number for number in numbers if number not in have]


@given(SHARDS, FILTERS | st.none(), st.sampled_from([None, *TYPES]), st.booleans(), st.integers(1, 4))
def test_pages_follow_one_another_in_order(
    shards: list[list[Document]], made: Any, attribute: str | None, descending: bool, limit: int
) -> None:
    parts, rows = divided(shards, made)
    sort = None if attribute is None else Sort(attribute, descending)
    found: list[int] = []
    after: After | None = None
    while True:
        listed, owners = first_of([page_of([part], sort, after, limit) for part in parts], sort, limit)
        found += listed.numbers.tolist()
        for number, value, owner in zip(listed.numbers.tolist(), listed.values, owners.tolist(), strict=True):
            assert owner == number % len(shards)
            assert value == (None if attribute is None else rows[number].attributes.get(attribute))
        if len(listed.numbers) < limit:
            break
        after = After(int(listed.numbers[-1]), listed.values[-1])
    assert found == by_hand(rows, sort)


def counted(kind: AttributeType, values: list[Value | None], **options: Any) -> dict[str, Any]:
    table = MemoryTable(
        [str(n) for n in range(len(values))], [[] for _ in values], [{"a": v} if v is not None else {} for v in values]
    )
    facets = facets_of({"a": options})
    kinds = check_facets(facets, {"a": kind})
    part = Part(table, np.ones(len(values), np.bool_))
    found: dict[str, Any] = facet_counts(facets, kinds, [(len(part), count_values([part], kinds))])["counts"]["a"]
    return found


def ranges(found: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [(*part["range"].items(), part["count"]) for part in found["ranges"]]


def test_whole_numbers_and_days_have_whole_ranges() -> None:
    years = counted("number", [float(year) for year in range(1999, 2025)], ranges=10)
    assert [part["range"] for part in years["ranges"]] == [
        *({"gte": start, "lt": start + 3} for start in range(1999, 2023, 3)),
        {"gte": 2023, "lte": 2024},
    ]
    assert ranges(counted("number", [1.0, 5.0], ranges=5))[0] == (("gte", 1), ("lt", 2), 1)
    assert ranges(counted("number", [3.0, 3.0, None])) == [(("gte", 3), ("lte", 3), 2)]
    assert ranges(counted("number", [0.0, 0.5, 1.0], ranges=2)) == [
        (("gte", 0), ("lt", 0.5), 1),
        (("gte", 0.5), ("lte", 1), 2),
    ]
    start = datetime(2024, 1, 1, tzinfo=UTC)
    prices = counted("number", [1.21, 50.0, 199.79], ranges=10)
    assert [part["range"]["gte"] for part in prices["ranges"]][:4] == [1.21, 21.068, 40.926, 60.784]

    days = counted("date", [start, start + timedelta(days=1), start + timedelta(days=4)], ranges=2)
    assert ranges(days) == [
        (("gte", {"date": "2024-01-01"}), ("lt", {"date": "2024-01-04"}), 2),
        (("gte", {"date": "2024-01-04"}), ("lte", {"date": "2024-01-05"}), 1),
    ]
    times = counted("date", [start, start + timedelta(hours=1)], ranges=2)
    assert ranges(times)[1][0] == ("gte", {"date": "2024-01-01T01:00:00Z"})


@pytest.mark.parametrize("values", [[-1e308, 1e308], [0.1, np.nextafter(0.1, 1)], [5e-324, 0.5], [2.0**60, 2.0**61]])
def test_extreme_numbers_are_all_in_a_range(values: list[float]) -> None:
    found = counted("number", list(map(float, values)), ranges=100)
    assert sum(part["count"] for part in found["ranges"]) == len(values)


def test_an_empty_facet_has_no_values_and_no_ranges() -> None:
    assert counted("number", [None]) == {
        "type": "number",
        "documents": 0,
        "missing": 1,
        "distinct": 0,
        "min": None,
        "max": None,
        "ranges": [],
    }
    assert ranges(counted("number", [None], edges=[1.0])) == [(("lt", 1), 0), (("gte", 1), 0)]


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"yaer": {}}, "facets.yaer: no document of the index has had an attribute 'yaer'.\n.*'year'"),
        ({"lang": {"ranges": 2}}, "facets.lang.ranges: the attribute lang is a string, which cannot be counted in ran"),
        ({"labels": {"edges": ["a"]}}, "facets.labels.edges: labels cannot be counted in ranges"),
        ({"year": {"edges": ["a"]}}, "facets.year.edges.0: the attribute year is a number, not the string 'a'"),
        ({"year": {"edges": [2, 1]}}, "facets.year: edges does not ascend"),
        ({"year": {"edges": [1, "a"]}}, "facets.year: edges has values of two types"),
        ({"year": {"edges": [1], "ranges": 2}}, "facets.year: give ranges or edges, not both"),
        ({"year": {"limit": 0}}, "facets.year.limit"),
        ({"year": {"size": 1}}, "facets.year.size: is not a member of this object; "),
        ({}, "facets: "),
        ([], "facets: "),
        (None, "facets is a NoneType, not a list of names"),
        ({"year": 5}, "facets.year: must be an object; its members: "),
        ({"year": "ranges"}, "facets.year: must be an object; its members: "),
        ({"a b": {}}, "facets.a b"),
        ({f"a{n}": {} for n in range(33)}, "facets: "),
    ],
)
def test_a_facet_that_does_not_fit_names_its_place(given: Any, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        check_facets(facets_of(given), TYPES)


def test_a_sort_that_does_not_fit_names_its_place() -> None:
    with pytest.raises(FilterError, match=r"sort.attribute: documents cannot be sorted by their labels"):
        checked_sort("labels", False, TYPES)
    with pytest.raises(FilterError, match=r"sort.attribute: no document of the index has had an attribute 'yaer'"):
        checked_sort("yaer", False, TYPES)
