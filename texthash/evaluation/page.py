"""The blocks of a report, written as HTML and as Markdown at once."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from string import Template

from matplotlib.figure import Figure

from texthash.evaluation.plots import png


@dataclass
class Page:
    """Collects the same blocks in both forms. All text is escaped here, so that callers hand over plain strings."""

    html: list[str] = field(default_factory=list)
    markdown: list[str] = field(default_factory=list)
    images: dict[str, bytes] = field(default_factory=dict)

    def heading(self, text: str, level: int = 2) -> None:
        self.html.append(f"<h{level}>{html.escape(text)}</h{level}>")
        self.markdown.append(f"{'#' * level} {text}\n")

    def text(self, text: str, kind: str = "note") -> None:
        self.html.append(f'<p class="{kind}">{html.escape(text)}</p>')
        self.markdown.append(f"{'> **Warning** ' if kind == 'warning' else ''}{text}\n")

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]], kind: str = "") -> None:
        """A table; of the kind ``texts`` where its cells are no figures."""

        def line(cells: Sequence[str], tag: str) -> str:
            return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

        body = "".join(line(row, "td") for row in rows)
        head = line(columns, "th")
        self.html.append(
            f'<div class="scroll"><table class="{kind}"><thead>{head}</thead><tbody>{body}</tbody></table></div>'
        )
        rule = ["---", *["---" if kind == "texts" else "---:"] * (len(columns) - 1)]
        lines = [" | ".join(cell.replace("|", "\\|") for cell in cells) for cells in (columns, rule, *rows)]
        self.markdown.append("\n".join(f"| {text} |" for text in lines) + "\n")

    def plots(self, named: Mapping[str, tuple[str, Figure]], kind: str = "") -> None:
        """Pictures side by side; of the kind ``wide`` each on a line of its own."""
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
        self.html.append(f"<details><summary>{html.escape(title)}</summary><pre>{html.escape(text)}</pre></details>")
        self.markdown.append(
            f"<details><summary>{html.escape(title)}</summary>\n\n```yaml\n{text}\n```\n\n</details>\n"
        )

    def whole(self, title: str) -> tuple[str, str]:
        """The finished page as HTML and as Markdown."""
        template = Template(resources.files(__package__).joinpath("report.html").read_text(encoding="utf-8"))
        return (
            template.substitute(title=html.escape(title), body="\n".join(self.html)),
            f"# {title}\n\n" + "\n".join(self.markdown),
        )
