"""Draw the quality of a search against its bytes a document, from the tables of studies of retrieval.

    python pipelines/front.py runs/retrieval/retrieval --output docs/pictures/front.png

A panel is a test collection, a line a method at its widths: nDCG@10 of the float query against the bits, or of the
float cosine. BM25, whose bytes are its postings, is a dotted line across.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import defaultdict
from pathlib import Path

from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

# What follows a comma, as the number of seeds, makes no other method.
_SHOWN = re.compile(r"(?P<method>[^,]+?)(?:,.+)? (?:\d+ asymmetric|float)")
_MARKS = "osD^vP*X<>hd"
_BASELINE = "bm25"


def main() -> None:
    """Read the tables and write the picture."""
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("studies", nargs="+", type=Path, help="directories of studies; later ones add their rows")
    options.add_argument("--output", type=Path, required=True, help="PNG file")
    chosen = options.parse_args()
    draw(tables_of(chosen.studies), chosen.output)


def tables_of(studies: list[Path]) -> dict[str, dict[str, tuple[float, float]]]:
    """Return bytes and nDCG@10 of each row, by collection and row."""
    tables: dict[str, dict[str, tuple[float, float]]] = defaultdict(dict)
    for path in (path for study in studies for path in sorted(study.glob("*.json"))):
        table = json.loads(path.read_text(encoding="utf-8"))
        for row in table["rows"]:
            quality = row["metrics"]["ndcg_at_10"]["expected"]
            tables[table["collection"]][row["row"]] = row["bytes_per_document"] or 0.0, quality
    return dict(tables)


def draw(tables: dict[str, dict[str, tuple[float, float]]], path: Path) -> None:
    """Write the picture."""
    figure = Figure(figsize=(5 * len(tables), 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(tables), squeeze=False)[0]
    methods = {found["method"]: None for rows in tables.values() for row in rows if (found := _SHOWN.fullmatch(row))}
    styles = {
        method: (mark, colormaps["tab20"](place))
        for place, (method, mark) in enumerate(zip(methods, _MARKS, strict=False))
    }
    for axis, (collection, rows) in zip(axes, tables.items(), strict=True):
        for method in methods:
            points = sorted(
                point for row, point in rows.items() if (found := _SHOWN.fullmatch(row)) and found["method"] == method
            )
            mark, colour = styles.get(method, (".", "black"))
            axis.plot(*zip(*points, strict=True), marker=mark, color=colour, markersize=6, lw=1, label=method)
        if _BASELINE in rows:
            axis.axhline(rows[_BASELINE][1], color="black", lw=0.8, ls=":", label="bm25")
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_locator(LogLocator(base=4))
        axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.set_title(collection, fontsize=10)
        axis.set_xlabel("bytes a document")
    axes[0].set_ylabel("nDCG@10")
    figure.legend(*axes[0].get_legend_handles_labels(), fontsize=7, loc="outside lower center", ncols=4)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
