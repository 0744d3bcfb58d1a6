"""Local copies of objects: one fetch, a budget, damage, and copies that are in use."""

from __future__ import annotations

import hashlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.io.store import Store
from tests.small_disk import small_disk
from texthash.errors import TexthashError
from texthash.io.array_file import ArrayFile, holds
from texthash.io.local_copies import HeldCopy, LocalCopies, NoRoomError
from texthash.paths import as_path


class Objects:
    """Objects of a bucket by number, of 1000 bytes each, and their copies."""

    def __init__(self, store: Store, folder: Path, most_bytes: int = 10_000) -> None:
        self.store, self.root = store, as_path(store.bucket())
        self.copies = LocalCopies(folder, most_bytes, least_free=0)

    def put(self, name: str) -> bytes:
        content = os.urandom(1000)
        (self.root / name).write_bytes(content)
        return content

    def hold(self, name: str, content: bytes) -> HeldCopy:
        return self.copies.hold(self.root / name, len(content), hashlib.sha256(content).hexdigest())

    def fetched(self, name: str) -> int:
        return sum(method == "GET" and path.endswith(name) for method, path in self.store.requests)


def test_an_object_is_fetched_once_whoever_asks(store: Store, tmp_path: Path) -> None:
    objects = Objects(store, tmp_path / "copies")
    content = objects.put("shard/a.arrow")
    with ThreadPoolExecutor(8) as pool:
        held = list(pool.map(lambda _: objects.hold("shard/a.arrow", content), range(8)))
    assert {copy.path.read_bytes() for copy in held} == {content}
    assert objects.fetched("a.arrow") == 1
    store.fault = lambda _: (503, "SlowDown")
    assert objects.hold("shard/a.arrow", content).path.read_bytes() == content


@pytest.mark.parametrize("damage", ["changed", "truncated", "emptied"])
def test_a_damaged_copy_is_fetched_again(store: Store, tmp_path: Path, damage: str) -> None:
    objects = Objects(store, tmp_path / "copies")
    content = objects.put("shard/a.arrow")
    path = objects.hold("shard/a.arrow", content).path
    path.write_bytes({"changed": content[:-1] + b"!", "truncated": content[:500], "emptied": b""}[damage])
    assert objects.hold("shard/a.arrow", content).path.read_bytes() == content
    assert objects.fetched("a.arrow") == 2


def test_a_damaged_object_is_an_error_and_leaves_nothing(store: Store, tmp_path: Path) -> None:
    objects = Objects(store, tmp_path / "copies")
    content = objects.put("shard/a.arrow")
    objects.put("shard/a.arrow")
    with pytest.raises(TexthashError, match=r"a\.arrow is damaged"):
        objects.hold("shard/a.arrow", content)
    assert [path for path in (tmp_path / "copies").rglob("*") if path.is_file()] == []


def test_the_budget_is_kept_and_what_is_held_stays(store: Store, tmp_path: Path) -> None:
    objects = Objects(store, tmp_path / "copies", most_bytes=2500)
    contents = {name: objects.put(name) for name in ("one/a", "two/b", "three/c", "four/d")}
    first, second = (objects.hold(name, contents[name]) for name in ("one/a", "two/b"))
    with pytest.raises(NoRoomError, match=r"exceeds the budget of 0\.0 MB\.\n.*document_copies_bytes"):
        objects.hold("three/c", contents["three/c"])
    path = first.path
    del first
    assert objects.hold("three/c", contents["three/c"]).path.is_file()
    assert (path.exists(), second.path.exists()) == (False, True)


def test_older_copies_of_a_folder_and_unused_ones_go(store: Store, tmp_path: Path) -> None:
    objects = Objects(store, tmp_path / "copies")
    contents = {name: objects.put(name) for name in ("one/a", "one/b", "one/c", "two/a", "three/a")}
    held = objects.hold("one/a", contents["one/a"])
    paths = {name: objects.hold(name, contents[name]).path for name in ("one/b", "two/a", "three/a")}
    os.utime(paths["two/a"], (time.time() - 100_000,) * 2)
    paths["one/c"] = objects.hold("one/c", contents["one/c"]).path
    assert held.path.exists(), "it is in use"
    assert {name for name, path in paths.items() if path.exists()} == {"three/a", "one/c"}


def test_a_full_or_closed_disk_is_no_room(store: Store, tmp_path: Path) -> None:
    content = Objects(store, tmp_path).put("a")
    with small_disk(tmp_path / "disk", 1) as disk:
        objects = Objects(store, disk.path / "copies")
        (objects.root / "a").write_bytes(content)
        disk.fill()
        with pytest.raises(NoRoomError, match="make "):
            objects.hold("a", content)
        disk.empty()
        assert objects.hold("a", content).path.read_bytes() == content
    (tmp_path / "file").write_text("no folder")
    objects = Objects(store, tmp_path / "file")
    (objects.root / "a").write_bytes(content)
    with pytest.raises(NoRoomError, match="cannot be copied"):
        objects.hold("a", content)


def test_a_failing_store_is_not_taken_for_a_full_disk(store: Store, tmp_path: Path) -> None:
    objects = Objects(store, tmp_path / "copies")
    content = objects.put("a")
    store.fault = lambda _: (403, "AccessDenied")
    with pytest.raises(OSError, match=r".") as failed:
        objects.hold("a", content)
    assert not isinstance(failed.value, TexthashError)
    store.reset()
    assert objects.hold("a", content).path.read_bytes() == content


def test_a_file_is_made_once_whoever_asks_and_again_when_damaged(tmp_path: Path) -> None:
    files, made = LocalCopies(tmp_path / "files", 10_000, least_free=0), []

    def make() -> ArrayFile:
        made.append(1)
        return ArrayFile({"version": 1})

    def hold() -> HeldCopy:
        return files.hold_made("shard/1.arrays", tmp_path / "shard", lambda path: holds(path, {"version": 1}), make)

    with ThreadPoolExecutor(8) as pool:
        held = list(pool.map(lambda _: hold(), range(8)))
    assert len({copy.path for copy in held}) == len(made) == 1
    for damaged in (b"", held[0].path.read_bytes()[:-1]):
        held[0].path.write_bytes(damaged)
        assert holds(hold().path, {"version": 1})
    assert len(made) == 3


def test_a_file_without_room_is_not_left_and_names_the_setting(tmp_path: Path) -> None:
    files = LocalCopies(tmp_path / "files", 10, least_free=0, setting="some.setting")
    with pytest.raises(NoRoomError, match=r"some\.setting"):
        files.hold_made("a.arrays", tmp_path, lambda path: holds(path, {}), lambda: ArrayFile({}))
    assert [path for path in (tmp_path / "files").rglob("*") if path.is_file()] == []


def test_an_error_of_making_is_raised_as_it_is(tmp_path: Path) -> None:
    def fail() -> ArrayFile:
        raise OSError("the store is away")

    files = LocalCopies(tmp_path / "files", 10_000, least_free=0)
    with pytest.raises(OSError, match="away") as failed:
        files.hold_made("a.arrays", tmp_path, lambda path: holds(path, {}), fail)
    assert not isinstance(failed.value, TexthashError)
