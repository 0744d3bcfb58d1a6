"""Releases with the state in an object store: nodes that share no directory publish, open, write and roll back."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from tests.index.test_writer import codes, contents, documents
from tests.io.conftest import Node
from tests.io.store import Store
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.deployment.champion import releasing
from texthash.deployment.model_refs import saved_hasher
from texthash.errors import StorageUnavailableError, TexthashError, as_user_error
from texthash.index.releases.backup import back_up, restore_backup
from texthash.index.releases.publish import ReleaseMovedError, advance, hand_over, publish, rollback, switch_to
from texthash.index.releases.release import (
    current_name,
    list_releases,
    open_release,
    read_pointer,
    read_release,
)
from texthash.index.releases.snapshots import drop_snapshot, list_snapshots, take_snapshot
from texthash.index.releases.verify import verify
from texthash.index.storage.free_space import FreeSpace
from texthash.index.writing.build import build_index
from texthash.index.writing.writer import IndexWriter
from texthash.index.writing.writer_lock import IndexLockedError, service_of
from texthash.io.leases import LeaseLostError
from texthash.io.places import read, swap
from texthash.models.files import digest
from texthash.models.hasher import Hasher
from texthash.paths import StateDir


@pytest.fixture
def released(node: Node, small_corpus: PreparedCorpus, small_hasher: Path) -> StateDir:
    """The state as the node that has built and released an index sees it."""
    home = node("one")
    publish(home, small_hasher, build_index(small_hasher, small_corpus.path, home, shards=2))
    return home


def test_what_one_node_releases_another_opens(
    released: StateDir, node: Node, small_corpus: PreparedCorpus, small_hasher: Path, tmp_path: Path
) -> None:
    home = node("two")
    release = read_release(home)
    assert release.name == "r000001"
    assert not release.index_uri.startswith("s3://")  # a copy of the bucket is a whole state
    assert release.model_digest == digest(small_hasher)
    local = StateDir(tmp_path / "local")
    publish(local, small_hasher, build_index(small_hasher, small_corpus.path, local, shards=2))
    assert contents(home) == contents(local)
    assert [finding for finding in verify(home, sample=20) if not finding.ok] == []
    opened = open_release(home)
    assert (
        opened.hasher.encode(["sort an array"]).tolist() == Hasher.load(small_hasher).encode(["sort an array"]).tolist()
    )
    assert saved_hasher(home, "released").is_relative_to(tmp_path / "two")
    assert not (home.root / "releases").exists()


def test_one_node_writes_at_a_time_and_the_others_read_it(released: StateDir, node: Node) -> None:
    before = contents(released)
    with IndexWriter.open(released, "http://127.0.0.1:8000") as writer:
        writer.upsert(documents("a", "b"), codes(2, 7))
        other = node("two")
        assert contents(other).keys() == before.keys() | {"a", "b"}
        assert service_of(other, read_release(other).index_uri) == "http://127.0.0.1:8000"
        with pytest.raises(IndexLockedError, match=r"the service at http://127.0.0.1:8000") as refused:
            IndexWriter.open(other)
        assert refused.value.address == "http://127.0.0.1:8000"
    with IndexWriter.open(node("two")) as writer:
        writer.delete(ids=["b"])
        writer.compact()
    assert contents(released).keys() == before.keys() | {"a"}
    assert [finding for finding in verify(released, sample=20) if not finding.ok] == []


def test_a_writer_whose_lease_was_taken_over_writes_nothing(released: StateDir) -> None:
    with IndexWriter.open(released) as writer:
        writer.upsert(documents("a"), codes(1, 7))
        before = read_pointer(released)
        (path,) = (released.state / "locks").glob("*.writer")
        record, version = read(path)
        assert record is not None
        assert swap(path, {**record, "own": "another", "holder": {"host": "another"}}, version)
        writer._writer_lock._lease._renew()  # type: ignore[union-attr]
        with pytest.raises(LeaseLostError, match="taken over by"):
            writer.upsert(documents("b"), codes(1, 7))
        assert read_pointer(released) == before


def test_the_free_space_of_a_node_that_has_written_nothing_is_known(released: StateDir, node: Node) -> None:
    home = node("two")
    assert FreeSpace(home, read_release(home).index_uri, 1).left()[1] == home.root


def test_of_writes_to_one_release_exactly_one_is_published(released: StateDir) -> None:
    parent = read_release(released)

    def attempt(_: int) -> str | None:
        try:
            return advance(released, parent, parent.shards, parent.next_number).name
        except ReleaseMovedError:
            return None

    with ThreadPoolExecutor(4) as pool:
        won = [name for name in pool.map(attempt, range(8)) if name is not None]
    assert won == [current_name(released)]
    assert {release.name for release in list_releases(released)} == {parent.name, *won}


def test_the_pointer_moves_and_moves_back(released: StateDir, node: Node, small_hasher: Path) -> None:
    index = released.path(read_release(released).index_uri)
    second = publish(released, small_hasher, index)
    assert read_pointer(released) == {"release": second.name, "previous": "r000001"}
    assert rollback(node("two")).name == "r000001"
    assert rollback(released).name == second.name
    take_snapshot(released, "before")
    with pytest.raises(TexthashError, match="there is a snapshot 'before' already"):
        take_snapshot(released, "before")
    assert [snapshot.release for snapshot in list_snapshots(node("two"))] == [second.name]
    drop_snapshot(released, "before")
    with releasing(released):
        third = hand_over(released, lambda current: current)
    assert read_pointer(released) == {"release": third.name, "previous": second.name}


def test_a_rollback_judges_no_release_while_the_store_refuses(
    released: StateDir, store: Store, small_hasher: Path
) -> None:
    index = released.path(read_release(released).index_uri)
    for _ in range(2):
        publish(released, small_hasher, index)
    pointer = read_pointer(released)
    for name in ("releases/current", "releases/r000003.json", "models/", "_versions/"):
        store.fault = lambda request, name=name: (400, "ExpiredToken") if name in request["PATH_INFO"] else None
        for look in (rollback, partial(verify, sample=1)):
            with pytest.raises(Exception) as error:  # noqa: PT011  (ours, or the client's own in any of its forms)
                look(released)
            assert isinstance(as_user_error(error.value), StorageUnavailableError), error.value
        store.reset()
        assert read_pointer(released) == pointer
    assert [release.name for release in list_releases(released)] == ["r000001", "r000002", "r000003"]


def test_a_hand_over_during_which_a_write_is_published_is_refused(released: StateDir) -> None:
    parent = read_release(released)
    with pytest.raises(ReleaseMovedError, match="another process has moved the pointer meanwhile"):
        hand_over(released, lambda now: advance(released, parent, now.shards, now.next_number))
    assert read_release(released).parent == parent.name
    assert len(list_releases(released)) == 2


def test_many_switches_at_once_all_succeed_in_some_order(released: StateDir, small_hasher: Path) -> None:
    index = released.path(read_release(released).index_uri)
    names = [publish(released, small_hasher, index, switch=False).name for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: switch_to(released, name), names))
    assert current_name(released) in names
    assert read_pointer(released)["previous"] in names


def test_a_backup_is_restored_into_a_bucket(released: StateDir, store: Store, tmp_path: Path) -> None:
    back_up(released, str(tmp_path / "backup"))
    address = f"{store.bucket()}/restored"
    restored = StateDir(tmp_path / "scratch", address, address)
    restore_backup(restored, str(tmp_path / "backup"))
    assert contents(restored) == contents(released)
    assert read_release(StateDir(tmp_path / "other", address, address)).open_hasher(restored).bits == 32
