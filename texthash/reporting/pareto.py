"""Quality against costs (memory, encoding, search, training), and the Pareto front of the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from texthash.reporting.plots import COLOURS, MARKERS, reference_lines

_DECADES = 100.0  # range of values beyond which an axis has ticks at powers of ten only


class Costs(NamedTuple):
    """Quality and costs of a row of a table.

    Attributes:
        row: Method or quantizer, without the width; rows of one name share a marker.
        bits: Length of the code.
        figure: Main metric, P@k or recall@k.
        bytes_per_document: Memory of the searched data per document.
        documents_per_second: Encoding speed, from raw text to code.
        search_ms: Search time of one query in milliseconds.
        seconds: Training time.
    """

    row: str
    bits: int
    figure: float
    bytes_per_document: float
    documents_per_second: float
    search_ms: float
    seconds: float


def non_dominated(values: Sequence[Sequence[float]]) -> NDArray[np.bool_]:
    """Return which rows are Pareto-optimal, bool [N].

    No other row is at least as good in every column and better in one; higher is better.
    """
    points = np.asarray(values, np.float64)
    as_good = np.all(points[:, None] <= points[None], axis=2)
    better = np.any(points[:, None] < points[None], axis=2)
    return np.asarray(~np.any(as_good & better, axis=1))


def front_figure(costs: Sequence[Costs], title: str, references: Mapping[str, float] | None = None) -> Figure:
    """Plot the main metric against bytes per document, encoding speed, search time and training time.

    Filled markers are on the front: no row is both better and cheaper in that respect. The number beside a marker is
    its width.

    Args:
        costs: Quality and costs of each row and width.
        title: Title of the metric, for instance ``P@100``.
        references: Metric of real-valued vectors by name, drawn as lines.
    """
    figure = Figure(figsize=(11.5, 9.0), layout="constrained")
    panels: list[Axes] = list(figure.subplots(2, 2, sharey=True).flat)
    sides = (
        ("bytes per document", [c.bytes_per_document for c in costs], -1),
        ("documents encoded per second, from raw text", [c.documents_per_second for c in costs], 1),
        ("search of the whole database (ms per query, one thread)", [max(c.search_ms, 1e-4) for c in costs], -1),
        ("training time (s)", [max(c.seconds, 1e-3) for c in costs], -1),
    )
    rows = list(dict.fromkeys(c.row for c in costs))
    figures = [c.figure for c in costs]
    for axes, (name, values, sense) in zip(panels, sides, strict=True):
        front = non_dominated([[f, sense * v] for f, v in zip(figures, values, strict=True)])
        for cost, value, on_front in zip(costs, values, front, strict=True):
            number = rows.index(cost.row)
            colour = COLOURS[number % len(COLOURS)]
            axes.plot(
                value,
                cost.figure,
                ls="none",
                marker=MARKERS[number % len(MARKERS)],
                ms=7,
                color=colour,
                mfc=colour if on_front else "white",
            )
            axes.annotate(str(cost.bits), (value, cost.figure), (5, 3), textcoords="offset points", fontsize=7)
        for (reference, level), style in zip((references or {}).items(), reference_lines(), strict=False):
            axes.axhline(level, label=reference if axes is panels[0] else None, **style)
        axes.set_xscale("log")
        wide = max(values) > _DECADES * min(values)
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set(xlabel=name, ylim=(0, None))
        axes.grid(alpha=0.25)
    for number, row in enumerate(rows):
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        panels[0].plot([], [], ls="none", marker=marker, color=colour, label=row)
    panels[0].set_xticks(sorted({c.bytes_per_document for c in costs}))
    for axes in panels[::2]:
        axes.set_ylabel(f"expected {title}")
    figure.suptitle("filled: on the front; the number is the length of the code in bits", fontsize=9)
    figure.legend(loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    return figure
