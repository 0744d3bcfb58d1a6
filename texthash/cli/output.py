"""What commands print: JSON, or rows as a table."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from texthash.progress import say

_WIDE = 10_000
_SHORTENED = {"title", "text"}
_LONG = 120


def emit(value: Any) -> None:
    """A value as JSON on stdout."""
    print(json.dumps(value, indent=2, default=str))


def show(rows: Sequence[dict[str, Any]], as_json: bool, columns: Sequence[str] | None = None) -> None:
    """Rows as JSON, or as a table of the given columns, in which long titles and texts end in an ellipsis."""
    if as_json:
        emit(list(rows))
        return
    if not rows:
        say("there are none")
        return
    from rich.console import Console
    from rich.table import Table

    names = list(columns or rows[0])
    table = Table(box=None, header_style="bold")
    for name in names:
        table.add_column(name, no_wrap=name == names[0])
    for row in rows:
        table.add_row(*(_cell(row[name], _LONG if name in _SHORTENED else None) for name in names))
    # Into a file or a pipe, a row is one line.
    Console(width=None if sys.stdout.isatty() else _WIDE).print(table)


def _cell(value: Any, longest: int | None = None) -> str:
    from rich.markup import escape

    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() else f"{value:.4g}"
    text = " ".join(str(value).split())
    return escape(text if longest is None or len(text) <= longest else text[: longest - 1].rstrip() + "…")
