"""Exchanging the model of a live index whose documents have attributes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.deployment.test_promote import home, models, released
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.deployment.promote import promote, roll_back
from texthash.index.filters.given import facets_of as facets_given
from texthash.index.filters.given import filter_of
from texthash.index.filters.language import where_of
from texthash.index.filters.order import Sort
from texthash.index.filters.types import AttributeTypeError
from texthash.index.matches import Matches, facets_of, scroll
from texthash.index.releases.release import open_release, read_release
from texthash.index.releases.verify import verify
from texthash.index.writing.writer import IndexDocument, IndexWriter
from texthash.paths import StateDir

__all__ = ["home", "models", "released"]  # fixtures


def test_attributes_filters_facets_and_order_stay(home: StateDir, small_corpus: PreparedCorpus) -> None:
    """Attributes from before, of a replaced document, and of one that is written after the promotion."""
    ids = small_corpus.train.ids
    own: dict[str, dict[str, Any]] = {
        ids[7]: {"year": 2024.0, "lang": "en"},
        "own/1": {"year": 1999.0, "free": True},
        "own/2": {"lang": "de", "day": datetime(2024, 5, 1, tzinfo=UTC)},
    }

    def put(values: dict[str, dict[str, Any]]) -> None:
        made = [IndexDocument(id_, f"sort rows of {id_}", "t", ("own",), given) for id_, given in values.items()]
        hasher = read_release(home).open_hasher(home)
        with IndexWriter.open(home) as writer:
            writer.upsert(made, hasher.encode([one.text for one in made]))

    def seen() -> dict[str, Any]:
        opened = open_release(home)
        types = opened.release.attributes
        rows = [row for shard in opened.shards for row in shard.documents(shard.numbers, ["attributes"])]
        where = where_of(filter_of({"attributes": {"year": {"gte": 1999}}, "labels": ["own"]}), types)
        listed = scroll(opened.shards, where, Sort("year", descending=True), ["title"], 1)
        return {
            "types": dict(types),
            "attributes": {row["id"]: row["attributes"] for row in rows if row["attributes"]},
            "filtered": sorted(
                row["id"] for shard in opened.shards for row in shard.documents(shard.select(where).numbers, [])
            ),
            "sorted": [row["id"] for row in listed],
            "facets": facets_of(opened.shards, facets_given(["labels", *types]), Matches(), types),
        }

    put(own)
    before = seen()
    assert (before["attributes"], before["sorted"]) == (own, [ids[7], "own/1"])
    promote(home, home.root / "models" / "lsh")
    assert open_release(home).release.method == "lsh"
    assert seen() == before
    with pytest.raises(AttributeTypeError, match="which is a number in the index"):
        put({"own/3": {"year": "n/a"}})
    put({"own/1": {"year": 2030.0}, "own/3": {"pages": 3.0}})
    after = seen()
    assert after["sorted"] == ["own/1", ids[7]]
    roll_back(home)
    assert open_release(home).release.method == "itq"
    assert seen() == after
    assert [finding for finding in verify(home) if not finding.ok] == []
