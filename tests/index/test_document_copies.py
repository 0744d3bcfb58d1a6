"""Documents of an index in an object store, read from copies on this node: the same, even while the store is away."""

from __future__ import annotations

from pathlib import Path

import pytest

import texthash
from tests.index.test_document_map import assert_as_stored, mapped
from tests.index.test_writer import codes, documents
from tests.io.conftest import Node, node, server, store
from tests.io.store import Store
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.index.releases.publish import publish
from texthash.index.releases.release import read_release
from texthash.index.releases.verify import verify
from texthash.index.shard import Shard
from texthash.index.storage.document_copies import document_copies
from texthash.index.writing.build import build_index
from texthash.index.writing.writer import IndexWriter
from texthash.paths import StateDir, node_cache

__all__ = ["node", "server", "store"]  # fixtures


@pytest.fixture
def home(node: Node, small_corpus: PreparedCorpus, small_hasher: Path) -> StateDir:
    """A release of two shards in the bucket."""
    made = node("one")
    publish(made, small_hasher, build_index(small_hasher, small_corpus.path, made, shards=2))
    return made


def opened(home: StateDir) -> Shard:
    return read_release(home).open_shard(home, 0, copies=document_copies())


def copied() -> list[str]:
    return sorted(path.parent.parent.name for path in (node_cache() / "documents").rglob("*.arrow"))


def test_all_documents_are_here_in_every_version(home: StateDir) -> None:
    first = opened(home)
    assert first.documents_are_local
    assert mapped(first) == len(first)
    assert_as_stored(first)
    replaced = [row["id"] for row in first.documents(first.numbers[:5], [])]
    with IndexWriter.open(home) as writer:
        writer.upsert(documents(*replaced, "a", "b", "c", "d", text="another"), codes(9))
        second = first.advanced(writer.release.shards[0].version)
        writer.delete(ids=["a", *(row["id"] for row in first.documents(first.numbers[9:12], []))])
        for shard in (opened(home), second.advanced(writer.release.shards[0].version), second):
            assert mapped(shard) == len(shard)
            assert_as_stored(shard)
        writer.compact()
        for shard in (opened(home), second.advanced(writer.release.shards[0].version)):
            assert mapped(shard) == len(shard)
            assert_as_stored(shard)
        assert len(copied()) == 2, "the first one is in use"
        del first, second, shard
        restored = writer.restore(read_release(home, "r000001"))
        assert_as_stored(restored.open_shard(home, 0, copies=document_copies()))
        assert len(copied()) == 1
    assert [finding for finding in verify(home, sample=5) if not finding.ok] == []


def test_an_index_without_room_for_copies_reads_the_store_and_says_so(
    home: StateDir, capfd: pytest.CaptureFixture[str]
) -> None:
    release = read_release(home)
    shard = release.open_shard(home, 0, copies=document_copies(1_000))
    warned = capfd.readouterr().err
    assert "warning: searches read documents from the object store" in warned
    assert "service.document_copies_bytes" in warned
    assert not shard.documents_are_local
    assert (mapped(shard), copied()) == (0, [])
    assert_as_stored(shard)
    assert not release.open_shard(home, 0, copies=document_copies(0)).documents_are_local
    assert capfd.readouterr().err == ""


def test_an_opened_index_answers_while_the_store_is_away(store: Store, home: StateDir) -> None:
    index = texthash.Index.open()
    found = {mode: str(index.search("sort the values of an array", mode=mode)) for mode in ("semantic", "hybrid")}
    assert found["semantic"].count("\n") >= 9
    store.fault = lambda _: (503, "SlowDown")
    asked = len(store.requests)
    assert {mode: str(index.search("sort the values of an array", mode=mode)) for mode in found} == found
    assert len(store.requests) == asked


def test_following_a_release_asks_only_for_what_is_new(store: Store, home: StateDir) -> None:
    shard = opened(home)
    asked = []
    with IndexWriter.open(home) as writer:
        for turn in range(3):
            writer.upsert(documents(f"new/{turn}", f"new/{turn + 9}", f"new/{turn + 99}"), codes(3))
            store.requests.clear()
            shard = read_release(home).open_shard(home, 0, shard)
            assert_only_new(store.requests, turn + 3)
            asked.append(len(store.requests))
        writer.compact()
        shard = read_release(home).open_shard(home, 0, shard)
    assert_as_stored(shard)
    assert mapped(shard) == len(shard)
    assert max(asked) <= 14, asked


def assert_only_new(requests: list[tuple[str, str]], version: int) -> None:
    """Nothing is read that an earlier version had: neither map nor manifest of the shard, nor earlier digests."""
    paths = [path for _, path in requests]
    assert not [path for path in paths if "/maps" in path or "/_indices" in path or "/shard-0000/manifest" in path]
    assert [path.rpartition("/")[2] for path in paths if "/digests/" in path] == [f"{version:020d}.json"]
