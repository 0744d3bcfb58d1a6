"""Commands that list what a state directory holds: what cannot be read does not look as if it were not there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.permissions import closed

RunCli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TEXTHASH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.mark.parametrize(
    ("folder", "command"),
    [
        ("corpora/mine", "corpora show mine"),
        ("corpora", "corpora show mine"),
        ("downloads", "corpora"),
        ("releases", "index info"),
        ("snapshots", "index snapshots"),
        ("runs", "study list"),
        ("runs/studies", "study list"),
        ("runs/models", "evaluate latest"),
        ("runs/unsent", "sync"),
    ],
)
def test_a_closed_folder_is_named(home: Path, run_cli: RunCli, folder: str, command: str) -> None:
    (home / folder).mkdir(parents=True)
    with closed(home / folder):
        status, out, error = run_cli(*command.split())
    assert status == 1
    assert not out
    assert "access is denied" in error
    assert str(home / folder) in error
    assert "remedy: " in error


def test_a_closed_folder_of_another_user_hides_no_other_study(home: Path, run_cli: RunCli) -> None:
    (home / "runs/studies/theirs").mkdir(parents=True)
    (home / "runs/studies/mine").mkdir()
    (home / "runs/studies/mine/study.json").touch()
    with closed(home / "runs/studies/theirs"):
        _, _, error = run_cli("study", "list")
    assert f"{home / 'runs/studies/theirs'} is closed to this user" in error
