"""Writing to an index: whole or not at all, one writer, nothing acknowledged is lost."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from texthash.api.filters import Filter
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.errors import ModelMismatchError, TexthashError, UsageError
from texthash.index.filters.language import Labels
from texthash.index.memory.hits import merge
from texthash.index.releases.publish import prune, publish, rollback
from texthash.index.releases.release import list_releases, open_release, read_release
from texthash.index.releases.snapshots import drop_snapshot, list_snapshots, read_snapshot, take_snapshot
from texthash.index.releases.verify import verify
from texthash.index.shard import Shard
from texthash.index.storage.shard_format import open_documents
from texthash.index.writing import writer as writing
from texthash.index.writing.build import build_index
from texthash.index.writing.writer import IndexDocument, IndexWriter
from texthash.index.writing.writer_lock import IndexLockedError
from texthash.io.records import sealed
from texthash.paths import StateDir


@pytest.fixture(scope="module")
def built(small_corpus: PreparedCorpus, small_hasher: Path, tmp_path_factory: pytest.TempPathFactory) -> StateDir:
    """A state directory with a released index of 2 shards."""
    home = StateDir(tmp_path_factory.mktemp("built"))
    model = Path(shutil.copytree(small_hasher, home.root / "models" / "itq"))
    publish(home, model, build_index(model, small_corpus.path, home, shards=2))
    return home


@pytest.fixture
def home(built: StateDir, tmp_path: Path) -> StateDir:
    """A copy that a test may change."""
    return StateDir(Path(shutil.copytree(built.root, tmp_path / "home")))


def documents(*ids: str, text: str = "text", labels: tuple[str, ...] = ("new",)) -> list[IndexDocument]:
    return [IndexDocument(id_, f"{text} of {id_}", f"title of {id_}", labels) for id_ in ids]


def codes(count: int, value: int = 0) -> np.ndarray:
    return np.full((count, 4), value, np.uint8)


def rewrite(path: Path, **changes: object) -> None:
    """Change members of a sealed record as somebody would who knows how it is sealed."""
    record = {**json.loads(path.read_text()), **changes}
    del record["digest"]
    path.write_text(json.dumps(sealed(record)))


def contents(home: StateDir, release: str = "current") -> dict[str, tuple[int, bytes]]:
    """Number and code of every document, by id, as a search for everything gives them."""
    opened = open_release(home, release)
    found: dict[str, tuple[int, bytes]] = {}
    for shard in opened.shards:
        for number, row in zip(shard.numbers, shard.documents(shard.numbers, ["code"]), strict=True):
            assert row["id"] not in found
            found[row["id"]] = (int(number), row["code"])
    assert len(found) == opened.release.documents
    return found


def test_an_upsert_adds_and_replaces_and_keeps_numbers(home: StateDir) -> None:
    before = contents(home)
    old = next(iter(before))
    first = read_release(home)
    with IndexWriter.open(home) as writer:
        written = writer.upsert(documents("new'1", old, "new2"), codes(3, 7))

    after = contents(home)
    assert (written.documents, written.new) == (3, 2)
    assert written.release == read_release(home)
    assert written.release.parent == first.name
    assert after.keys() == before.keys() | {"new'1", "new2"}
    assert after[old] == (before[old][0], bytes([7] * 4))
    assert {after["new'1"][0], after["new2"][0]} == {len(before), len(before) + 1}
    assert all(after[id_] == before[id_] for id_ in before if id_ != old)
    assert contents(home, first.name) == before  # who holds the older release sees what it was


def test_what_is_written_is_found(home: StateDir) -> None:
    with IndexWriter.open(home) as writer:
        writer.upsert(documents("x", labels=("a", "it's")), codes(1, 255))
    opened = open_release(home)
    for labels in (None, ("it's",)):
        parts = [shard.search(codes(1, 255), 1, where=labels and Labels(labels)) for shard in opened.shards]
        hits, owners = merge(parts, 1)
        found = opened.shards[int(owners[0][0])].documents(hits.numbers[0], ["title", "text", "labels"])
        assert found == [{"id": "x", "title": "title of x", "text": "text of x", "labels": ["a", "it's"]}]
        assert hits.distances[0].tolist() == [0]


def test_a_delete_takes_out_by_id_or_by_label(home: StateDir) -> None:
    before = contents(home)
    ids = list(before)[:3]
    with IndexWriter.open(home) as writer:
        writer.upsert(documents("a", "b", labels=("x", "it's")), codes(2))
        assert writer.delete(ids=[*ids, ids[0], "unknown"]).documents == 3
        assert writer.delete(given=Filter(labels=["it's", "no such label"])).documents == 2
        assert writer.delete(given=Filter(labels=["it's"])).documents == 0
        with pytest.raises(TexthashError, match="either ids or a filter"):
            writer.delete()
        assert writer.upsert(documents(ids[0]), codes(1)).new == 1
    after = contents(home)
    assert after.keys() == before.keys() - set(ids[1:])
    assert after[ids[0]][0] == len(before) + 2  # a number is never given twice


def test_everything_can_be_deleted_and_written_again(home: StateDir) -> None:
    before = list(contents(home))
    with IndexWriter.open(home) as writer:
        assert writer.delete(ids=before).documents == len(before)
        assert contents(home) == {}
        writer.upsert(documents(*before[:5]), codes(5))
    assert contents(home).keys() == set(before[:5])


@pytest.mark.parametrize(
    ("wrong", "width", "message"),
    [
        (documents("a", "a"), 4, "the id 'a' occurs 2 times"),
        (documents("a", ""), 4, "has no id"),
        (documents("a", "b"), 8, "have 64 bits where 32 are expected"),
        (documents("a"), 4, "1 documents came with 2 codes"),
    ],
)
def test_a_wrong_write_changes_nothing(home: StateDir, wrong: list[IndexDocument], width: int, message: str) -> None:
    release = read_release(home)
    with IndexWriter.open(home) as writer, pytest.raises(TexthashError, match=message):
        writer.upsert(wrong, np.zeros((2, width), np.uint8))
    assert read_release(home) == release


def test_there_is_one_writer(home: StateDir) -> None:
    with IndexWriter.open(home, address="http://127.0.0.1:8000"):
        with pytest.raises(IndexLockedError, match=rf"process {os.getpid()} on .* the service at http") as held:
            IndexWriter.open(home)
        assert held.value.address == "http://127.0.0.1:8000"
    IndexWriter.open(home).close()


def test_a_write_that_fails_half_way_is_not_seen_and_the_next_one_works(
    home: StateDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(home)
    with IndexWriter.open(home) as writer:
        with monkeypatch.context() as patch:
            patch.setattr(
                writing, "advance", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "No space left on device"))
            )
            with pytest.raises(TexthashError, match="No space"):
                writer.upsert(documents("a", "b", "c"), codes(3))
        assert contents(home) == before
        writer.upsert(documents("d"), codes(1))
    assert contents(home).keys() == before.keys() | {"d"}


def test_a_writer_whose_index_was_replaced_is_refused(home: StateDir, small_corpus: PreparedCorpus) -> None:
    with IndexWriter.open(home) as writer:
        model = home.root / "models" / "itq"
        other = publish(home, model, build_index(model, small_corpus.path, home, shards=3))
        with pytest.raises(TexthashError, match=f"{other.name} is current now"):
            writer.upsert(documents("a"), codes(1))
    assert read_release(home) == other


def test_two_writers_that_both_think_they_are_alone_cannot_mix(home: StateDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock can fail (a file system that does not know it): the versions of the shards still tell."""
    monkeypatch.setattr(writing.WriterLock, "acquire", lambda *_: None)
    first, second = IndexWriter.open(home), IndexWriter.open(home)
    first.upsert(documents("from first"), codes(1))
    with pytest.raises(TexthashError, match=r"another process|is current now"):
        second.upsert(documents("from second", *[f"more{i}" for i in range(8)]), codes(9))
    assert "from second" not in contents(home)


