"""Facets and scrolling of an index in one process: in memory, saved, and as a release."""

from __future__ import annotations

from pathlib import Path

import pytest

import texthash
from texthash.errors import UsageError

TEXTS = ["sort an array", "sort a list of numbers", "open a file", "read a table", "plot a graph"]
OWN = [{"year": year, "level": level} for year, level in zip([1999, 2008, 2016, 2024, None], "aabbc", strict=True)]


@pytest.fixture(scope="module")
def index() -> texthash.Index:
    model = texthash.train("nash", TEXTS, bits=8)
    return texthash.Index(model, TEXTS, labels=[["x"], ["x", "y"], [], ["y"], ["x"]], attributes=OWN)


@pytest.mark.parametrize("saved", [False, True])
def test_documents_are_counted_and_listed(index: texthash.Index, tmp_path: Path, saved: bool) -> None:
    if saved:
        index = texthash.Index.open(index.save(tmp_path / "saved"))
    found = index.facets(["labels", "year"], filter={"attributes": {"level": {"in": ["a", "b"]}}})
    assert found["labels"]["values"] == [{"value": "x", "count": 2}, {"value": "y", "count": 2}]
    assert (found["labels"]["missing"], found["year"]["documents"]) == (1, 4)
    assert sum(part["count"] for part in found["year"]["ranges"]) == 4
    for page in (1, 2, 5, 9):
        assert [row["id"] for row in index.scroll(page=page)] == list("01234")
        assert [row["id"] for row in index.scroll(sort="year", descending=True, page=page)] == list("32104")
        listed = list(index.scroll({"labels": ["x"]}, sort="level", descending=True, page=page))
        assert [row["id"] for row in listed] == list("401")
    assert listed[1] == {
        "id": "0",
        "title": "",
        "text": TEXTS[0],
        "labels": ["x"],
        "attributes": {"year": 1999.0, "level": "a"},
    }


def test_labels_are_a_condition_wherever_a_filter_is(index: texthash.Index) -> None:
    early = {"attributes": {"year": {"lt": 2020}}}
    assert index.count(labels="x") == 3
    assert index.count(early, labels=["x", "y"]) == 2
    assert index.facets("level", early, labels="x")["level"]["values"] == [{"value": "a", "count": 2}]
    assert [row["id"] for row in index.scroll(early, labels="y")] == ["1"]
    assert [one.id for one in index.get(labels="y", filter=early)] == ["1"]
    own = texthash.Index(index.model, TEXTS, labels=[["x"], ["x"], ["y"], [], []])
    assert own.delete(labels="x") == 2
    assert [row["id"] for row in own.scroll()] == ["2", "3", "4"]


def test_what_does_not_fit_is_named(index: texthash.Index) -> None:
    with pytest.raises(UsageError, match=r"facets.yaer: no document .* 'yaer'"):
        index.facets("yaer")
    with pytest.raises(UsageError, match=r"facets.level.ranges: the attribute level is a string"):
        index.facets({"level": {"ranges": 2}})
    with pytest.raises(UsageError, match="sort: documents cannot be sorted by their labels"):
        index.scroll(sort="labels")
    with pytest.raises(UsageError, match="the number of documents of a page is 0"):
        index.scroll(page=0)
