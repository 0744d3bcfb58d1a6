"""A disk that becomes full at every step of a write, and stays full while it is undone: nothing acknowledged is lost,
the index opens, and the next write works when there is room again."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from lance import LanceDataset
from lance.dataset import DatasetOptimizer
from lance.fragment import LanceFragment

from tests.index.test_writer import documents, rewrite
from tests.small_disk import PAGE, SmallDisk, small_disk
from texthash.api.filters import Filter
from texthash.config import TrainingConfig
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.deployment.promote import promote
from texthash.errors import TexthashError, UsageError
from texthash.index.releases import publish as publishing
from texthash.index.releases.publish import prune, publish, rollback
from texthash.index.releases.release import Release, list_releases, open_release, read_release
from texthash.index.releases.snapshots import list_snapshots, read_snapshot, take_snapshot
from texthash.index.releases.verify import verify
from texthash.index.storage.arrow_schema import Coded, schema
from texthash.index.storage.free_space import DiskFullError, FreeSpace
from texthash.index.storage.mutations import table_of
from texthash.index.storage.shard_format import ShardIdentity, deal, shard_path, write_shard
from texthash.index.writing import writer as writing
from texthash.index.writing.writer import IndexWriter
from texthash.io.fsync import FsyncTracker
from texthash.methods.registry import build
from texthash.models.files import digest
from texthash.models.hasher import Hasher
from texthash.paths import StateDir
from texthash.training.loop import fit

SHARDS = 2
# So many attempts in a row that have room enough end a sweep over the free pages of the disk.
_ENOUGH = 3


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", 24) as made:
        yield made


@pytest.fixture
def home(disk: SmallDisk, small_hasher: Path) -> StateDir:
    """A released index of 40 documents in 2 shards on the small disk; the model is on another one."""
    home = StateDir(disk.path / "home")
    hasher = Hasher.load(small_hasher)
    texts = [{"id": f"old{n}", "title": "", "text": f"sort the array {n}", "labels": ["old"]} for n in range(40)]
    table = table_of(texts, range(40), Coded(np.zeros((40, 4), np.uint8)))
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

    home: StateDir
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
def journal(home: StateDir) -> Iterator[Journal]:
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
        except TexthashError as error:
            if "No space left" not in str(error):
                raise
            failed, succeeded = failed + 1, 0
        else:
            succeeded += 1
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


def test_publishing_a_release(disk: SmallDisk, journal: Journal, small_hasher: Path) -> None:
    """A record whose pointer could not be written is withdrawn: nothing leads to a release that never was current."""
    index = journal.home.index / "small"
    failed = 0
    for pages in count():
        before = [release.name for release in list_releases(journal.home)]
        disk.fill(pages)
        try:
            released = publish(journal.home, small_hasher, index)
        except OSError:
            failed += 1
            disk.empty()
            assert [release.name for release in list_releases(journal.home)] == before
            journal.check()
            continue
        finally:
            disk.empty()
        assert read_release(journal.home) == released
        break
    assert failed > 0


def test_a_release_that_is_not_to_be_served_yet_is_no_way_back(home: StateDir, small_hasher: Path) -> None:
    left = publish(home, small_hasher, home.index / "small", source=read_release(home).name, switch=False)
    with IndexWriter.open(home, least_free=0) as writer:
        writer.upsert(documents("a"), codes(1, 1))
        broken = writer.upsert(documents("b"), codes(1, 1)).release
    (home.root / "releases" / f"{broken.name}.json").write_text("{}")
    assert rollback(home).parent != left.parent or read_release(home).name != left.name
    assert "a" in {row["id"] for shard in open_release(home).shards for row in shard.documents(shard.numbers, [])}


def test_another_model(
    disk: SmallDisk, journal: Journal, small_corpus: PreparedCorpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Re-encoding the index, and taking over what was written meanwhile."""
    monkeypatch.setenv("TEXTHASH_MIN_FREE_BYTES", "0")
    method = fit(build("lsh", small_corpus.shape, 32), small_corpus.train, TrainingConfig()).method
    other = Hasher.of(method, small_corpus).save(tmp_path / "lsh")
    first = read_release(journal.home)
    journal.upsert("before")
    failed = 0
    for pages in count(0, 3):
        disk.fill(pages)
        try:
            promote(journal.home, other, sample=0)
        except (OSError, TexthashError) as error:
            if "No space left" not in str(error):
                raise
            failed += 1
            assert read_release(journal.home).model_digest == first.model_digest
            journal.check()
            disk.empty()
            journal.upsert(f"new{pages}", "old7")
            journal.check()
            continue
        disk.empty()
        break
    assert failed > 4
    promoted = open_release(journal.home)
    assert promoted.release.model_digest == digest(other)
    ids = {row["id"] for shard in promoted.shards for row in shard.documents(shard.numbers, [])}
    assert ids == set(journal.expected)
    assert [found for found in verify(journal.home, sample=50) if not found.ok] == []
    assert {release.parent for release in list_releases(journal.home) if release.index_uri != first.index_uri} == {None}


