"""A disk that becomes full at every step of a write, and stays full while it is undone: nothing acknowledged is lost,
the index opens, and the next write works when there is room again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from texthash.index.free_space import DiskFullError

from tests.index.test_writer import documents
from tests.small_disk import SmallDisk, small_disk
from texthash.errors import TexthashError
from texthash.index.releases.publish import publish
from texthash.index.releases.release import open_release, read_release
from texthash.index.releases.snapshots import list_snapshots, read_snapshot, take_snapshot
from texthash.index.releases.verify import verify
from texthash.index.storage.arrow_schema import schema
from texthash.index.storage.mutations import table_of
from texthash.index.storage.shard_format import ShardIdentity, deal, shard_path, write_shard
from texthash.index.writing import writer as writing
from texthash.index.writing.writer import IndexWriter
from texthash.models.hasher import Hasher, digest
from texthash.paths import Home

SHARDS = 2
# So many attempts in a row that have room enough end a sweep over the free pages of the disk.
_ENOUGH = 3


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", 24) as made:
        yield made


@pytest.fixture
def home(disk: SmallDisk, small_hasher: Path) -> Home:
    """A released index of 40 documents in 2 shards on the small disk; the model is on another one."""
    home = Home(disk.path / "home")
    hasher = Hasher.load(small_hasher)
    texts = [{"id": f"old{n}", "title": "", "text": f"sort the array {n}", "labels": ["old"]} for n in range(40)]
    table = table_of(texts, range(40), np.zeros((40, 4), np.uint8))
    for shard in range(SHARDS):
        identity = ShardIdentity(
            shard=shard,
            shards=SHARDS,
            bits=32,
            model=digest(small_hasher),
            vocabulary_hash=hasher.vocabulary_hash,
        )
        rows = pa.Table.from_batches(deal(table.to_batches(), shard, SHARDS), schema(32))
        write_shard(shard_path(home.index / "small", shard), rows.to_batches(), identity, next_number=40)
    publish(home, small_hasher, home.index / "small")
    return home


def codes(number: int, value: int) -> np.ndarray:
    return np.full((number, 4), value, np.uint8)


@dataclass
class Journal:
    """What was acknowledged: the value of the code of each document, by id."""

    home: Home
    writer: IndexWriter
    expected: dict[str, int] = field(default_factory=dict)
    writes: int = 0

    def upsert(self, *ids: str) -> None:
        value = self.writes = self.writes + 1
        self.writer.upsert(documents(*ids), codes(len(ids), value % 256))
        self.expected.update(dict.fromkeys(ids, value % 256))

    def check(self) -> None:
        """The current release opens, and holds exactly that; what is ahead of it is not seen or counted."""
        opened = open_release(self.home)
        found: dict[str, int] = {}
        numbers: list[int] = []
        for shard in opened.shards:
            for row in shard.documents(shard.numbers, ["code"]):
                assert row["id"] not in found
                found[row["id"]] = row["code"][0]
            numbers += shard.numbers.tolist()
        assert found == self.expected
        assert len(numbers) == len(set(numbers)) == opened.release.documents
        assert max(numbers, default=0) < opened.release.next_number


@pytest.fixture
def journal(home: Home) -> Iterator[Journal]:
    made = Journal(home, IndexWriter.open(home, least_free=0), {f"old{n}": 0 for n in range(40)})
    yield made
    made.writer.close()


def sweep(disk: SmallDisk, journal: Journal, act: Callable[[int], None], step: int = 1) -> int:
    """Let ``act`` be done with 0, 1, 2, ... free pages, each time with a write before and after there is room again.
    Every other time the process dies in between. Returns how many attempts failed."""
    failed = succeeded = 0
    for pages in count(0, step):
        disk.fill(pages)
        try:
            act(pages)
            succeeded += 1
        except TexthashError as error:
            assert "No space left" in str(error), error
            failed, succeeded = failed + 1, 0
        journal.check()
        try:  # the state of a failed write may not be built upon, nor can it be undone yet
            journal.upsert(f"full{pages}", "old0")
        except DiskFullError:
            journal.check()
        if pages % (2 * step):
            journal.writer.close()
            disk.empty()
            journal.writer = IndexWriter.open(journal.home, least_free=0)
        disk.empty()
        journal.upsert(f"room{pages}", "old1", "old2")
        journal.check()
        if succeeded == _ENOUGH:
            break
    assert [found for found in verify(journal.home, sample=0) if not found.ok] == []
    return failed


def test_an_upsert(disk: SmallDisk, journal: Journal) -> None:
    assert sweep(disk, journal, lambda pages: journal.upsert(f"new{pages}", "old3", "old4", f"more{pages}")) > 8


def test_a_delete(disk: SmallDisk, journal: Journal) -> None:
    def delete(pages: int) -> None:
        journal.writer.delete(ids=[f"old{pages + 5}", f"old{pages + 6}"])
        for number in (pages + 5, pages + 6):
            journal.expected.pop(f"old{number}", None)

    assert sweep(disk, journal, delete) > 4


def test_compaction(disk: SmallDisk, journal: Journal) -> None:
    assert sweep(disk, journal, lambda _: journal.writer.compact() and None) > 8


def test_the_joining_of_small_pieces(disk: SmallDisk, journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "_TIDY_EVERY", 1)
    monkeypatch.setattr(writing, "_FREE_EVERY", 1)
    assert sweep(disk, journal, lambda pages: journal.upsert(f"new{pages}", f"more{pages}")) > 8


def test_going_back_to_a_snapshot(disk: SmallDisk, journal: Journal) -> None:
    held = dict(journal.expected)
    release = read_release(journal.home, take_snapshot(journal.home, "held").release)

    def restore(_: int) -> None:
        journal.writer.restore(release)
        journal.expected = dict(held)

    assert sweep(disk, journal, restore) > 4


def test_taking_a_snapshot(disk: SmallDisk, journal: Journal) -> None:
    taken: list[str] = []

    def take(pages: int) -> None:
        taken.append(take_snapshot(journal.home, f"with{pages}").name)

    assert sweep(disk, journal, take) > 0
    assert sorted(found.name for found in list_snapshots(journal.home)) == sorted(taken)
    assert all(read_release(journal.home, read_snapshot(journal.home, name).release) for name in taken)
    assert not list((journal.home.root / "snapshots").glob(".*"))
