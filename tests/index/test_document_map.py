"""Mapped documents: the same answers as from Lance, for every version, and damage to a map is found."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.index.test_damage import without_digests
from tests.index.test_writer import built, codes, documents, home
from texthash.errors import TexthashError
from texthash.index.releases.backup import back_up, restore_backup
from texthash.index.releases.release import read_release
from texthash.index.releases.snapshots import take_snapshot
from texthash.index.releases.verify import verify
from texthash.index.shard import Shard
from texthash.index.storage.document_map import FOLDER
from texthash.index.storage.file_digests import recorded
from texthash.index.writing.writer import IndexWriter
from texthash.io.records import sealed
from texthash.paths import StateDir

__all__ = ["built", "home"]  # fixtures
_FIELDS = ["title", "text", "labels", "code"]


def opened(home: StateDir, number: int = 0) -> Shard:
    return read_release(home).open_shard(home, number)


def maps(home: StateDir) -> list[Path]:
    return sorted((home.path(read_release(home).shards[0].uri) / FOLDER).glob("*"))


def assert_as_stored(shard: Shard) -> None:
    """Compare all documents, and a few out of order, with what the dataset itself has."""
    stored = shard.rows(["number", "id", *_FIELDS]).select(["number", "id", *_FIELDS]).sort_by("number").to_pylist()
    numbers = np.array([row.pop("number") for row in stored])
    assert shard.documents(numbers, _FIELDS) == stored
    some = np.arange(len(numbers))[:: max(1, len(numbers) // 7)][::-1]
    assert shard.documents(numbers[some], _FIELDS) == [stored[row] for row in some.tolist()]


def mapped(shard: Shard) -> int:
    return sum(shard.mapped_documents([number], ["title"]) is not None for number in shard.numbers.tolist())


def test_a_built_shard_is_mapped_whole(home: StateDir) -> None:
    for number in range(2):
        shard = opened(home, number)
        assert mapped(shard) == len(shard)
        assert_as_stored(shard)


def test_recent_writes_come_from_the_dataset_until_it_is_compacted(home: StateDir) -> None:
    first = opened(home)
    replaced = [row["id"] for row in first.documents(first.numbers[:5], [])]
    with IndexWriter.open(home) as writer:
        writer.upsert(documents(*replaced, "a", "b", "c", "d", text="another"), codes(9))
        writer.delete(ids=[row["id"] for row in first.documents(first.numbers[9:12], [])])
        for shard in (opened(home), first.advanced(writer.release.shards[0].version)):
            assert mapped(shard) == len(first) - 8
            assert_as_stored(shard)
            assert shard.mapped_documents(first.numbers[:1], ["title"]) is None
            texts = [row["text"] for row in shard.documents(first.numbers[[20, 0, 21]], ["text"])]
            assert [text.startswith("another") for text in texts] == [False, True, False]
        before = opened(home)
        writer.compact()
        for shard in (opened(home), before.advanced(writer.release.shards[0].version)):
            assert mapped(shard) == len(shard) == len(before)
            assert_as_stored(shard)
    assert_as_stored(before)


def test_maps_stay_as_long_as_a_snapshot_needs_them(home: StateDir) -> None:
    built_map = maps(home)
    take_snapshot(home, "before")
    with IndexWriter.open(home) as writer:
        for round_ in range(3):
            writer.upsert(documents(*"abcdefgh", text=f"round {round_}"), codes(8))
            writer.compact()
        assert maps(home)[0] == built_map[0]
        assert len(maps(home)) == 4  # three releases of compactions can be rolled back to
        restored = writer.restore(read_release(home, "r000001"))
        shard = restored.open_shard(home, 0)
        assert_as_stored(shard)
        # A fragment that is written now may have the number of one that the newer maps hold.
        for round_ in range(3):
            writer.upsert(documents(*(f"{letter}{round_}" for letter in "abcdefgh"), text="later"), codes(8))
            shard = shard.advanced(writer.release.shards[0].version)
            assert_as_stored(shard)
            assert_as_stored(opened(home))
    assert [finding.found for finding in verify(home) if "files" in finding.check and not finding.ok] == []


@pytest.mark.parametrize("digests", [True, False])
def test_a_shard_without_a_map_has_the_same_documents_and_gets_one(home: StateDir, digests: bool) -> None:
    """As one of an earlier version of texthash, whose records name no map."""
    path = home.path(read_release(home).shards[0].uri)
    shutil.rmtree(path / FOLDER)
    if digests:
        (record,) = (path / "digests").iterdir()
        files = {name: own for name, own in recorded(path).items() if not name.startswith(FOLDER)}
        record.write_text(json.dumps(sealed({"format": 1, "files": {n: list(d) for n, d in files.items()}})))
    else:
        without_digests(home)
    shard = opened(home)
    assert mapped(shard) == 0
    assert_as_stored(shard)
    with IndexWriter.open(home) as writer:
        writer.compact()
    assert mapped(opened(home)) == len(shard)
    if digests:
        assert recorded(path).keys() == {*files, f"{FOLDER}/{maps(home)[0].name}"}


@pytest.mark.parametrize("damage", ["truncated", "emptied", "changed", "missing", "foreign"])
def test_a_damaged_map_is_found(home: StateDir, damage: str) -> None:
    (path,) = maps(home)
    whole = path.read_bytes()
    other = home.path(read_release(home).shards[1].uri) / FOLDER / path.name
    changed = whole[: len(whole) // 2] + bytes([whole[len(whole) // 2] ^ 1]) + whole[len(whole) // 2 + 1 :]
    if damage == "missing":
        path.unlink()
    elif damage == "foreign":
        shutil.copy(other, path)
    else:
        path.write_bytes({"truncated": whole[:-100], "emptied": b"", "changed": changed}[damage])
    failed = [finding.found for finding in verify(home) if not finding.ok]
    assert any(path.name in found for found in failed), failed
    if damage in ("truncated", "emptied"):
        with pytest.raises(TexthashError, match=path.name):
            opened(home)
    elif damage in ("missing", "foreign"):  # No row of it is shown.
        assert mapped(opened(home)) == 0
        assert_as_stored(opened(home))


def test_a_backup_restores_the_map(home: StateDir, tmp_path: Path) -> None:
    back_up(home, str(tmp_path / "backup"))
    other = StateDir(tmp_path / "other")
    restore_backup(other, str(tmp_path / "backup"))
    shard = opened(other)
    assert mapped(shard) == len(shard)
    assert all(finding.ok for finding in verify(other))
