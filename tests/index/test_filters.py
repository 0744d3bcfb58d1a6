"""The filter language: the masks of columns against its definition, one document at a time."""

from __future__ import annotations

import string
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from texthash.api.attributes import read_attributes, read_value, write_value
from texthash.errors import UsageError
from texthash.index.filters.columns import Column, array_of
from texthash.index.filters.given import filter_of
from texthash.index.filters.language import FilterError, Row, where_of
from texthash.index.filters.masks import mask_of
from texthash.index.filters.selection import Selection
from texthash.index.filters.types import AttributeTypeError, merged_types
from texthash.local.memory_table import MemoryTable

TYPES = {"year": "number", "lang": "string", "free": "boolean", "day": "date"}
STRINGS = st.sampled_from(["", "a", "ab", "abc", "b", "B", "é", "\U0001f600", "￿"])
DATES = st.sampled_from(["1969-12-31", "2024-02-29", "2024-02-29T12:00:00.000001Z", "2024-03-01T01:00:00+02:00"])
VALUES = {
    "year": st.sampled_from([-0.0, 0, 1, 2, 2.5, -1e300, 2**53]),
    "lang": STRINGS,
    "free": st.booleans(),
    "day": DATES.map(lambda text: {"date": text}),
}
ATTRIBUTES = st.fixed_dictionaries({}, optional={name: VALUES[name] | st.none() for name in VALUES})
ROWS = st.lists(st.tuples(st.lists(st.sampled_from("xyz"), max_size=2), ATTRIBUTES), max_size=12)


@st.composite
def conditions(draw: st.DrawFn) -> dict[str, Any]:
    name = draw(st.sampled_from(list(VALUES)))
    value = VALUES[name]
    operators: dict[str, Any] = {"eq": value, "in": st.lists(value, min_size=1, max_size=3), "exists": st.booleans()}
    if name != "free":
        operators |= {draw(st.sampled_from(["gt", "gte"])): value, draw(st.sampled_from(["lt", "lte"])): value}
    if name == "lang":
        operators["prefix"] = STRINGS.filter(bool)
    chosen = draw(st.lists(st.sampled_from(list(operators)), min_size=1, max_size=2, unique=True))
    return {name: {operator: draw(operators[operator]) for operator in chosen}}


LEAVES = (
    conditions().map(lambda own: {"attributes": own})
    | st.lists(st.sampled_from("xyz?"), min_size=1, max_size=2).map(lambda own: {"labels": own})
    | st.lists(st.sampled_from(["0", "3", "none"]), min_size=1, max_size=2).map(lambda own: {"ids": own})
)
FILTERS = st.recursive(
    LEAVES,
    lambda inner: (
        st.fixed_dictionaries({"not": inner})
        | st.fixed_dictionaries({"all": st.lists(inner, min_size=1, max_size=3)})
        | st.fixed_dictionaries({"any": st.lists(inner, min_size=1, max_size=3), "not": inner})
    ),
    max_leaves=8,
).filter(lambda made: _depth(made) <= 8)


def _depth(made: Any) -> int:
    inner = [made["not"]] if "not" in made else []
    return 1 + max((_depth(one) for one in [*inner, *made.get("all", ()), *made.get("any", ())]), default=0)


@given(ROWS, FILTERS)
def test_masks_keep_the_documents_that_the_definition_keeps(rows: list, made: dict[str, Any]) -> None:
    ids = [str(number) for number in range(len(rows))]
    labels, attributes = [own for own, _ in rows], [read_attributes(own) for _, own in rows]
    where = where_of(filter_of(made), TYPES)
    assert where is not None
    expected = [
        where.matches(Row(id_, frozenset(own), values))
        for id_, own, values in zip(ids, labels, attributes, strict=True)
    ]
    assert mask_of(where, MemoryTable(ids, labels, attributes)).tolist() == expected


