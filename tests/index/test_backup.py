"""A backup holds all that a release needs, and comes back as the same index."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.index.test_writer import built, codes, contents, documents, home, rewrite
from texthash.errors import TexthashError, UsageError
from texthash.index.releases import backup
from texthash.index.releases.backup import back_up, restore_backup
from texthash.index.releases.release import open_release, read_release
from texthash.index.releases.verify import verify
from texthash.index.writing.writer import IndexDocument, IndexWriter
from texthash.paths import StateDir

__all__ = ["built", "home"]  # fixtures


def test_a_backup_comes_back_elsewhere(home: StateDir, tmp_path: Path) -> None:
    with IndexWriter.open(home) as writer:
        writer.upsert(documents("a", "b"), codes(2, 9))
        writer.delete(ids=["a"])
    target = str(tmp_path / "backup")
    saved = back_up(home, target)
    with pytest.raises(TexthashError, match="holds a backup already"):
        back_up(home, target)

    other = StateDir(tmp_path / "other")
    restored = restore_backup(other, target)
    assert contents(other) == contents(home)
    assert [state.checksum for state in restored.shards] == [state.checksum for state in saved.shards]
    assert (restored.next_number, restored.model_digest) == (saved.next_number, saved.model_digest)
    with IndexWriter.open(other) as writer:
        assert writer.upsert(documents("a"), codes(1)).new == 1
    wrong = [finding.check for finding in verify(other, sample=0) if not finding.ok]
    assert wrong == []


def test_an_interrupted_backup_is_none_and_goes_on(
    home: StateDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "backup"
    whole = backup.write_shard
    with monkeypatch.context() as patch:
        calls = iter([whole, lambda *_, **__: (_ for _ in ()).throw(OSError("the network went away"))])
        patch.setattr(backup, "write_shard", lambda *a, **k: next(calls)(*a, **k))
        with pytest.raises(OSError, match="network"):
            back_up(home, str(target))
    with pytest.raises(TexthashError, match="no complete backup"):
        restore_backup(StateDir(tmp_path / "other"), str(target))
    written = (target / "shard-0000" / "manifest.json").stat().st_mtime_ns
    back_up(home, str(target))
    assert (target / "shard-0000" / "manifest.json").stat().st_mtime_ns == written
    assert restore_backup(StateDir(tmp_path / "other"), str(target)).documents == read_release(home).documents


def stored(home: StateDir, id_: str) -> dict:
    """A document with everything but its number."""
    opened = open_release(home)
    (found,) = [row for shard in opened.shards if (row := shard.document(id_)) is not None]
    return {name: found[name] for name in ("title", "text", "labels", "attributes")}


CHANGED = [
    IndexDocument("a", "another text of a", "title of a", ("new",)),
    IndexDocument("a", "text of a", "title of a", ("old",)),
    IndexDocument("a", "text of a", "title of a", ("new",), {"year": 2020}),
]


@pytest.mark.parametrize("changed", CHANGED, ids=["text", "labels", "attributes"])
def test_backups_that_differ_in_more_than_codes_come_back_beside_each_other(
    home: StateDir, tmp_path: Path, changed: IndexDocument
) -> None:
    (first,) = documents("a")
    for name, document in (("one", first), ("two", changed)):
        with IndexWriter.open(home) as writer:
            writer.upsert([document], codes(1))
        back_up(home, str(tmp_path / name))
    other = StateDir(tmp_path / "other")
    one, two = restore_backup(other, str(tmp_path / "one")), restore_backup(other, str(tmp_path / "two"))
    assert [state.checksum for state in one.shards] == [state.checksum for state in two.shards]
    assert stored(other, "a") == stored(home, "a")
    restore_backup(other, str(tmp_path / "one"))
    assert (stored(other, "a")["text"], stored(other, "a")["labels"]) == (first.text, ["new"])
    assert stored(other, "a")["attributes"] == {}


def test_an_interrupted_backup_is_not_completed_from_another_release(
    home: StateDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The codes of both may be equal."""
    with IndexWriter.open(home) as writer:
        writer.upsert(documents("a"), codes(1))
    with monkeypatch.context() as patch:
        patch.setattr(backup, "_copy_model", lambda *_: (_ for _ in ()).throw(OSError("the network went away")))
        with pytest.raises(OSError, match="network"):
            back_up(home, str(tmp_path / "backup"))
    with IndexWriter.open(home) as writer:
        writer.upsert(CHANGED[:1], codes(1))
    with pytest.raises(TexthashError, match="a part of a backup of another release"):
        back_up(home, str(tmp_path / "backup"))
    (tmp_path / "backup" / "started.json").unlink()  # as an earlier version leaves it
    with pytest.raises(TexthashError, match="a part of a backup of another release"):
        back_up(home, str(tmp_path / "backup"))


