"""Text is read and written as UTF-8 everywhere, whatever the locale says."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(path for room in ("texthash", "pipelines", "deploy") for path in (ROOT / room).rglob("*.py"))
METHODS = {"read_text", "write_text", "TextIOWrapper", "FileHandler"}
COMPRESSED = {"gzip", "bz2", "lzma"}
CHILDREN = {"run", "Popen", "check_output", "check_call", "call"}
TEMPORARY = {"NamedTemporaryFile", "TemporaryFile", "SpooledTemporaryFile"}


def unstated(tree: ast.AST) -> list[ast.Call]:
    """Calls that open text, or read a program's output as text, without the encoding."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [call for call in calls if _is_text(call) and "encoding" not in _keywords(call)]


def _keywords(call: ast.Call) -> dict[str | None, ast.expr]:
    return {keyword.arg: keyword.value for keyword in call.keywords}


def _is_text(call: ast.Call) -> bool:
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    if name in METHODS:  # a function of that name, as in texthash.io.atomic, is one of the project's own
        return isinstance(function, ast.Attribute)
    if name in CHILDREN:
        return any(_is_true(_keywords(call).get(flag)) for flag in ("text", "universal_newlines"))
    if name in TEMPORARY:
        return "b" not in _mode(call, 0, "w+b")
    if name == "fdopen":
        return "b" not in _mode(call, 1, "r")
    if name != "open":
        return False
    if isinstance(function, ast.Name):
        return "b" not in _mode(call, 1, "r")
    assert isinstance(function, ast.Attribute)
    if isinstance(function.value, ast.Name) and function.value.id in COMPRESSED:
        return "t" in _mode(call, 1, "rb")
    if not call.args and set(_keywords(call)) <= {"mode", "newline", "errors", "buffering"}:
        return "b" not in _mode(call, 0, "r")  # Path.open
    mode = _mode(call, 0, "")
    return bool(mode) and set(mode) <= set("rwxat+") and "b" not in mode


def _mode(call: ast.Call, position: int, default: str) -> str:
    given = _keywords(call).get("mode") or (call.args[position] if len(call.args) > position else None)
    if given is None:
        return default
    return given.value if isinstance(given, ast.Constant) and isinstance(given.value, str) else "b"


def _is_true(value: ast.expr | None) -> bool:
    return isinstance(value, ast.Constant) and value.value is True


def test_every_text_file_states_its_encoding():
    assert len(SOURCES) > 250
    found = []
    for path in SOURCES:
        for call in unstated(ast.parse(path.read_text(encoding="utf-8"))):
            found.append(f"{path.relative_to(ROOT)}:{call.lineno}: {ast.unparse(call)[:80]}")
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("open('x')", 1),
        ("open('x', 'rb')", 0),
        ("open('x', 'w', encoding='utf-8')", 0),
        ("path.open()", 1),
        ("path.open('a')", 1),
        ("path.open('wb')", 0),
        ("path.read_text()", 1),
        ("path.write_text('')", 1),
        ("gzip.open('x')", 0),
        ("gzip.open('x', 'rt')", 1),
        ("subprocess.run(['x'], text=True)", 1),
        ("subprocess.run(['x'], text=True, encoding='utf-8')", 0),
        ("subprocess.run(['x'])", 0),
        ("NamedTemporaryFile('w')", 1),
        ("NamedTemporaryFile()", 0),
        ("IndexWriter.open(home)", 0),
    ],
)
def test_the_rule_finds_what_it_is_for(source, count):
    assert len(unstated(ast.parse(source))) == count