def test_a_snapshot_keeps_a_state_that_compaction_would_free(home: StateDir) -> None:
    with IndexWriter.open(home) as writer:
        writer.upsert(documents("a", "b"), codes(2))
        snapshot = take_snapshot(home, "before")
        held = contents(home)
        for round_ in range(5):
            writer.upsert(documents("a", f"c{round_}"), codes(2, round_ + 1))
        lost = writer.release
        writer.delete(ids=["b"])
        prune(home, {snapshot.release}, keep=1, age_s=0)
        writer.compact()
        assert [release.parent is None for release in list_releases(home)] == [True, False, False, False]
        with pytest.raises(TexthashError, match="no release"):
            read_release(home, lost.name)
        assert contents(home, snapshot.release) == held
        restored = writer.restore(read_release(home, read_snapshot(home, "before").release))
        assert contents(home) == held
        assert restored.next_number == lost.next_number
        with pytest.raises(TexthashError, match="already"):
            take_snapshot(home, "before")
        drop_snapshot(home, "before")
        assert list_snapshots(home) == []
        with pytest.raises(TexthashError, match="no snapshot 'befor'"):
            read_snapshot(home, "befor")
        with pytest.raises(UsageError, match="cannot name"):
            take_snapshot(home, "../x")


def test_rolling_back_leads_to_the_model_before_not_to_the_write_before(
    home: StateDir, small_corpus: PreparedCorpus
) -> None:
    with IndexWriter.open(home) as writer:
        writer.upsert(documents("a"), codes(1))
        last = writer.upsert(documents("b"), codes(1)).release
    model = home.root / "models" / "itq"
    publish(home, model, build_index(model, small_corpus.path, home, shards=3))
    assert rollback(home) == last
    assert {"a", "b"} <= contents(home).keys()


