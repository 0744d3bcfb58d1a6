"""Output of commands and programs: JSON, or tables for a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from texthash.progress import log_line

if TYPE_CHECKING:
    from rich.console import Console

_WIDE = 10_000
_SHORTENED = {"title", "text"}
_LONG = 120
_JOINERS = "\u200c\u200d"  # of letters of Persian and Hindi, and of emoji
_LAYOUT = "\n\t" + _JOINERS
_FEW = 10  # numbers that fit on one line


def print_json(value: Any) -> None:
    """Print a value as JSON on stdout."""
    print(written_json(value, sys.stdout, indent=2))


def written_json(value: Any, file: TextIO, indent: int | None = None) -> str:
    """Return a value as JSON, with the letters of all languages where the file can have them.

    What is not printable is escaped, as in :func:`print_document`: some of it controls a terminal.
    """
    text = json.dumps(value, indent=indent, default=str, ensure_ascii=False)
    if text.isascii():
        return text
    text = "".join(c if c.isascii() or c.isprintable() or c in _JOINERS else json.dumps(c)[1:-1] for c in text)
    try:
        text.encode(file.encoding or "utf-8")
    except UnicodeEncodeError:  # the encoding of another locale
        return json.dumps(value, indent=indent, default=str)
    return text


def print_table(rows: Sequence[dict[str, Any]], as_json: bool, columns: Sequence[str] | None = None) -> None:
    """Print rows as JSON, or as a table of the given columns; long titles and texts end in an ellipsis.

    Control characters are escaped, as in :func:`print_document`.
    """
    if as_json:
        print_json(list(rows))
        return
    if not rows:
        log_line("none found")
        return
    _print(rows, list(columns or rows[0]))


def print_document(document: Mapping[str, Any]) -> None:
    """Print a document as plain text: one line for each member, then its text.

    Control characters are escaped, so that no document moves the cursor or hides a part of another line.
    """
    members = {name: value for name, value in document.items() if name != "text"}
    for name, value in members.items():
        text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        if isinstance(value, Mapping):
            text = json.dumps(value, ensure_ascii=False)
        print(f"{name.replace('_', ' '):<{max(map(len, members))}}  {_printable(text)}")
    if document["text"]:
        print(f"\n{_printable(document['text'], keep=_LAYOUT)}")


def _printable(text: str, keep: str = "") -> str:
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)


def print_auto(summary: Mapping[str, Any], file: TextIO | None = None) -> None:
    """Print the summary of a program as JSON, or on a terminal as tables.

    Args:
        summary: Plain values. Mappings with many numbers under the same names (metrics of several splits) become the
            columns of one table. A list of mappings becomes a table of rows, or a table each if they hold such metrics.
        file: Output; default stdout.
    """
    out = file or sys.stdout
    if not out.isatty():
        print(written_json(summary, out, indent=2), file=out, flush=True)
        return
    _print_summary(summary, out)
    out.flush()


def _print_summary(summary: Mapping[str, Any], file: TextIO) -> None:
    metrics = {name: value for name, value in summary.items() if _is_metrics(value)}
    rows = {name: value for name, value in summary.items() if _is_rows(value)}
    facts = {
        name.replace("_", " "): _line(value)
        for name, value in summary.items()
        if name not in metrics and name not in rows and value not in (None, [], {})
    }
    for name, value in facts.items():  # A table would break a path over two lines.
        print(f"{name:<{max(map(len, facts))}}  {value}", file=file)
    while metrics:
        names = next(iter(metrics.values())).keys()
        alike = {title: metrics.pop(title) for title in list(metrics) if metrics[title].keys() == names}
        table = [{"metric": name, **{title: values[name] for title, values in alike.items()}} for name in names]
        _print(table, ["metric", *alike], file)
    for entries in rows.values():
        if any(_is_metrics(value) for value in entries[0].values()):
            for entry in entries:
                _print_summary(entry, file)
        else:
            _print([{name: _line(value) for name, value in entry.items()} for entry in entries], [*entries[0]], file)


def _is_metrics(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and len(value) > _FEW
        and all(isinstance(number, (int, float)) for number in value.values())
    )


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(entry, Mapping) for entry in value)


def _line(value: Any) -> Any:
    """Join several values on one line; return a single one unchanged."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_line(member)}" for name, member in value.items() if member is not None)
    return ", ".join(str(_line(member)) for member in value) if isinstance(value, (list, tuple)) else value


def _print(rows: Sequence[dict[str, Any]], names: list[str], file: TextIO | None = None) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    for name in names:
        table.add_column(name, no_wrap=name == names[0])
    for row in rows:
        table.add_row(*(_cell(row[name], _LONG if name in _SHORTENED else None) for name in names))
    # In a file or a pipe, a row is one line.
    console = Console(file=file, width=None if (file or sys.stdout).isatty() else _WIDE)
    anywhere = console.options.update(max_width=_WIDE)
    if console.measure(table, options=anywhere).minimum > console.width:
        _print_members(rows, names, console)
    else:
        console.print(table)


def _print_members(rows: Sequence[dict[str, Any]], names: list[str], console: Console) -> None:
    """Print rows one member a line, for a terminal too narrow for the words of the columns beside each other."""
    from rich.table import Table

    for number, row in enumerate(rows):
        if number:
            console.print()
        members = Table(box=None, show_header=False)
        members.add_column(style="bold", no_wrap=True)
        members.add_column(overflow="fold")
        for name in names:
            members.add_row(name, _cell(row[name], _LONG if name in _SHORTENED else None))
        console.print(members)


def _cell(value: Any, longest: int | None = None) -> str:
    from rich.markup import escape

    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() else f"{value:.4g}"
    text = _printable(" ".join(str(value).split()), keep=_JOINERS)
    return escape(text if longest is None or len(text) <= longest else text[: longest - 1].rstrip() + "…")