def outside(root: Path, inside: Path) -> set[Path]:
    return {path for path in root.rglob("*") if not path.is_relative_to(inside)}


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "../../../escaped"},
        {"model": "/tmp/escaped"},
        {"model": "..", "model_digest": "../../escaped"},
        {"model": "a/b"},
        {"model": ".hidden"},
        {"model": "a\x00b"},
        {"model": "a\n"},
        {"model_digest": "../../escap"},
        {"model_digest": "/" * 64},
        {"model_digest": 7},
        {"index_uri": "../../escaped"},
        {"model_uri": "models/../../../escaped"},
        {"corpus": "../escaped"},
        {"edition": "../escaped"},
        {"name": "../r000001"},
        {"shards": []},
        {"shards": [{"uri": "../x", "version": 1, "documents": 1, "checksum": "0" * 16}]},
        {"shards": [{"uri": "x", "version": 1, "documents": 1, "checksum": "../../../escaped"}]},
        {"shards": [{"uri": "x", "version": "1", "documents": 1, "checksum": "0" * 16}]},
    ],
)
def test_a_backup_cannot_name_a_place_to_write_to(home: StateDir, tmp_path: Path, changes: dict) -> None:
    """Also not by somebody who knows how records are sealed."""
    source = tmp_path / "deep" / "backup"
    back_up(home, str(source))
    rewrite(source / "backup.json", **changes)
    other = StateDir(tmp_path / "deep" / "er" / "other")
    before = outside(tmp_path, other.root)
    with pytest.raises(TexthashError, match=r"backup\.json"):
        restore_backup(other, str(source))
    assert outside(tmp_path, other.root) == before
    assert not other.root.exists()


@pytest.mark.parametrize("changes", [{"shard": "../1"}, {"shard": 1}, {"shards": 1}, {"shards": 10**9}, {"bits": 64}])
def test_a_shard_of_a_backup_cannot_name_a_place_to_write_to(home: StateDir, tmp_path: Path, changes: dict) -> None:
    back_up(home, str(tmp_path / "backup"))
    rewrite(tmp_path / "backup" / "shard-0000" / "manifest.json", **changes)
    with pytest.raises(TexthashError):
        restore_backup(StateDir(tmp_path / "other"), str(tmp_path / "backup"))
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("place", ["model/hasher.json", "model", "shard-0000/documents.lance", "shard-0001"])
def test_links_in_a_backup_are_refused(home: StateDir, tmp_path: Path, place: str) -> None:
    back_up(home, str(tmp_path / "backup"))
    linked = tmp_path / "backup" / place
    linked.rename(tmp_path / "elsewhere")
    linked.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(TexthashError, match="is a link"):
        restore_backup(StateDir(tmp_path / "other"), str(tmp_path / "backup"))
    assert not (tmp_path / "other").exists()


def test_only_the_files_of_a_model_are_restored(home: StateDir, tmp_path: Path) -> None:
    back_up(home, str(tmp_path / "backup"))
    (tmp_path / "backup" / "model" / "extra.sh").write_text("#!/bin/sh\n")
    other = StateDir(tmp_path / "other")
    release = restore_backup(other, str(tmp_path / "backup"))
    found = {path.name for path in other.path(release.model_uri).iterdir()}
    assert found == {"hasher.json", "vocabulary.json", "model.safetensors"}


def test_a_link_in_the_state_directory_does_not_lead_a_restore_out_of_it(home: StateDir, tmp_path: Path) -> None:
    saved = back_up(home, str(tmp_path / "backup"))
    other, elsewhere = StateDir(tmp_path / "other"), tmp_path / "elsewhere"
    elsewhere.mkdir()
    (other.root / "models").mkdir(parents=True)
    (other.root / "models" / f"{saved.model}-{saved.model_digest[:12]}").symlink_to(elsewhere)
    with pytest.raises(TexthashError, match=r"leads to .*elsewhere"):
        restore_backup(other, str(tmp_path / "backup"))
    assert list(elsewhere.iterdir()) == []
    assert not other.index.exists()


