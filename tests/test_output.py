"""What programs print when they are done: JSON for other programs, tables for a person at a terminal."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from texthash.cli.output import print_auto, print_json, print_table

FIGURES = {f"p_at_{k}": k / 16 for k in range(1, 13)}
SUMMARY = {
    "run": "abc",
    "report": None,
    "trials": [
        {"trial": "t0", "params": {"hidden": 32, "rate": 0.25}, "validation": 0.5, "fate": "done"},
        {"trial": "t1", "params": {"hidden": 64, "rate": 0.5}, "validation": None, "fate": "failed"},
    ],
    "models": [{"directory": Path("/a") / ("long" * 40), "validation": FIGURES, "test": FIGURES | {"p_at_1": 0.125}}],
    "release": {"name": "r-1", "documents": 40, "model_version": None},
}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The words of each line on a terminal of 80 columns without colours."""
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "80")
    file = Terminal()
    print_auto(SUMMARY, file)
    return [line.split() for line in file.getvalue().splitlines()]


def test_another_program_reads_json() -> None:
    file = io.StringIO()
    print_auto(SUMMARY, file)
    assert json.loads(file.getvalue()) == json.loads(json.dumps(SUMMARY, default=str))


def test_json_shows_letters_and_escapes_what_controls_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    value = {"title": "漢字 é", "text": "\x1b[2J \x9b2J \u202e \ud800"}
    for encoding in ("utf-8", "ascii"):
        file = io.TextIOWrapper(io.BytesIO(), encoding)
        monkeypatch.setattr("sys.stdout", file)
        print_json(value)
        file.flush()
        written = file.buffer.getvalue().decode()
        assert json.loads(written) == value
        assert ("漢字 é" in written) == (encoding == "utf-8")
        assert all(character.isprintable() or character == "\n" for character in written)


def test_a_person_reads_facts_and_rows(lines: list[list[str]]) -> None:
    assert ["run", "abc"] in lines
    assert ["release", "name", "r-1,", "documents", "40"] in lines
    assert ["directory", str(SUMMARY["models"][0]["directory"])] in lines, "in one piece"
    assert not [line for line in lines if line[:1] == ["report"]], "there is none"
    assert ["trial", "params", "validation", "fate"] in lines
    assert ["t0", "hidden", "32,", "rate", "0.25", "0.5", "done"] in lines
    assert ["t1", "hidden", "64,", "rate", "0.5", "failed"] in lines


def test_figures_of_two_splits_stand_side_by_side(lines: list[list[str]]) -> None:
    assert ["metric", "validation", "test"] in lines
    assert ["p_at_1", "0.0625", "0.125"] in lines
    assert ["p_at_8", "0.5", "0.5"] in lines


def test_a_table_that_a_terminal_has_no_room_for_is_printed_one_member_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    rows = [{f"member_{number}": f"value_{number}_of_{row}" for number in range(8)} for row in range(2)]
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    print_table(rows, False)
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        *([name, value] for name, value in rows[0].items()),
        [],
        *([name, value] for name, value in rows[1].items()),
    ], "whole words"
    few = [{name: row[name] for name in list(row)[:4]} for row in rows]
    print_table(few, False)
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        list(few[0]),
        *(list(row.values()) for row in few),
    ]