@given(st.data())
def test_a_selection_knows_the_numbers_that_it_keeps(data: st.DataObject) -> None:
    some = data.draw(st.lists(st.integers(0, 40), unique=True, max_size=20).map(sorted))
    base = np.asarray(some, np.int64)
    rows = np.asarray([data.draw(st.booleans()) for _ in base], np.bool_)
    gone = np.asarray(data.draw(st.lists(st.integers(0, 60), unique=True, max_size=9)), np.int64)
    more = np.asarray(data.draw(st.lists(st.integers(0, 60), unique=True, max_size=9).map(sorted)), np.int64)
    kept = np.asarray([data.draw(st.booleans()) for _ in more], np.bool_)
    found = Selection.of_rows(base, rows).with_rows(more, kept, np.union1d(gone, more))
    expected = sorted({*base[rows].tolist()} - {*gone.tolist(), *more.tolist()} | {*more[kept].tolist()})
    assert found.numbers.tolist() == expected
    assert len(found) == len(expected)
    asked = np.asarray(data.draw(st.lists(st.integers(-5, 70), unique=True, max_size=30).map(sorted)), np.int64)
    assert found.of(asked, ascending=True).tolist() == [number in expected for number in asked]


def test_columns_count_and_find_places() -> None:
    column = Column.of(array_of([2.0, None, 1.0, 2.0], "number"))
    assert column.distinct.to_pylist() == [1.0, 2.0]
    assert column.counts().tolist() == [1, 2]
    assert column.counts(np.array([True, True, False, False])).tolist() == [0, 1]
    assert len(Column.of(array_of([], "string"))) == 0


@pytest.mark.parametrize(
    ("made", "problem"),
    [
        (
            {"attributes": {"yaer": {"eq": 2}}},
            "yaer: no document of the index has had an attribute 'yaer'.\n.*'year'",
        ),
        ({"not": {"attributes": {"yaer": {"eq": 2}}}}, "filter.not.attributes.yaer: no document"),
        (
            {"any": [{"attributes": {"year": {"eq": "2024"}}}]},
            r"any.0.attributes.year.eq: .* a number, not the str",
        ),
        ({"attributes": {"day": {"gte": "2024-01-01"}}}, "day is a date, not the string '2024-01-01'"),
        ({"attributes": {"free": {"gt": True}}}, "free is a boolean, which cannot be filtered by a range"),
        ({"attributes": {"year": {"prefix": "20"}}}, "year is a number, which cannot be filtered by a prefix"),
        ({"attributes": {"free": {"eq": 1}}}, "free is a boolean, not the number 1"),
        ({"attributes": {"lang": {"in": ["a", 1]}}}, "lang.in.1: the attribute lang is a string, not the number 1"),
    ],
)
def test_a_filter_that_does_not_fit_the_index_names_place_and_type(made: dict[str, Any], problem: str) -> None:
    with pytest.raises(FilterError, match=problem):
        where_of(filter_of(made), TYPES)


def test_an_index_without_attributes_says_how_it_gets_some() -> None:
    with pytest.raises(FilterError, match="has had an attribute 'year'") as raised:
        where_of(filter_of({"attributes": {"year": {"eq": 1}}}), {})
    assert "corpus.attributes" in raised.value.remedy


def nested(depth: int) -> dict[str, Any]:
    made: dict[str, Any] = {"labels": ["a"]}
    for _ in range(depth):
        made = {"not": made}
    return made


