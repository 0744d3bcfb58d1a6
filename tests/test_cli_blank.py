"""Blank and odd values of every option and argument of every command, found by a walk through the parser."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from texthash.cli.app import app

TEXTS = ("texts", "query")  # a blank text is one
NAMES = ("ids", "document_id", "label")  # so is an id of white space
# What a command needs beside the value that is tried; without it, it would end for another reason.
NEEDED: dict[tuple[str, ...], list[str]] = {
    ("compare",): ["latest"],
    ("search",): ["text"],
    ("index", "search"): ["text"],
    ("encode",): ["text"],
    ("plan",): ["--documents", "1000"],
    ("index", "show"): ["id"],
    ("index", "facets"): ["labels"],
    ("index", "upsert"): ["rows.jsonl"],
    ("index", "delete"): ["id"],
    ("index", "backup"): ["backup"],
    ("index", "export"): ["codes.parquet"],
    ("corpora", "show"): ["agnews"],
    ("corpora", "fetch"): ["agnews"],
    ("methods", "show"): ["nash"],
    ("serve", "promote"): ["latest"],
    ("study", "run"): ["study.yaml"],
}
ODD = ("\x01", "x" * 5_000, "-1", "nan", "é" * 300)


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, (*path, name))


def values_of(command: Any) -> Iterator[Any]:
    """The options and arguments of a command that take a value."""
    for parameter in command.params:
        if not getattr(parameter, "is_flag", False) and parameter.name != "help":
            yield parameter


def words(path: tuple[str, ...], parameter: Any, value: str) -> list[str]:
    if not path:
        return [f"{parameter.opts[0]}={value}", "index", "info"]
    if parameter.param_type_name == "argument":
        before = NEEDED.get(path, []) if parameter.name in ("overrides", "second") else []
        return [*path, *before, "--", value]
    return [*path, *NEEDED.get(path, []), f"{parameter.opts[0]}={value}"]


TRIED = [
    (path, parameter) for path, command in commands(typer.main.get_command(app)) for parameter in values_of(command)
]


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_cli: Any) -> Any:
    """Runs one command in an empty directory, with a state directory that does not exist."""
    monkeypatch.setenv("TEXTHASH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # no cluster is started by mistake
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.jsonl").write_text('{"id": "a", "text": "sort an array"}\n')
    return run_cli


def test_the_walk_finds_the_parameters() -> None:
    assert len(TRIED) > 80
    assert {"--output", "--home", "--release", "--address"} <= {parameter.opts[0] for _, parameter in TRIED}


@pytest.mark.parametrize("value", ["", pytest.param(" \t", marks=pytest.mark.slow)])
def test_no_blank_value_is_read_as_something_else(cli: Any, tmp_path: Path, value: str) -> None:
    for path, parameter in TRIED:
        if parameter.name in TEXTS or (value and parameter.name in NAMES):
            continue
        home = os.environ["TEXTHASH_HOME"]
        status, out, err = cli(*words(path, parameter, value))
        assert (status, out) == (2, ""), (path, parameter.name, err)
        assert f"is blank: {value!r}" in err
        assert err.count("error: ") == err.count("  remedy: ") == 1
        assert os.environ["TEXTHASH_HOME"] == home
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.jsonl"]


@pytest.mark.slow
@pytest.mark.parametrize("value", ODD)
def test_no_odd_value_ends_in_a_traceback(
    cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    for path, parameter in TRIED:
        monkeypatch.setenv("TEXTHASH_HOME", str(tmp_path / "home"))
        # These have nothing to do with a state directory that is empty; with one they are tried elsewhere.
        if path in ((), ("corpora",), ("corpora", "show"), ("corpora", "fetch")):
            continue
        status, _, err = cli(*words(path, parameter, value))
        assert status in (1, 2), (path, parameter.name, err)
        assert err.count("error: ") == 1, (path, parameter.name, err)
        assert "Traceback" not in err
