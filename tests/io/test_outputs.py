"""Paths of outputs: what is replaced is the file that was named, and nothing but a file is."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tests.permissions import closed
from texthash.errors import UsageError
from texthash.io.atomic import whole, write_text
from texthash.io.outputs import output_folder


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "file").write_text("before")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "broken").symlink_to(tmp_path / "absent" / "file")
    (tmp_path / "full").symlink_to("/dev/full")
    (tmp_path / "folder").mkdir()
    (tmp_path / "linked").symlink_to(tmp_path / "folder")
    os.mkfifo(tmp_path / "pipe")
    return tmp_path


@pytest.mark.parametrize("name", ["file", "link", "new", "a/new", "ünï\ncödé"])
def test_a_file_is_made_or_replaced(place: Path, name: str) -> None:
    write_text(place / name, "after")
    assert (place / name).read_text() == "after"
    assert (place / "link").is_symlink()
    assert (place / "file").read_text() == ("after" if name in ("file", "link") else "before")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("folder", "is a folder"),
        ("linked", "is a folder"),
        ("pipe", "is a pipe, device or socket"),
        ("full", "is a pipe, device or socket"),
        ("broken", "is a link to nothing"),
    ],
)
def test_nothing_but_a_file_is_replaced(place: Path, name: str, problem: str) -> None:
    before = {path.name: stat.S_IFMT(path.lstat().st_mode) for path in place.iterdir()}
    with pytest.raises(UsageError, match=problem) as refused:
        write_text(place / name, "after")
    assert str(place / name) in refused.value.problem
    assert {path.name: stat.S_IFMT(path.lstat().st_mode) for path in place.iterdir()} == before


def test_a_folder_that_cannot_be_written_is_refused_with_the_name_of_the_file(place: Path) -> None:
    with closed(place / "folder", 0o500), pytest.raises(PermissionError) as refused, whole(place / "folder" / "new"):
        pytest.fail("the work began")
    assert refused.value.filename == str(place / "folder" / "new")


@pytest.mark.parametrize("name", ["folder", "linked", "new", "a/new"])
def test_a_folder_is_made_or_taken(place: Path, name: str) -> None:
    assert output_folder(place / name).is_dir()


@pytest.mark.parametrize("name", ["file", "link", "pipe", "full", "broken"])
def test_nothing_but_a_folder_is_written_into(place: Path, name: str) -> None:
    with pytest.raises(UsageError, match=f"{place / name} is "):
        output_folder(place / name)


def test_a_full_disk_is_named_by_the_file_that_did_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "out.npy"

    def write() -> None:
        with whole(path) as partial:
            partial.symlink_to("/dev/full")
            partial.write_bytes(bytes(10_000))

    def connect() -> None:
        with whole(path):
            raise ConnectionRefusedError(111, "refused")

    with pytest.raises(OSError, match=f"No space left on device: '{path}'"):
        write()
    with pytest.raises(OSError, match="refused") as caught:
        connect()
    assert caught.value.filename is None, "it is about something else"
