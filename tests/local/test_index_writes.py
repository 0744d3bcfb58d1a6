"""Writes to an index in memory: afterwards it answers as one that was made of the same documents at once."""

from __future__ import annotations

import datetime

import numpy as np
import pytest

import texthash
from tests.local.conftest import LABELS, TEXTS
from texthash.errors import TexthashError, UsageError

IDS = [f"d{number}" for number in range(len(TEXTS))]
YEARS = [{"year": 2000 + number} for number in range(len(TEXTS))]


def answers(index: texthash.Index) -> list[tuple]:
    """Hits of searches in every mode, with and without a filter."""
    found = []
    for mode in ("semantic", "keyword", "hybrid"):
        for options in ({}, {"labels": "file"}, {"filter": {"attributes": {"year": {"gte": 2005}}}}):
            hits = index.search("open a file paris", 100, mode=mode, **options)
            found.append((hits.ids, hits.distances.tolist(), hits.texts, hits.labels, hits.attributes))
    return found


def test_documents_added_in_parts_are_searched_as_those_added_at_once(model):
    whole = texthash.Index(model, TEXTS, ids=IDS, labels=LABELS, attributes=YEARS)
    grown = texthash.Index(model, TEXTS[:5], ids=IDS[:5], labels=LABELS[:5], attributes=YEARS[:5])
    grown.search("open a file")  # the tables of the first five are made
    for part in (slice(5, 6), slice(6, len(TEXTS))):
        grown.upsert(TEXTS[part], ids=IDS[part], labels=LABELS[part], attributes=YEARS[part])
    assert answers(grown) == answers(whole)
    assert grown.count() == len(TEXTS)


def test_an_empty_index_grows(model, tmp_path):
    index = texthash.Index(model, [])
    assert len(index.search("open a file")) == 0
    opened = texthash.Index.open(index.save(tmp_path / "empty"))
    opened.upsert(TEXTS, ids=IDS, labels=LABELS, attributes=YEARS)
    assert answers(opened) == answers(texthash.Index(model, TEXTS, ids=IDS, labels=LABELS, attributes=YEARS))


def test_a_document_is_replaced_in_its_place(model):
    index = texthash.Index(model, TEXTS, ids=IDS, attributes=YEARS)
    index.upsert(["open a file", "read a file"], ids=["d3", "new"])
    texts, years = [*TEXTS], [*YEARS]
    texts[3], years[3] = "open a file", {}
    expected = texthash.Index(model, [*texts, "read a file"], ids=[*IDS, "new"], attributes=[*years, {}])
    assert answers(index) == answers(expected)
    (found,) = index.get("d3")
    assert (found.text, found.attributes) == ("open a file", {})


def test_what_is_deleted_is_not_found(model):
    index = texthash.Index(model, TEXTS, ids=IDS, labels=LABELS, attributes=YEARS)
    assert index.delete(["d1", "nothing"]) == 1
    assert index.delete(filter={"attributes": {"year": {"lt": 2004}}}) == 3
    kept = slice(4, None)
    expected = texthash.Index(model, TEXTS[kept], ids=IDS[kept], labels=LABELS[kept], attributes=YEARS[kept])
    assert answers(index) == answers(expected)
    assert index.delete(filter={"not": {"ids": [""]}}) == len(TEXTS) - 4
    assert len(index) == 0
    for refused in (index.delete, index.get):
        with pytest.raises(UsageError, match="either ids or a filter"):
            refused()


def test_documents_are_read_by_id(model):
    born = datetime.datetime(2024, 5, 1, tzinfo=datetime.UTC)
    index = texthash.Index(model, TEXTS[:2], ids=["a", "b"], labels=["x", None], attributes=[{"born": born}, None])
    assert index.attributes == {"born": "date"}
    assert [one.id for one in index.get(filter={"not": {"labels": ["x"]}})] == ["b"]
    b, a = index.get(["b", "missing", "a"])
    assert (b.id, b.text, b.labels, b.attributes) == ("b", TEXTS[1], [], {})
    assert (a.id, a.labels, a.attributes) == ("a", ["x"], {"born": born})
    assert np.array_equal(np.frombuffer(a.code, np.uint8), model.encode([TEXTS[0]])[0])


def test_an_attribute_keeps_its_type(model):
    index = texthash.Index(model, TEXTS, ids=IDS, attributes=YEARS)
    before = answers(index)
    with pytest.raises(UsageError, match=r"'d2'.*year, which is a number"):
        index.upsert(["a text"], ids=["d2"], attributes=[{"year": "soon"}])
    assert answers(index) == before


def test_a_release_is_read_and_not_written(small_corpus, small_hasher, tmp_path, monkeypatch):
    from texthash.index.releases.publish import publish
    from texthash.index.writing.build import build_index
    from texthash.paths import StateDir

    home = StateDir(tmp_path)
    publish(home, small_hasher, build_index(small_hasher, small_corpus.path, home, shards=2))
    monkeypatch.setenv("TEXTHASH_HOME", str(tmp_path))
    index = texthash.Index.open()
    ids = index.search("sort an array", k=5).ids
    found = index.get([*ids, "no such id"])
    assert [one.id for one in found] == ids
    codes = index.model.encode([one.text for one in found])
    assert [one.code for one in found] == [code.tobytes() for code in codes]
    for write in (lambda: index.upsert(["a"], ids=["a"]), lambda: index.delete("a")):
        with pytest.raises(TexthashError, match="release, which is not written here"):
            write()
