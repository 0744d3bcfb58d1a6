"""Attributes in an index: written, changed, filtered, copied and kept by everything that copies documents."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import pytest

from tests.index.test_writer import built, codes, home, rewrite
from texthash.api.attributes import Value
from texthash.deployment.code_exchange import export_codes, import_codes
from texthash.index.filters.given import filter_of
from texthash.index.filters.language import FilterError, Row, where_of
from texthash.index.filters.types import AttributeTypeError
from texthash.index.memory.cost_model import Plan
from texthash.index.ranked import documents_of
from texthash.index.releases.backup import back_up, restore_backup
from texthash.index.releases.release import OpenRelease, open_release, read_release
from texthash.index.releases.snapshots import read_snapshot, take_snapshot
from texthash.index.releases.verify import verify
from texthash.index.search import SearchOptions, search_index
from texthash.index.writing.writer import IndexDocument, IndexWriter
from texthash.paths import StateDir

__all__ = ["built", "home"]  # fixtures

DAY = datetime(2024, 5, 1, tzinfo=UTC)
OWN: dict[str, dict[str, Value]] = {
    "a": {"year": 2024.0, "lang": "en", "free": True, "day": DAY},
    "b": {"year": 1999.0, "lang": "de"},
    "c": {"free": False},
    "d": {},
}
TYPES = {"year": "number", "lang": "string", "free": "boolean", "day": "date"}
FILTERS: list[dict[str, Any]] = [
    {"attributes": {"year": {"gte": 2000}}},
    {"attributes": {"year": {"lt": 2000}, "lang": {"eq": "de"}}},
    {"attributes": {"lang": {"exists": False}}},
    {"not": {"attributes": {"free": {"eq": True}}}, "labels": ["new"]},
    {"attributes": {"day": {"gt": {"date": "2024-04-30T23:59:59Z"}, "lte": {"date": "2024-05-01"}}}},
    {"any": [{"attributes": {"lang": {"prefix": "e"}}}, {"ids": ["c", "no such"]}]},
]


def write(home: StateDir, own: dict[str, dict[str, Value]] = OWN, value: int = 0) -> None:
    made = [IndexDocument(id_, f"text of {id_}", "title", ("new",), attributes) for id_, attributes in own.items()]
    with IndexWriter.open(home) as writer:
        writer.upsert(made, codes(len(made), value))


def attributes(opened: OpenRelease) -> dict[str, dict[str, Value]]:
    """Attributes of every document that has any, by id."""
    rows = [row for shard in opened.shards for row in shard.documents(shard.numbers, ["attributes"])]
    return {row["id"]: row["attributes"] for row in rows if row["attributes"]}


def found(opened: OpenRelease, made: dict[str, Any]) -> set[str]:
    where = where_of(filter_of(made), opened.release.attributes)
    assert where is not None
    return {row["id"] for shard in opened.shards for row in shard.documents(shard.select(where).numbers, [])}


def assert_kept(home: StateDir, own: dict[str, dict[str, Value]] = OWN) -> OpenRelease:
    """The current release has these attributes, and every filter keeps the documents that its definition keeps."""
    opened = open_release(home)
    assert attributes(opened) == {id_: values for id_, values in own.items() if values}
    rows = [row for shard in opened.shards for row in shard.documents(shard.numbers, ["labels", "attributes"])]
    for made in FILTERS:
        where = where_of(filter_of(made), opened.release.attributes)
        assert where is not None
        expected = {
            row["id"] for row in rows if where.matches(Row(row["id"], frozenset(row["labels"]), row["attributes"]))
        }
        assert found(opened, made) == expected
        for plan in get_args(Plan):
            options = SearchOptions(limit=10_000, where=where, plan=plan)
            page = search_index(opened.shards, options, code=codes(1)[0]).page
            assert {row["id"] for row in documents_of(opened.shards, page, [])} == expected
    assert [finding for finding in verify(home, sample=0) if not finding.ok] == []
    return opened


def test_documents_keep_their_attributes(home: StateDir) -> None:
    assert open_release(home).release.attributes == {}
    write(home)
    opened = assert_kept(home)
    assert opened.release.attributes == TYPES
    assert next(row for shard in opened.shards if (row := shard.document("a")))["attributes"] == OWN["a"]


def test_a_replaced_document_loses_the_attributes_that_it_had(home: StateDir) -> None:
    write(home)
    write(home, {"a": {"year": 3.0}, "e": {"kind": "x"}})
    opened = assert_kept(home, {**OWN, "a": {"year": 3.0}, "e": {"kind": "x"}})
    assert opened.release.attributes == {**TYPES, "kind": "string"}


def test_another_type_is_refused_by_name_and_nothing_is_written(home: StateDir) -> None:
    write(home)
    before = read_release(home)
    with pytest.raises(AttributeTypeError, match="'e' has the string 'n/a' as its attribute year, which is a number"):
        write(home, {"e": {"year": "n/a"}})
    with pytest.raises(AttributeTypeError, match=r"'f' has the number 1 as its attribute x, .* in the document 'e'"):
        write(home, {"e": {"x": "1"}, "f": {"x": 1.0}})
    assert read_release(home) == before


def test_types_stay_when_the_last_document_is_deleted(home: StateDir) -> None:
    write(home)
    with IndexWriter.open(home) as writer:
        writer.delete(ids=list(OWN))
        assert writer.release.attributes == TYPES
    assert found(open_release(home), {"attributes": {"year": {"exists": True}}}) == set()


@pytest.mark.parametrize("made", FILTERS)
def test_documents_are_deleted_by_filter(home: StateDir, made: dict[str, Any]) -> None:
    write(home)
    expected = found(open_release(home), made)
    with IndexWriter.open(home) as writer:
        assert writer.delete(given=filter_of(made)).documents == len(expected) > 0
        with pytest.raises(FilterError, match="'yaer'"):
            writer.delete(given=filter_of({"attributes": {"yaer": {"eq": 1}}}))
    opened = open_release(home)
    assert found(opened, made) == set()
    assert {id_ for id_ in OWN if id_ not in expected} == {
        id_ for id_ in OWN if any(s.document(id_) for s in opened.shards)
    }


def test_compaction_snapshots_and_rollback_keep_attributes(home: StateDir) -> None:
    write(home)
    take_snapshot(home, "before")
    write(home, {"a": {"kind": "x"}}, value=1)
    with IndexWriter.open(home) as writer:
        writer.compact()
    assert_kept(home, {**OWN, "a": {"kind": "x"}})
    with IndexWriter.open(home) as writer:
        writer.restore(read_release(home, read_snapshot(home, "before").release))
    assert assert_kept(home).release.attributes == TYPES
    write(home, {"e": {"kind": 1.0}})  # a name that the restored state does not know
    assert_kept(home, {**OWN, "e": {"kind": 1.0}})


def test_a_backup_holds_attributes_that_were_added_later(home: StateDir, tmp_path: Path) -> None:
    write(home)
    back_up(home, str(tmp_path / "backup"))
    other = StateDir(tmp_path / "other")
    restore_backup(other, str(tmp_path / "backup"))
    assert assert_kept(other).release.attributes == TYPES
    write(other, {"e": {"year": 1.0, "kind": "x"}})
    assert_kept(other, {**OWN, "e": {"year": 1.0, "kind": "x"}})


def test_an_export_comes_back_with_attributes(home: StateDir, tmp_path: Path) -> None:
    write(home)
    path = tmp_path / "codes.parquet"
    export_codes(home, path)
    with IndexWriter.open(home) as writer:
        writer.delete(ids=list(OWN))
    import_codes(home, path, lambda _: True)
    assert_kept(home)
    asked: list[str] = []
    write(home, {"a": {"year": 1.0}})
    import_codes(home, path, lambda what: not asked.append(what))
    assert "the attributes of 1 documents" in asked[0]
    assert_kept(home)


def test_an_older_release_opens_and_learns_attributes(home: StateDir) -> None:
    release = read_release(home)
    for state in release.shards:
        rewrite(home.path(state.uri) / "manifest.json", format=5)
    rewrite(home.root / "releases" / f"{release.name}.json", format=5)
    assert attributes(open_release(home)) == {}
    write(home)
    assert_kept(home)