@pytest.mark.parametrize(
    ("made", "problem"),
    [
        ({}, "filter: give at least one of labels"),
        ({"labels": None}, "filter: labels is null"),
        ({"any": []}, "filter.any: .*at least 1"),
        ({"all": []}, "filter.all: .*at least 1"),
        ({"labels": []}, "filter.labels: .*at least 1"),
        ({"attributes": {}}, "filter.attributes: .*at least 1"),
        ({"attributes": {"year": {}}}, "filter.attributes.year: give at least one of eq"),
        ({"attributes": {"year": {"gt": 1, "gte": 2}}}, "give gt or gte, not both"),
        ({"attributes": {"year": {"gt": float("nan")}}}, "year.gt: is nan, not a finite number"),
        ({"attributes": {"year": {"eq": 2**53 + 1}}}, "year.eq: is a whole number beyond"),
        ({"attributes": {"year": {"eq": [1]}}}, "year.eq: is a list"),
        (
            {"attributes": {"day": {"eq": {"date": "29.2.2024"}}}},
            "is the date '29.2.2024', which is not in the",
        ),
        ({"attributes": {"day": {"eq": {"date": "2023-02-29"}}}}, "2023-02-29', which does not exist"),
        ({"attributes": {"a b": {"eq": 1}}}, "attributes.a b"),
        ({"year": 2}, "filter.year: is not a member of this object; known: all, any, attributes, ids, labels, not"),
        ({"not": {"lables": ["a"]}}, "filter.not.lables: .* did you mean 'labels'"),
        ({"any": [{"not": {"attributes": {"year": {"gtt": 1}}}}]}, "attributes.year.gtt: .* did you mean 'gt'"),
        ({"attributes": {"year": {"inn": [1]}}}, "year.inn: .* did you mean 'in'"),
        ({"gte": 3}, "filter.gte: .* it belongs into 'attributes'"),
        ({"attributes": {"year": 3}}, "attributes.year: must be an object; its members: eq, in, gt,"),
        (nested(8), "nested more than 8 levels"),
        (nested(20_000), "nested more than 8 levels"),
        ({"any": [{"labels": ["a"]}] * 65}, "filter.any"),
        ({"any": [{"any": [{"labels": ["a"]}] * 64}] * 64}, "more than 256 conditions"),
        ({"ids": ["a"] * 10_001}, "filter.ids"),
        ("labels", "not a mapping"),
    ],
)
def test_a_filter_of_another_form_is_refused(made: Any, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        filter_of(made)


@given(
    st.sampled_from(string.printable)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(-(2**53), 2**53)
    | st.booleans()
    | st.datetimes(
        min_value=datetime(1, 1, 2),
        max_value=datetime(9999, 12, 30),
        timezones=st.sampled_from([UTC, timezone(timedelta(hours=-9.5)), timezone(timedelta(hours=14))]),
    )
)
def test_values_keep_their_form_in_json(value: Any) -> None:
    read = read_value(value)
    assert read == value
    assert read_value(write_value(read)) == read


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (float("inf"), "not a finite"),
        (10**400, "beyond"),
        ("x" * 1025, "1025 characters"),
        ("\ud800", "lone surrogate"),
        ({"date": 2024}, "is an object"),
        ({"date": "2024-05-01", "zone": "UTC"}, "is an object"),
        ({"date": "2024-W18-3"}, "not in the form"),
        ({"date": "0001-01-01T00:00:00+05:00"}, "does not exist|outside"),
        ([], "is a list"),
        (None, "None"),
    ],
)
def test_other_values_are_refused(value: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        read_value(value)


def test_dates_have_one_form() -> None:
    forms = ("2024-05-01", "2024-05-01T00:00", "2024-05-01t00:00:00z", "2024-05-01 02:00:00+02:00")
    assert {read_value({"date": form}) for form in forms} == {datetime(2024, 5, 1, tzinfo=UTC)}
    assert write_value(datetime(33, 5, 1, tzinfo=UTC)) == {"date": "0033-05-01"}
    assert write_value(datetime(33, 5, 1, 0, 0, 1, tzinfo=UTC)) == {"date": "0033-05-01T00:00:01Z"}


@pytest.mark.parametrize("name", ["", "1a", "a b", "a.b", "ä", "x" * 65, "labels", "id", 1])
def test_names_of_attributes_are_plain(name: Any) -> None:
    with pytest.raises(ValueError, match="cannot name an attribute"):
        read_attributes({name: 1})
    with pytest.raises(ValueError, match="at most 64"):
        read_attributes({f"a{number}": 1 for number in range(65)})


def test_the_first_value_fixes_the_type() -> None:
    types = merged_types({"year": "number"}, [("a", {"lang": "en"}), ("b", {"year": 2024.0})])
    assert types == {"year": "number", "lang": "string"}
    with pytest.raises(
        AttributeTypeError, match=r"'c' has the boolean True as its attribute lang, .* string in .* 'a'"
    ):
        merged_types({}, [("a", {"lang": "en"}), ("c", {"lang": True})])
    with pytest.raises(AttributeTypeError, match="number in the index"):
        merged_types(types, [("c", {"year": "n/a"})])
    with pytest.raises(AttributeTypeError, match="257 attributes"):
        merged_types({}, [(str(n), {f"a{n}": 1.0}) for n in range(257)])
