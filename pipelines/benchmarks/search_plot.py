"""Plot of the search benchmark: time per query of each engine, readable without colour."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_HATCHES = ("", "////", "....", "xxxx", "\\\\\\\\", "++++")


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw the rows as bars, a panel for each kind of codes and width, and write them as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    shown = [row for row in rows if row["engine"] != "read_once"]
    panels = list(dict.fromkeys((row["codes"], row["bits"], row["documents"]) for row in shown))
    calls = list(dict.fromkeys((row["queries"], row["threads"]) for row in shown))
    engines = list(dict.fromkeys(row["engine"] for row in shown))
    figure = Figure(figsize=(9, 1 + len(panels) * (0.6 + 0.16 * len(engines) * len(calls))), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    height = 0.8 / len(calls)
    for axis, panel in zip(axes, panels, strict=True):
        for place, call in enumerate(calls):
            mine = [
                row
                for row in shown
                if (row["codes"], row["bits"], row["documents"]) == panel and (row["queries"], row["threads"]) == call
            ]
            bars = axis.barh(
                [engines.index(row["engine"]) + (place - (len(calls) - 1) / 2) * height for row in mine],
                [row["ms_per_query"] for row in mine],
                height,
                color="white" if place % 2 else "lightgrey",
                edgecolor="black",
                hatch=_HATCHES[place % len(_HATCHES)],
                label=f"{_counted(call[0], 'query', 'queries')} a call, {_counted(call[1], 'thread', 'threads')}",
            )
            texts = [
                f"{row['ms_per_query']:.3g}" + ("" if row["exact"] else f"  (recall {row['recall']:.2f})")
                for row in mine
            ]
            axis.bar_label(bars, texts, padding=3, fontsize=7)
        axis.set_yticks(range(len(engines)), engines)
        axis.invert_yaxis()
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.margins(x=0.15)
        for row in rows:
            if row["engine"] == "read_once" and (row["codes"], row["bits"], row["documents"]) == panel:
                axis.axvline(row["ms_per_query"], color="black", linewidth=0.8, linestyle=":")
        axis.set_title(f"{panel[0]} codes, {panel[1]} bits, {panel[2]:,} documents", fontsize=10)
    axes[-1].set_xlabel("milliseconds per query (median); dotted: reading the codes once")
    figure.legend(*axes[0].get_legend_handles_labels(), fontsize=7, loc="outside upper right", ncols=2)
    unfinished = path.with_name(f".{path.stem}.partial.png")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(unfinished, dpi=150)
    unfinished.replace(path)


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"
