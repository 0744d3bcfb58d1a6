"""A record that cannot be read stops nothing that does not need it, and nothing that it may need is deleted."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.index.test_writer import built, codes, documents, home
from texthash.errors import TexthashError
from texthash.index.releases import publish as publishing
from texthash.index.releases.release import open_release
from texthash.index.releases.snapshots import drop_snapshot, read_snapshot, readable_snapshots, take_snapshot
from texthash.index.writing import writer as writing
from texthash.index.writing.writer import IndexWriter
from texthash.paths import StateDir

__all__ = ["built", "home"]  # fixtures


@pytest.mark.parametrize("broken", ["release", "snapshot"])
def test_a_broken_record_stops_no_tidying_and_nothing_that_it_names_is_freed(
    home: StateDir, broken: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(publishing.prune, "__defaults__", (1, 0.0))
    with IndexWriter.open(home) as writer:
        kept = writer.upsert(documents("a"), codes(1, 1)).release
        take_snapshot(home, "kept")
        record = home.root / {"release": f"releases/{kept.name}.json", "snapshot": "snapshots/kept.json"}[broken]
        whole = record.read_text(encoding="utf-8")
        record.write_text("{}", encoding="utf-8")
        monkeypatch.setattr(writing, "_TIDY_EVERY", 2)
        monkeypatch.setattr(writing, "_FREE_EVERY", 1)
        for number in range(6):
            writer.upsert(documents(f"b{number}"), codes(1, 1))
        writer.delete(ids=["a"])
        last = writer.compact()
    said = capsys.readouterr().err
    assert str(record) in said
    assert "no space of" in said
    assert "b5" in _ids(home, last.name)
    assert "a" not in _ids(home, last.name)
    record.write_text(whole, encoding="utf-8")
    assert "a" in _ids(home, kept.name)
    versions = home.path(last.shards[0].uri) / "documents.lance" / "_versions"
    before = len(list(versions.iterdir()))
    with IndexWriter.open(home) as writer:
        writer.compact()
    assert len(list(versions.iterdir())) < before
    assert "a" in _ids(home, kept.name)


def test_the_releases_are_listed_beside_a_broken_one(home: StateDir, run_cli: Callable[..., Any]) -> None:
    with IndexWriter.open(home) as writer:
        broken = writer.upsert(documents("a"), codes(1, 1)).release
        last = writer.upsert(documents("b"), codes(1, 1)).release
    record = home.root / "releases" / f"{broken.name}.json"
    record.write_text("{}", encoding="utf-8")
    status, out, said = run_cli("--home", str(home.root), "index", "info", "--json")
    assert status == 0
    assert [row["name"] for row in json.loads(out)] == ["r000001", last.name]
    assert str(record) in said


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"name": "../x", "release": "r000001", "created": ""}'])
def test_a_broken_snapshot_stops_no_use_of_another(
    home: StateDir, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("broken", "whole"):
        take_snapshot(home, name)
    record = home.root / "snapshots" / "broken.json"
    record.write_text(content, encoding="utf-8")
    assert [found.name for found in readable_snapshots(home)] == ["whole"]
    assert str(record) in capsys.readouterr().err
    with pytest.raises(TexthashError, match=r"broken\.json is broken: .*\n.*remedy: restore it"):
        read_snapshot(home, "broken")
    assert read_snapshot(home, "whole").release == "r000001"
    with pytest.raises(TexthashError, match=r"there is no snapshot '\.\./snapshots/whole'"):
        read_snapshot(home, "../snapshots/whole")
    drop_snapshot(home, "whole")
    assert readable_snapshots(home) == []


def _ids(home: StateDir, release: str) -> set[str]:
    return {row["id"] for shard in open_release(home, release).shards for row in shard.documents(shard.numbers, [])}