@pytest.mark.parametrize("wrong", ["../../escaped", "/", "index/../../escaped"])
@pytest.mark.parametrize("member", ["index_uri", "shards", "model_uri"])
def test_a_release_cannot_name_a_place_outside(home: StateDir, member: str, wrong: str) -> None:
    release = read_release(home)
    states = [{**vars(state), "uri": wrong} for state in release.shards]
    rewrite(home.root / "releases" / f"{release.name}.json", **{member: states if member == "shards" else wrong})
    if (member, wrong) == ("model_uri", "/"):  # a model is only read, and has to have its digest
        with pytest.raises(TexthashError, match="model of release"):
            open_release(home)
    else:
        with pytest.raises(TexthashError, match=rf"{release.name}\.json"):
            read_release(home)


def test_a_backup_of_another_release_is_not_gone_on_with(home: StateDir, tmp_path: Path) -> None:
    back_up(home, str(tmp_path / "backup"))
    (tmp_path / "backup" / "backup.json").unlink()
    with IndexWriter.open(home) as writer:
        writer.upsert(documents(*(f"n{row}" for row in range(20))), codes(20, 9))
    with pytest.raises(TexthashError, match="a part of a backup of another release"):
        back_up(home, str(tmp_path / "backup"))


@pytest.fixture
def overlaps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Records what two copies do, while each shard takes so long that they would overlap."""
    whole, said, lock = backup.write_shard, [], threading.Lock()

    def slow(target: Path, *args: Any, **named: Any) -> Any:
        said.append(f"begin {target}")
        with lock:
            time.sleep(0.3)
            made = whole(target, *args, **named)
        said.append(f"end {target}")
        return made

    monkeypatch.setattr(backup, "write_shard", slow)
    return said


def in_turn(said: list[str]) -> bool:
    return all(
        (one.partition(" ")[0], one.partition(" ")[2]) == ("begin", next_.partition(" ")[2]) and next_.startswith("end")
        for one, next_ in zip(said[::2], said[1::2], strict=True)
    )


def test_two_backups_to_one_directory_take_turns(home: StateDir, tmp_path: Path, overlaps: list[str]) -> None:
    def attempt(_: int) -> str:
        try:
            return back_up(home, str(tmp_path / "backup")).name
        except TexthashError as error:
            return error.problem

    with ThreadPoolExecutor(2) as pool:
        ends = sorted(pool.map(attempt, range(2)))
    assert ends == sorted([read_release(home).name, f"{tmp_path / 'backup'} holds a backup already."])
    assert in_turn(overlaps)
    assert len(overlaps) == 2 * len(read_release(home).shards)
    other = StateDir(tmp_path / "other")
    restore_backup(other, str(tmp_path / "backup"))
    assert contents(other) == contents(home)


def test_a_backup_that_is_restored_twice_at_once_is_whole(home: StateDir, tmp_path: Path, overlaps: list[str]) -> None:
    back_up(home, str(tmp_path / "backup"))
    overlaps.clear()
    other = StateDir(tmp_path / "other")
    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(lambda _: restore_backup(other, str(tmp_path / "backup")), range(2)))
    assert in_turn(overlaps)
    assert len(overlaps) == 2 * len(made[0].shards), "the second restores what the first has written"
    assert contents(other) == contents(home)
    assert [finding.check for finding in verify(other, sample=0) if not finding.ok] == []


def test_a_backup_takes_no_directory_that_holds_other_files(home: StateDir, tmp_path: Path) -> None:
    for target in (home.root, home.index, tmp_path / "mine"):
        target.mkdir(exist_ok=True)
        (target / "notes.txt").touch()
        before = sorted(target.iterdir())
        with pytest.raises(UsageError, match="holds other files"):
            back_up(home, str(target))
        assert sorted(target.iterdir()) == before


def test_a_backup_takes_no_path_that_lance_does_not_take(home: StateDir, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be printed"):
        back_up(home, str(tmp_path / "new\nline"))
    assert not (tmp_path / "new\nline").exists()