def test_codes_of_another_model_are_refused(home: StateDir) -> None:
    release = read_release(home)
    record = home.path(release.shards[1].uri) / "manifest.json"
    rewrite(record, model="0" * 64)
    with pytest.raises(ModelMismatchError, match="model 0000"):
        IndexWriter.open(home)
    rewrite(record, model=release.model_digest)
    IndexWriter.open(home).close()  # the refused one holds no lock


@pytest.mark.parametrize("round_", range(3))
def test_nothing_acknowledged_is_lost_when_the_writer_is_killed(home: StateDir, round_: int) -> None:
    from tests.index.killed_writer import check_after_kill

    check_after_kill(home, seed=round_)


def test_many_writes_leave_few_pieces_and_versions(home: StateDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """What single writes leave is written together, and what nobody can read any more is freed."""
    monkeypatch.setattr(writing, "_TIDY_EVERY", 5)
    monkeypatch.setattr(writing, "_FREE_EVERY", 2)
    monkeypatch.setattr(writing, "prune", lambda home, kept: prune(home, kept, keep=2, age_s=0.0))
    first = read_release(home)
    with IndexWriter.open(home) as writer:
        for number in range(60):
            writer.upsert(documents(f"n{number}", f"n{number // 2}"[:3] + "x"), codes(2, number))
        last = writer.release
    for number, (was, state) in enumerate(zip(first.shards, last.shards, strict=True)):
        dataset = open_documents(home.path(state.uri), state.version, last.bits)
        assert len(dataset.get_fragments()) < 10
        assert len(dataset.versions()) < 25
        shard = Shard.open(home.path(was.uri), was.version)
        assert len(shard) == was.documents, "a release that was built can be read for ever"
        np.testing.assert_array_equal(shard.advanced(state.version).numbers, last.open_shard(home, number).numbers)
    assert [finding for finding in verify(home, sample=0) if not finding.ok] == []
