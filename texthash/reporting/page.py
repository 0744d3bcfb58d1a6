"""The blocks of a report, written both as HTML and as Markdown."""

from __future__ import annotations

import base64
import html
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from string import Template

from matplotlib.figure import Figure

from texthash.reporting.plots import png

_LONG = 12  # rows


@dataclass
class Page:
    """Builder of a page in both formats. All text is escaped here, so callers pass plain strings."""

    html: list[str] = field(default_factory=list)
    markdown: list[str] = field(default_factory=list)
    images: dict[str, bytes] = field(default_factory=dict)
    sections: list[str] = field(default_factory=list)

    def heading(self, text: str, level: int = 2) -> None:
        """Add a heading; those of level 2 form the table of contents if there are several."""
        anchor = ""
        if level == 2:
            self.sections.append(text)
            anchor = f' id="section-{len(self.sections)}"'
        self.html.append(f"<h{level}{anchor}>{html.escape(text)}</h{level}>")
        self.markdown.append(f"{'#' * level} {text}\n")

    def text(self, text: str, kind: str = "note") -> None:
        """Add a paragraph of the kind ``note`` or ``warning``."""
        self.html.append(f'<p class="{kind}">{html.escape(text)}</p>')
        self.markdown.append(f"{'> **Warning** ' if kind == 'warning' else ''}{text}\n")

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

        def line(cells: Sequence[str], tag: str, kind: str = "") -> str:
            return f"<tr{kind}>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

        body = "".join(line(row, "td", ' class="new"' if n in breaks else "") for n, row in enumerate(rows))
        head = line(columns, "th")
        table = f'<div class="scroll"><table class="{kind}"><thead>{head}</thead><tbody>{body}</tbody></table></div>'
        folded = fold and len(rows) > _LONG
        title = f"{html.escape(fold)} ({len(rows)} rows)"
        self.html.append(f"<details><summary>{title}</summary>{table}</details>" if folded else table)
        rule = ["---", *["---" if kind == "texts" else "---:"] * (len(columns) - 1)]
        lines = [" | ".join(cell.replace("|", "\\|") for cell in cells) for cells in (columns, rule, *rows)]
        text = "\n".join(f"| {text} |" for text in lines) + "\n"
        self.markdown.append(f"<details><summary>{title}</summary>\n\n{text}\n</details>\n" if folded else text)

    def plots(self, named: Mapping[str, tuple[str, Figure]], kind: str = "") -> None:
        """Add plots side by side; those of the kind ``wide`` take a line each."""
        self.html.append('<div class="plots">')
        for name, (caption, figure) in named.items():
            self.images[name] = png(figure)
            data = base64.b64encode(self.images[name]).decode()
            shown = html.escape(caption)
            image = f'<img alt="{shown}" src="data:image/png;base64,{data}">'
            self.html.append(f'<figure class="{kind}">{image}<figcaption>{shown}</figcaption></figure>')
            self.markdown.append(f"![{caption}](plots/{name}.png)\n")
        self.html.append("</div>")

    def folded(self, title: str, text: str) -> None:
        """Add preformatted text, folded below its title."""
        self.html.append(f"<details><summary>{html.escape(title)}</summary><pre>{html.escape(text)}</pre></details>")
        self.markdown.append(
            f"<details><summary>{html.escape(title)}</summary>\n\n```yaml\n{text}\n```\n\n</details>\n"
        )

    def render(self, title: str) -> tuple[str, str]:
        """Return the finished page as HTML and as Markdown."""
        links = (f'<li><a href="#section-{n}">{html.escape(t)}</a></li>' for n, t in enumerate(self.sections, start=1))
        contents = f"<nav><ul>{''.join(links)}</ul></nav>" if len(self.sections) > 1 else ""
        template = Template(resources.files(__package__).joinpath("report.html").read_text(encoding="utf-8"))
        return (
            template.substitute(title=html.escape(title), contents=contents, body="\n".join(self.html)),
            f"# {title}\n\n" + "\n".join(self.markdown),
        )