def test_writes_are_refused_before_the_disk_is_full(
    disk: SmallDisk, home: StateDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEXTHASH_MIN_FREE_BYTES", str(1000 * PAGE))
    with IndexWriter.open(home) as writer:
        writer.upsert(documents("a"), codes(1, 1))
        released = writer.release
        disk.fill(999)
        files = sorted(disk.path.rglob("*"))
        with pytest.raises(DiskFullError, match=r"4,091,904 bytes are free .* needs 4,096,000[\s\S]*MIN_FREE_BYTES"):
            writer.upsert(documents("b"), codes(1, 2))
        assert sorted(disk.path.rglob("*")) == files, "nothing was begun"
        assert read_release(home) == released
        writer.delete(ids=["a"])  # what makes room may use half of it
        writer.compact()
        disk.fill(499)
        for write in (lambda: writer.delete(ids=["old1"]), lambda: writer.restore(released), writer.compact):
            with pytest.raises(DiskFullError, match="needs 2,048,000"):
                write()
        disk.empty()
        writer.upsert(documents("b"), codes(1, 2))
    assert len(open_release(home).shards[0].numbers) + len(open_release(home).shards[1].numbers) == 41


def test_compaction_frees_what_it_can_on_a_full_disk(
    disk: SmallDisk, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "prune", lambda home, kept: prune(home, kept, keep=1, age_s=0.0))
    for number in range(10):
        journal.upsert(*[f"n{number}.{other}" for other in range(50)])
    journal.writer.delete(given=Filter(labels=["new"]))
    journal.expected = {id_: code for id_, code in journal.expected.items() if id_.startswith("old")}
    journal.writer.close()
    journal.writer = IndexWriter.open(journal.home, least_free=4000 * PAGE)
    disk.fill(0)
    with pytest.raises(DiskFullError):
        journal.writer.compact()
    assert FreeSpace(journal.home, journal.writer.release.index_uri).left()[0] > 10 * PAGE
    journal.check()


def test_the_error_of_a_wrong_setting(home: StateDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEXTHASH_MIN_FREE_BYTES", "much")
    with pytest.raises(UsageError, match="TEXTHASH_MIN_FREE_BYTES='much'"):
        IndexWriter.open(home)
    monkeypatch.delenv("TEXTHASH_MIN_FREE_BYTES")
    IndexWriter.open(home).close()


def test_numbers_are_not_given_again_after_a_rollback(home: StateDir, small_hasher: Path) -> None:
    """Going back leaves a release whose numbers were given to other documents, and readers that know them."""
    again = publish(home, small_hasher, home.index / "small")
    with IndexWriter.open(home, least_free=0) as writer:
        given = writer.upsert(documents("a", "b"), codes(2, 1)).release.next_number
    assert rollback(home).name != again.name
    with IndexWriter.open(home, least_free=0) as writer:
        writer.upsert(documents("c"), codes(1, 2))
    opened = open_release(home)
    numbers = {
        row["id"]: n for s in opened.shards for n, row in zip(s.numbers, s.documents(s.numbers, []), strict=True)
    }
    assert numbers["c"] == given
    assert "a" not in numbers


def damage(home: StateDir, release: Release, earlier: Release) -> None:
    """Take away the Lance versions that a release names and an earlier one does not."""
    for state, before in zip(release.shards, earlier.shards, strict=True):
        if state.version != before.version:
            name = f"{2**64 - 1 - state.version}.manifest"
            (home.path(state.uri) / "documents.lance" / "_versions" / name).unlink()


def test_rolling_back_leads_to_the_newest_release_that_opens(
    home: StateDir, small_hasher: Path, run_cli: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEXTHASH_HOME", str(home.root))
    with IndexWriter.open(home, least_free=0) as writer:
        kept = writer.upsert(documents("a", "b", "c", "d"), codes(4, 1)).release
        later = [writer.upsert(documents("a", "b", "c", "d"), codes(4, value)).release for value in (2, 3)]
    damage(home, later[1], later[0])
    damage(home, later[0], kept)
    status, out, err = run_cli("index", "rollback")
    assert (status, json.loads(out)["release"]) == (0, kept.name)
    assert err.count("rollback: r") == 2
    with IndexWriter.open(home, least_free=0) as writer:
        writer.upsert(documents("e"), codes(1, 4))
    assert read_release(home).documents == 45
    assert [found for found in verify(home, sample=0) if not found.ok] == []


@pytest.mark.parametrize("broken", ["pointer", "record", "count"])
def test_rolling_back_mends(home: StateDir, broken: str) -> None:
    with IndexWriter.open(home, least_free=0) as writer:
        kept = writer.upsert(documents("a"), codes(1, 1)).release
        last = writer.upsert(documents("b"), codes(1, 1)).release
    record = home.root / "releases" / f"{last.name}.json"
    if broken == "pointer":
        (home.root / "releases" / "current").write_text("")
        kept = last
    elif broken == "record":
        record.write_text("{}")
    else:
        rewrite(record, shards=[{**vars(state), "documents": 1000} for state in last.shards])
        with pytest.raises(TexthashError, match=r"holds .* documents in version"):
            IndexWriter.open(home, least_free=0)
    assert rollback(home) == kept == read_release(home)
    IndexWriter.open(home, least_free=0).close()


def test_rolling_back_names_what_is_in_its_way(home: StateDir, small_hasher: Path) -> None:
    first = read_release(home)
    served = publish(home, small_hasher, home.index / "small")
    record = home.root / "releases" / f"{first.name}.json"
    whole = record.read_text()
    record.write_text("{}")
    with pytest.raises(TexthashError, match=rf"{first.name}, which was current before, cannot be opened"):
        rollback(home)
    assert read_release(home) == served
    (home.root / "releases" / f"{served.name}.json").write_text("{}")
    with pytest.raises(TexthashError, match="no release in"):
        rollback(home)
    record.write_text(whole)
    assert rollback(home) == first


def test_nothing_acknowledged_is_lost_when_the_writer_is_killed_on_a_full_disk(disk: SmallDisk, home: StateDir) -> None:
    from tests.index.killed_writer import check_after_kill

    counts: Counter[str] = Counter()
    for round_ in range(30):
        counts += check_after_kill(home, round_, disk)
        if round_ >= 3 and counts["done"] and counts["refused"]:
            break
    assert counts["done"] > 0
    assert counts["refused"] > 0
    assert [found for found in verify(home, sample=0) if not found.ok] == []


@pytest.mark.parametrize("command", [("delete", "old1"), ("compact",), ("upsert", "ROWS"), ("restore", "held")])
def test_the_command_line_says_what_to_do(
    home: StateDir,
    command: tuple[str, ...],
    tmp_path: Path,
    run_cli: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"id": "a", "text": "sort the array"}\n', encoding="utf-8")
    take_snapshot(home, "held")
    before = read_release(home)
    monkeypatch.setenv("TEXTHASH_HOME", str(home.root))
    monkeypatch.setenv("TEXTHASH_MIN_FREE_BYTES", str(2**40))
    status, out, err = run_cli("index", *(str(rows) if word == "ROWS" else word for word in command))
    assert (status, out) == (1, "")
    assert "bytes are free on the disk of" in err
    assert "remedy: make room" in err
    assert read_release(home) == before


STEPS = {
    "deleted rows": (LanceFragment, "delete_rows"),
    "commit": (LanceDataset, "commit"),
    "compaction": (DatasetOptimizer, "compact_files"),
    "index of ids": (DatasetOptimizer, "optimize_indices"),
    "sync": (FsyncTracker, "sync"),
    "record": (publishing, "write_once"),
    "pointer": (publishing, "replace_durably"),
}


@pytest.mark.parametrize("pages", [0, 2])
@pytest.mark.parametrize("step", STEPS)
def test_a_disk_that_is_full_for_one_step_only(
    disk: SmallDisk, journal: Journal, step: str, pages: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is room again for what follows, which must not name what was cut off."""
    owner, name = STEPS[step]
    real = getattr(owner, name)

    def with_a_full_disk(*arguments: Any, **options: Any) -> Any:
        disk.fill(pages)
        try:
            return real(*arguments, **options)
        finally:
            disk.empty()

    journal.upsert("first", "old1")

    def delete() -> None:
        journal.writer.delete(ids=["old4", "old5"])
        del journal.expected["old4"], journal.expected["old5"]

    for act in (lambda: journal.upsert("new", "old2", "old3", "first"), delete, journal.writer.compact):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, with_a_full_disk)
            with suppress(DiskFullError):
                act()
        journal.check()
        journal.upsert("after", "old6")
        journal.check()
    assert [found for found in verify(journal.home, sample=0) if not found.ok] == []


def test_a_broken_record_that_is_not_current_stops_no_write(home: StateDir) -> None:
    with IndexWriter.open(home, least_free=0) as writer:
        earlier = writer.upsert(documents("a"), codes(1, 1)).release
        writer.upsert(documents("b"), codes(1, 1))
    (home.root / "releases" / f"{earlier.name}.json").write_text("{}", encoding="utf-8")
    with IndexWriter.open(home, least_free=0) as writer:
        writer.upsert(documents("c"), codes(1, 1))
    assert read_release(home).documents == 43
