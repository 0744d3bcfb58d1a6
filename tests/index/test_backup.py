"""A backup holds all that a release needs, and comes back as the same index."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.index.test_writer import built, codes, contents, documents, home
from texthash.errors import TexthashError
from texthash.index.releases import backup
from texthash.index.releases.backup import back_up, restore_backup
from texthash.index.releases.release import read_release
from texthash.index.releases.verify import verify
from texthash.index.writing.writer import IndexWriter
from texthash.paths import Home

__all__ = ["built", "home"]  # fixtures


def test_a_backup_comes_back_elsewhere(home: Home, tmp_path: Path) -> None:
    with IndexWriter.open(home) as writer:
        writer.upsert(documents("a", "b"), codes(2, 9))
        writer.delete(ids=["a"])
    target = str(tmp_path / "backup")
    saved = back_up(home, target)
    with pytest.raises(TexthashError, match="holds a backup already"):
        back_up(home, target)

    other = Home(tmp_path / "other")
    restored = restore_backup(other, target)
    assert contents(other) == contents(home)
    assert [state.checksum for state in restored.shards] == [state.checksum for state in saved.shards]
    assert (restored.next_number, restored.model_digest) == (saved.next_number, saved.model_digest)
    with IndexWriter.open(other) as writer:
        assert writer.upsert(documents("a"), codes(1)).new == 1
    wrong = [finding.check for finding in verify(other, sample=0) if not finding.ok]
    assert wrong == []


def test_an_interrupted_backup_is_none_and_goes_on(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "backup"
    whole = backup.write_shard
    with monkeypatch.context() as patch:
        calls = iter([whole, lambda *_, **__: (_ for _ in ()).throw(OSError("the network went away"))])
        patch.setattr(backup, "write_shard", lambda *a, **k: next(calls)(*a, **k))
        with pytest.raises(OSError, match="network"):
            back_up(home, str(target))
    with pytest.raises(TexthashError, match="no whole backup"):
        restore_backup(Home(tmp_path / "other"), str(target))
    written = (target / "shard-0000" / "manifest.json").stat().st_mtime_ns
    back_up(home, str(target))
    assert (target / "shard-0000" / "manifest.json").stat().st_mtime_ns == written
    assert restore_backup(Home(tmp_path / "other"), str(target)).documents == read_release(home).documents
