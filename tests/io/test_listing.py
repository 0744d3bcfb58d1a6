"""Lists of files: a folder that cannot be read is not an empty one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.permissions import closed
from texthash.io.listing import matching


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b/x.json", "a/x.json", "a/y.json", ".hidden/x.json", "c/other.txt", "r2.json", "r1.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("r*.json", ["r1.json", "r2.json"]),
        ("*/x.json", [".hidden/x.json", "a/x.json", "b/x.json"]),
        ("[!.]*/x.json", ["a/x.json", "b/x.json"]),
        ("a/*.json", ["a/x.json", "a/y.json"]),
        ("c", ["c"]),
        ("d/*", []),
        ("r1.json/*", []),
    ],
)
def test_paths_that_match_a_pattern(folder: Path, pattern: str, names: list[str]) -> None:
    assert [path.relative_to(folder).as_posix() for path in matching(folder, pattern)] == names


def test_nothing_is_in_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    assert matching(tmp_path / "absent", "*") == []


def test_a_closed_folder_is_an_error(folder: Path) -> None:
    with closed(folder / "a"), pytest.raises(PermissionError):
        matching(folder / "a", "*")


def test_a_closed_folder_further_down_is_left_out_and_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with closed(folder / "a"):
        found = matching(folder, "[!.]*/x.json")
    assert found == [folder / "b/x.json"]
    assert str(folder / "a") in capsys.readouterr().err
