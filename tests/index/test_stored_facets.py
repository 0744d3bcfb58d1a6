"""Facets and pages of a stored index that is written to: against its documents, one at a time."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.index.test_stored_attributes import FILTERS, OWN, TYPES, built, codes, home, write
from texthash.api.attributes import write_value
from texthash.index.filters.given import facets_of as facets_given
from texthash.index.filters.given import filter_of
from texthash.index.filters.language import Row, where_of
from texthash.index.filters.order import Sort
from texthash.index.matches import Matches, facets_of, scroll
from texthash.index.releases.release import OpenRelease, open_release
from texthash.index.writing.writer import IndexDocument, IndexWriter
from texthash.paths import StateDir

__all__ = ["built", "home"]  # fixtures


def check(opened: OpenRelease) -> None:
    """Facets and pages of every filter are those of the documents that its definition keeps."""
    rows = {}
    for shard in opened.shards:
        for number, row in zip(
            shard.numbers.tolist(), shard.documents(shard.numbers, ["labels", "attributes"]), strict=True
        ):
            rows[number] = Row(row["id"], frozenset(row["labels"]), row["attributes"])
    for made in [None, *FILTERS]:
        where = where_of(filter_of(made), TYPES)
        kept = {number: rows[number] for number in sorted(rows) if where is None or where.matches(rows[number])}
        options = facets_given({"labels": {"limit": 1000}, **{name: {"limit": 1000} for name in TYPES}})
        counted = facets_of(opened.shards, options, Matches(where), TYPES)
        assert counted["documents"] == len(kept)
        for name, facet in counted["counts"].items():
            values = [
                value
                for row in kept.values()
                for value in (
                    row.labels if name == "labels" else [row.attributes[name]] if name in row.attributes else []
                )
            ]
            found = [(value["value"], value["count"]) for value in facet["values"]]
            counts = Counter(values)
            expected = sorted(counts, key=lambda value: (-counts[value], value))
            assert found == [(write_value(value), counts[value]) for value in expected]
        for sort in (None, Sort("year"), Sort("day", descending=True)):
            listed = [row["id"] for row in scroll(opened.shards, where, sort, ["title"], 7)]
            assert listed == [row.id for row in in_order(kept, sort)]


def in_order(kept: dict[int, Row], sort: Sort | None) -> list[Row]:
    rows = list(kept.values())
    if sort is None:
        return rows
    have: list[Any] = [row for row in rows if sort.attribute in row.attributes]
    have.sort(key=lambda row: row.attributes[sort.attribute], reverse=sort.descending)
    return have + [row for row in rows if sort.attribute not in row.attributes]


def test_they_follow_writes_and_compaction(home: StateDir) -> None:
    write(home)
    check(open_release(home))
    opened = open_release(home)
    write(home, {"a": {"year": 3.0}, "b": {}, "e": {"year": 3.0, "lang": "fr"}})
    with IndexWriter.open(home) as writer:
        writer.delete(ids=["c", *(row["id"] for row in opened.shards[0].documents(opened.shards[0].numbers[:3], []))])
    changed = open_release(home)
    check(changed)
    check(open_release(home, opened.release.name))
    # The difference of the versions leads to the same as a new opening.
    advanced = [old.advanced(state.version) for old, state in zip(opened.shards, changed.release.shards, strict=True)]
    check(OpenRelease(changed.release, changed.hasher, advanced))
    with IndexWriter.open(home) as writer:
        writer.compact()
    check(open_release(home))


@pytest.mark.parametrize("base", [True, False])
def test_a_label_that_a_document_has_twice_counts_once(home: StateDir, base: bool) -> None:
    before = open_release(home)
    made = [IndexDocument("twice", "text", "title", ("own", "b", "own"), {}), IndexDocument("x", "t", "", ("b",), {})]
    with IndexWriter.open(home) as writer:
        writer.upsert(made, codes(2, 0))
    opened = open_release(home)
    shards = list(opened.shards)
    if not base:
        shards = [old.advanced(state.version) for old, state in zip(before.shards, opened.release.shards, strict=True)]
    facet = facets_given({"labels": {"limit": 1000}})
    counted = facets_of(shards, facet, Matches(where_of(filter_of({"ids": ["twice", "x"]}), TYPES)), TYPES)
    assert counted["counts"]["labels"]["values"] == [{"value": "b", "count": 2}, {"value": "own", "count": 1}]
    assert counted["counts"]["labels"]["documents"] == 2


def test_documents_without_any_attribute_are_missing(home: StateDir) -> None:
    write(home)
    opened = open_release(home)
    counted = facets_of(opened.shards, facets_given("year"), Matches(), TYPES)
    year = counted["counts"]["year"]
    assert (year["documents"], year["missing"]) == (2, opened.release.documents - 2)
    assert OWN["a"]["year"] == year["max"]
