"""Pages of headings, paragraphs, tables and plots, rendered both as HTML and as Markdown."""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from texthash.reporting.plots import png

_LONG = 12  # rows


class Page:
    """Page as a sequence of blocks of plain strings, which the HTML template escapes.

    Attributes:
        images: PNG files of the plots by name.
    """

    def __init__(self) -> None:
        self.images: dict[str, bytes] = {}
        self._sections: list[str] = []
        self._blocks: list[dict[str, Any]] = []

    def heading(self, text: str, level: int = 2) -> None:
        """Add a heading; those of level 2 form the table of contents if there are several."""
        if level == 2:
            self._sections.append(text)
        self._add("heading", text=text, level=level, section=len(self._sections) if level == 2 else None)

    def text(self, text: str, kind: str = "note") -> None:
        """Add a paragraph of the kind ``note`` or ``warning``."""
        self._add("text", text=text, kind=kind)

    def table(
        self,
        columns: Sequence[str],
        rows: Sequence[Sequence[str]],
        kind: str = "",
        breaks: Collection[int] = (),
        fold: str = "",
    ) -> None:
        """Add a table.

        Args:
            columns: Titles of the columns.
            rows: Cells as text.
            kind: ``texts`` for a table of text rather than numbers.
            breaks: Row numbers with a stronger line above.
            fold: Title below which a long table is folded; empty for a table that is always open.
        """
        fold = f"{fold} ({len(rows)} rows)" if fold and len(rows) > _LONG else ""
        rule = ["---", *["---" if kind == "texts" else "---:"] * (len(columns) - 1)]
        self._add("table", columns=columns, rows=rows, rule=rule, kind=kind, breaks=breaks, fold=fold)

    def plots(self, named: Mapping[str, tuple[str, Figure]], kind: str = "") -> None:
        """Add plots side by side; those of the kind ``wide`` take a line each."""
        images = {name: png(figure) for name, (_, figure) in named.items()}
        self.images.update(images)
        plots = [
            {"name": name, "caption": caption, "data": base64.b64encode(images[name]).decode()}
            for name, (caption, _) in named.items()
        ]
        self._add("plots", plots=plots, kind=kind)

    def folded(self, title: str, text: str) -> None:
        """Add preformatted text, folded below its title."""
        self._add("folded", title=title, text=text)

    def render(self, title: str) -> tuple[str, str]:
        """Return the finished page as HTML and as Markdown."""
        html, markdown = (
            _ENVIRONMENT.get_template(f"report.{form}.jinja").render(
                title=title, sections=self._sections, blocks=self._blocks
            )
            for form in ("html", "md")
        )
        return html, markdown

    def _add(self, block: str, **content: Any) -> None:
        self._blocks.append({"is": block, **content})


def _cells(cells: Sequence[str]) -> str:
    """Return the line of a Markdown table."""
    return "| " + " | ".join(_plain(cell).replace("|", "\\|") for cell in cells) + " |"


def _plain(text: str) -> str:
    """Return a text, such as the title of a document, on one line of Markdown, without HTML, links, images and code."""
    return " ".join(_MARKS.sub(r"\\\g<0>", text).replace("&", "&amp;").replace("<", "&lt;").split())


_MARKS = re.compile(r"[\\`]|\](?=[(\[:])")  # a bracket that ends the text of a link or an image
_ENVIRONMENT = Environment(
    loader=PackageLoader("texthash.reporting", package_path=""),
    autoescape=lambda name: name is not None and name.endswith(".html.jinja"),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_ENVIRONMENT.filters["cells"] = _cells
_ENVIRONMENT.filters["plain"] = _plain
