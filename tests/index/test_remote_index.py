"""An index in an object store: built, searched, written to, kept and brought back as one in a directory is."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.corpora.test_object_store import bucket, server
from tests.index.test_writer import codes, contents, documents
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.errors import TexthashError
from texthash.index.releases.backup import back_up, restore_backup
from texthash.index.releases.publish import publish
from texthash.index.releases.release import open_release, read_release
from texthash.index.releases.snapshots import take_snapshot
from texthash.index.releases.verify import verify
from texthash.index.storage.shard_format import read_index, shard_path
from texthash.index.writing.build import build_index
from texthash.index.writing.writer import IndexWriter
from texthash.paths import StateDir, as_path

__all__ = ["bucket", "server"]  # fixtures


@pytest.fixture
def home(bucket: str, small_corpus: PreparedCorpus, small_hasher: Path, tmp_path: Path) -> StateDir:
    """Two shards in the store, the records of releases here."""
    found = StateDir(tmp_path / "home", bucket)
    model = Path(shutil.copytree(small_hasher, found.root / "models" / "itq"))
    publish(found, model, build_index(model, small_corpus.path, found, shards=2))
    return found


def test_it_holds_what_one_in_a_directory_holds(
    home: StateDir, small_corpus: PreparedCorpus, small_hasher: Path, tmp_path: Path
) -> None:
    assert read_release(home).index_uri.startswith("s3://")
    local = StateDir(tmp_path / "local")
    publish(local, small_hasher, build_index(small_hasher, small_corpus.path, local, shards=2))
    assert contents(home) == contents(local)
    assert [finding for finding in verify(home, sample=50) if not finding.ok] == []


def test_it_is_written_to_and_followed(home: StateDir) -> None:
    before, opened = contents(home), open_release(home)
    old = next(iter(before))
    take_snapshot(home, "before")
    with IndexWriter.open(home) as writer:
        writer.upsert(documents("a", "b", old), codes(3, 7))
        writer.delete(ids=["b"])
        after = contents(home)
        assert after.keys() == before.keys() | {"a"}
        assert after[old] == (before[old][0], bytes([7] * 4))
        release = read_release(home)
        advanced = [release.open_shard(home, number, shard) for number, shard in enumerate(opened.shards)]
        assert sum(len(shard) for shard in advanced) == len(after)
        writer.compact()
        assert contents(home) == after
        writer.restore(opened.release)
    assert contents(home) == before
    assert [finding for finding in verify(home, sample=50) if not finding.ok] == []


def test_a_backup_goes_from_store_to_directory_and_back(home: StateDir, bucket: str, tmp_path: Path) -> None:
    here, there = tmp_path / "backup", f"{bucket}/backups/monday"
    back_up(home, str(here))
    back_up(home, there)
    for number, source in enumerate((str(here), there)):
        restored = StateDir(tmp_path / f"restored-{number}", None if number else f"{bucket}/restored")
        restore_backup(restored, source)
        assert contents(restored) == contents(home)


def test_a_shard_without_its_manifest_is_built_again(home: StateDir, small_corpus: PreparedCorpus) -> None:
    """The manifest is sent last, so one that is missing is what a killed build leaves."""
    release = read_release(home)
    index = home.path(release.index_uri)
    (shard_path(index, 1) / "manifest.json").unlink()
    with pytest.raises(TexthashError, match="no shard at s3://"):
        read_index(index)
    again = build_index(home.path(release.model_uri), small_corpus.path, home, shards=2)
    assert str(again) == str(index)
    assert [manifest.checksum for manifest in read_index(index)] == [state.checksum for state in release.shards]
    assert not (as_path(index) / ".codes").exists()
    assert np.all([len(shard) for shard in open_release(home).shards])
