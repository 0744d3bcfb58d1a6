"""Where state lies."""

from __future__ import annotations

import pytest

from texthash.errors import UsageError
from texthash.home import resolve_home


def test_the_argument_beats_the_variable_and_the_variable_the_default(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TEXTHASH_HOME", raising=False)
    assert resolve_home().root == tmp_path / ".texthash"
    monkeypatch.setenv("TEXTHASH_HOME", str(tmp_path / "variable"))
    assert resolve_home().root == tmp_path / "variable"
    assert resolve_home(tmp_path / "argument").root == tmp_path / "argument"


def test_a_relative_place_is_made_absolute_where_the_person_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    home = resolve_home("state")
    monkeypatch.chdir("/")
    assert home.root == tmp_path / "state"
    assert home.tracking_uri == f"sqlite:///{tmp_path}/state/mlflow.db"


def test_the_persons_own_directory_is_understood(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve_home("~/state").root == tmp_path / "state"


def test_everything_lies_under_the_root(tmp_path):
    home = resolve_home(tmp_path)
    places = (home.downloads, home.runs, home.index, home.artifacts, home.corpus("pydoc", "random60"))
    assert all(place.is_relative_to(tmp_path) for place in places)
    assert len(set(places)) == len(places)
    assert home.corpus("a", "b") != home.corpus("b", "a")


def test_looking_for_a_place_makes_none(tmp_path):
    resolve_home(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_file_or_an_object_store_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is a file, not a directory"):
        resolve_home(tmp_path / "file")
    with pytest.raises(UsageError, match="s3://bucket/state is an object-store address"):
        resolve_home("s3://bucket/state")
