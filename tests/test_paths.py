"""Where state lies."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from texthash.config.shipped import find_config
from texthash.errors import UsageError
from texthash.input_files import require_file
from texthash.io.outputs import output_folder, replaceable
from texthash.paths import node_cache, resolve_home


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


def test_the_store_is_the_root_unless_it_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("TEXTHASH_STORE", raising=False)
    assert resolve_home(tmp_path).store == tmp_path
    monkeypatch.setenv("TEXTHASH_STORE", str(tmp_path / "store"))
    home = resolve_home(tmp_path / "root")
    assert home.corpus("a", "b").is_relative_to(tmp_path / "store")
    assert home.runs.is_relative_to(tmp_path / "root")
    monkeypatch.setenv("TEXTHASH_STORE", "s3://bucket/prefix")
    home = resolve_home(tmp_path / "root")
    assert str(home.corpus("a", "b")) == "s3://bucket/prefix/corpora/a/b"
    assert pickle.loads(pickle.dumps(home)) == home


def test_an_address_as_home_is_the_store_and_files_get_a_directory_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("TEXTHASH_STORE", raising=False)
    homes = [resolve_home(f"s3://bucket/{name}") for name in ("one", "two/a", "two-a", "two a")]
    assert str(homes[0].corpus("a", "b")) == "s3://bucket/one/corpora/a/b"
    assert all(home.root.is_relative_to(tmp_path) for home in homes)
    assert len({home.root for home in homes}) == len(homes)
    (before := tmp_path / ".texthash" / "stores" / "bucket-two-a").mkdir(parents=True)
    assert resolve_home("s3://bucket/two-a").root == before, "that of an earlier version"
    monkeypatch.setenv("TEXTHASH_STORE", "s3://bucket/other")
    with pytest.raises(UsageError, match="are two stores"):
        resolve_home("s3://bucket/one")


@pytest.mark.parametrize(
    ("address", "message"),
    [("s3://", "names no bucket"), ("nosuch://bucket/x", "is not the address of an object store")],
)
def test_an_address_that_cannot_be_used_says_why(address, message):
    with pytest.raises(UsageError, match=message):
        resolve_home(address)


@pytest.mark.parametrize("prefix", ["a%20b", "a//b", "a/../b", "a/./b", "what?", "a#b", "a[1]", "a*", "a\\b", "a\nb"])
def test_a_prefix_that_clients_read_differently_is_refused(monkeypatch, prefix):
    """Lance decodes %20, s3fs takes a[1] for a pattern: part of the state would be elsewhere."""
    address = f"s3://bucket/{prefix}"
    monkeypatch.setenv("TEXTHASH_STORE", address)
    for home in (address, "home"):
        with pytest.raises(UsageError, match="which clients of object stores read differently"):
            resolve_home(home)


@pytest.mark.parametrize("prefix", ["a b", "büro", "a/", "a+b=c&d,e@f", "..a/.b"])
def test_other_prefixes_are_taken(monkeypatch, tmp_path, prefix):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve_home(f"s3://bucket/{prefix}").state_name == f"s3://bucket/{prefix}".rstrip("/")


def test_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is a file, not a directory"):
        resolve_home(tmp_path / "file")


@pytest.mark.parametrize("variable", ["TEXTHASH_HOME", "TEXTHASH_STORE"])
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("file/below/it", r"/file is a file, not a directory, so .*/file/below/it cannot be one"),
        ("pipe", "/pipe is a file, not a directory"),
        ("round", "/round leads through a link to itself"),
        ("round/below", "/round/below leads through a link to itself"),
        ("dangling", "/dangling is a link to nothing"),
    ],
)
def test_what_can_be_no_directory_is_refused_before_any_work(tmp_path, monkeypatch, variable, name, says):
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "round").symlink_to("round")
    (tmp_path / "dangling").symlink_to("nowhere")
    monkeypatch.setenv(variable, str(tmp_path / name))
    with pytest.raises(UsageError, match=says) as raised:
        resolve_home()
    assert variable in raised.value.remedy


@pytest.mark.parametrize("use", [output_folder, replaceable, require_file, find_config])
def test_an_address_is_no_path_of_this_machine(tmp_path, monkeypatch, use):
    monkeypatch.chdir(tmp_path)
    for name in ("s3://bucket/report", "file:///tmp/report"):
        with pytest.raises(UsageError, match="is an address, not a path of this machine"):
            use(Path(name))
    monkeypatch.setenv("TEXTHASH_CACHE", "s3://bucket/cache")
    with pytest.raises(UsageError, match="s3://bucket/cache is an address"):
        node_cache()
    assert not list(tmp_path.iterdir())


def test_the_option_takes_an_address_as_the_variable_does(tmp_path, monkeypatch, run_cli):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TEXTHASH_HOME", str(tmp_path))
    status, _, said = run_cli("--home", "memory://bucket/x", "index", "info")
    assert (status, "memory://bucket/x names no bucket" in said) == (2, True)
    assert not list(tmp_path.iterdir())
