"""Plots of an evaluation: plain matplotlib Figures, without pyplot and its global state.

Lines differ by marker and dash as well as by colour, so that they can be distinguished in black and white.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle, product
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter, ScalarFormatter

from texthash.errors import UsageError
from texthash.evaluation.results import Evaluation
from texthash.evaluation.scoring import SHORT, TITLE
from texthash.hamming.codes import unpack
from texthash.training.loop import EpochReport

# Okabe and Ito's colours, ordered so that neighbours differ in lightness too.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#000000", "#56B4E9", "#D55E00", "#8C8C8C")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (6, 2, 1, 2)), (0, (3, 1, 1, 1, 1, 1)))

_REFERENCE_MARKERS = ("*", "p", "X", "d", "^", "P", "v", "<")
_REFERENCE_SHADES = ("0.25", "0.6")

_BANDS = 3  # most runs whose bands are drawn
_WITHIN, _NARROW = 5, 20  # most entries of a legend within the axes; most characters of an entry in three columns

_HALF_A_BAR = 0.425  # bits of the axis

Layout = Literal["pca", "umap"]


def png(figure: Figure) -> bytes:
    """Return the figure as PNG bytes."""
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=120)
    return out.getvalue()


def precision_figure(runs: Mapping[str, Evaluation], references: Mapping[str, float] | None = None) -> Figure:
    """Plot P@k (or recall@k) against k, with the range from the worst to the best order of ties.

    The range is a band, or, for more than three runs, a whisker at the main cutoff, since many bands hide each other.

    Args:
        runs: Evaluations by name.
        references: Main metric of references by name (P@k of the tf-idf cosine, for instance), drawn as a marker.
    """
    figure, axes = _figure()
    first, banded = next(iter(runs.values())), len(runs) <= _BANDS
    cut, short = first.k, SHORT[first.measure]
    ks: set[float] = set()
    for number, ((name, run), style) in enumerate(zip(runs.items(), _styles(), strict=False)):
        curve = run.curves
        axes.plot(curve["k"], curve[short], label=name, **style)
        ks.update(curve["k"])
        if banded:
            worst, best = curve[f"{short}_worst"], curve[f"{short}_best"]
            axes.fill_between(curve["k"], worst, best, color=style["color"], alpha=0.15, lw=0)
            for edge in (worst, best):
                axes.plot(curve["k"], edge, color=style["color"], lw=0.6, ls=style["ls"])
        else:
            beside = cut * 1.04 ** (number - (len(runs) - 1) / 2)
            low, high = (run.metrics[f"{run.main}_{edge}"] for edge in ("worst", "best"))
            axes.plot([beside, beside], [low, high], color=style["color"], lw=1, marker="_", ms=4)
    for (name, value), marker in zip((references or {}).items(), cycle(_REFERENCE_MARKERS), strict=False):
        axes.plot(cut, value, color="black", ls="none", marker=marker, ms=12, mec="white", label=name, zorder=5)
    axes.set_xscale("log")
    axes.set_xticks(_readable_ticks(ks))
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set(xlabel="k (documents retrieved)", ylabel=f"{first.measure} at k", ylim=(0, None))
    reach = "band" if banded else f"whisker at k = {cut}"
    axes.set_title(f"expected {TITLE[first.measure]}@k; {reach}: worst to best order of ties", fontsize=9)
    _legend(axes)
    return figure


def pr_figure(runs: Mapping[str, Evaluation]) -> Figure:
    """Plot macro precision against recall by Hamming radius; hollow markers: some balls are empty, counted as 0."""
    figure, axes = _figure()
    for (name, run), style in zip(runs.items(), _styles(), strict=False):
        recall, precision = (np.array(run.curves[f"radius_{part}"]) for part in ("recall", "precision"))
        partly_empty = np.array(run.curves["radius_empty"]) > 0
        line = {key: value for key, value in style.items() if key != "marker"}
        axes.plot(
            recall, precision, label=name, **line, marker=style["marker"], markevery=_spaced(recall, ~partly_empty)
        )
        axes.plot(
            recall,
            precision,
            ls="none",
            marker=style["marker"],
            ms=style["ms"],
            markevery=_spaced(recall, partly_empty),
            mfc="white",
            mec=style["color"],
        )
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, None))
    axes.set_title("balls of growing Hamming radius; hollow: some are empty, counted as 0", fontsize=9)
    _legend(axes)
    return figure


def bits_figure(runs: Mapping[str, Sequence[Evaluation]], references: Mapping[str, float] | None = None) -> Figure:
    """Plot expected P@k (or recall@k) against the length of the code, a line per method.

    Bars are standard deviations over seeds.

    Args:
        runs: Evaluations of each method at any widths and seeds.
        references: The same metric of real-valued vectors by name, drawn as horizontal lines.
    """
    figure, axes = _figure()
    widths: set[int] = set()
    for (name, evaluations), style in zip(runs.items(), _styles(), strict=False):
        by_bits: dict[int, list[float]] = {}
        for run in evaluations:
            by_bits.setdefault(run.bits, []).append(run.metrics[run.main])
        bits = sorted(by_bits)
        means = [float(np.mean(by_bits[b])) for b in bits]
        spread = [float(np.std(by_bits[b], ddof=1)) if len(by_bits[b]) > 1 else 0.0 for b in bits]
        axes.errorbar(bits, means, yerr=spread, label=name, capsize=3, **style)
        widths.update(bits)
    first = next(iter(next(iter(runs.values()))))
    for (name, value), style in zip((references or {}).items(), reference_lines(), strict=False):
        axes.axhline(value, label=name, **style)
    axes.set_xscale("log", base=2)
    axes.set_xticks(sorted(widths))
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set(xlabel="bits", ylabel=f"expected {first.measure} at {first.k}", ylim=(0, None))
    _legend(axes)
    return figure


def balance_figure(run: Evaluation) -> Figure:
    """Plot the share of database documents in which each bit is set, most unbalanced first; 0.5 is balanced."""
    figure, axes = _figure()
    share = np.array(run.curves["share_of_ones"])
    order = np.argsort(-np.abs(share - 0.5), kind="stable")
    # One shape for all bars, as there may be a thousand; the undefined steps are the gaps between them.
    edges = (np.arange(1, len(share) + 1)[:, None] + [-_HALF_A_BAR, _HALF_A_BAR]).ravel()
    steps = np.full(len(edges) - 1, np.nan)
    steps[::2] = share[order]
    axes.stairs(steps, edges, baseline=0.5, fill=True, color=COLOURS[0])
    axes.axhline(0.5, color="black", lw=1)
    for edge in (0.01, 0.99):
        axes.axhline(edge, color="0.4", lw=0.8, ls=DASHES[1])
    axes.text(len(share) + 0.3, 0.98, "dead beyond the dashes", ha="right", va="top", fontsize=8, color="0.25")
    axes.set(xlabel="bits, most unbalanced first", ylabel="share of documents with the bit set", ylim=(0, 1))
    axes.set_xlim(0.3, len(share) + 0.7)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def map_figure(run: Evaluation, label_names: Sequence[str] = (), layout: Layout = "pca") -> Figure:
    """Plot the query codes in two dimensions.

    Queries with the same code and label share a marker, whose area is proportional to their number.

    Args:
        run: Evaluation with ``query_codes`` and ``query_labels``.
        label_names: Names of the labels for the legend; ids where absent.
        layout: ``pca`` of the codes in -1/+1, or ``umap`` over Hamming distances (needs umap-learn).

    Raises:
        UsageError: The layout is ``umap`` and umap-learn is not installed.
    """
    codes, inverse = np.unique(run.query_codes, axis=0, return_inverse=True)
    signs = unpack(codes).astype(np.float32) * 2 - 1
    counts = np.bincount(inverse.ravel(), minlength=len(codes))
    points, axis_names = _pca(signs, counts) if layout == "pca" else _umap(signs)

    figure = Figure(figsize=(8.2, 5.4), layout="constrained")
    axes = figure.add_subplot()
    labels, sizes = np.unique(run.query_labels, return_counts=True)
    shown = labels[np.argsort(-sizes, kind="stable")][:20]
    for rank, label in enumerate(shown):
        at, number = np.unique(inverse.ravel()[run.query_labels == label], return_counts=True)
        name = "no label" if label < 0 else label_names[label] if label < len(label_names) else f"label {label}"
        axes.scatter(
            points[at, 0],
            points[at, 1],
            s=8 * number,
            marker=MARKERS[rank % len(MARKERS)],
            facecolor=COLOURS[rank % len(COLOURS)],
            edgecolor="white",
            linewidth=0.3,
            alpha=0.75,
            label=_shortened(name),
        )
    axes.set(xlabel=axis_names[0], ylabel=axis_names[1])
    of = f"{len(shown)} most frequent of {len(labels)} labels; " if len(shown) < len(labels) else ""
    axes.set_title(f"{of}{len(run.query_codes)} queries on {len(codes)} codes of {run.bits} bits", fontsize=9)
    legend = figure.legend(loc="outside right upper", fontsize=7, frameon=False)
    for handle in legend.legend_handles:
        handle.set_sizes([28])  # type: ignore[union-attr]
    return figure


def learning_figure(history: Sequence[EpochReport]) -> Figure:
    """Plot the terms of the loss (above) and validation (below) by epoch over all stages; a ring marks the best epoch.

    Reports that are no epoch, such as a pass that counts words, have neither and are left out.

    Raises:
        UsageError: The history has no epoch.
    """
    history = [report for report in history if report.terms or report.validation is not None]
    if not history:
        raise UsageError("there is no training history to draw.", "train a method that has a gradient stage.")
    figure = Figure(figsize=(6.4, 5.6), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    epochs = np.arange(1, len(history) + 1)
    names = list(dict.fromkeys(name for report in history for name in report.terms))
    everything = np.array([[report.terms.get(name, np.nan) for name in names] for report in history])
    for column, style in zip(range(len(names)), _styles(), strict=False):
        top.plot(epochs, everything[:, column], label=names[column], **style, markevery=max(1, len(history) // 12))
    positive = everything[np.isfinite(everything) & (everything > 0)]
    if positive.size and np.nanmin(everything) > 0 and positive.max() / positive.min() > 50:
        top.set_yscale("log")
    top.set_ylabel("terms of the loss")
    _legend(top)
    taken = [
        (epoch, report.validation)
        for epoch, report in zip(epochs, history, strict=True)
        if report.validation is not None
    ]
    if taken:
        x, y = np.array(taken, dtype=np.float64).T
        bottom.plot(x, y, color=COLOURS[4], marker=".", lw=1.2)
        best = int(np.argmax(y))
        bottom.plot(x[best], y[best], ls="none", marker="o", ms=10, mfc="none", mec=COLOURS[6], mew=1.6)
        bottom.annotate(f"{y[best]:.4f}", (x[best], y[best]), xytext=(0, -16), textcoords="offset points", ha="center")
    bottom.set(xlabel="epoch", ylabel="validation")
    begins = [i for i in range(1, len(history)) if history[i].stage != history[i - 1].stage]
    for number, first in enumerate([0, *begins] if begins else []):
        offset = 0, 2 + 11 * (number % 2)  # names alternate between two lines: a short stage has no room for its name
        top.annotate(
            history[first].stage, (first + 0.6, 1), offset, ("data", "axes fraction"), "offset points", fontsize=8
        )
    for first in begins:
        for axes in (top, bottom):
            axes.axvline(first + 0.5, color="0.5", lw=0.8, ls=DASHES[2])
    bottom.set_xlim(0.5, len(history) + 0.5)
    bottom.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in (top, bottom):
        axes.grid(alpha=0.25)
    return figure


def _figure() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.add_subplot()
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)
    return figure, axes


def reference_lines() -> Iterator[dict[str, Any]]:
    """Yield the styles of horizontal lines of references: each dash in one grey, then each in the next."""
    for shade, dash in cycle(product(_REFERENCE_SHADES, DASHES[1:])):
        yield {"color": shade, "ls": dash, "lw": 1}


def _styles() -> Any:
    """Yield line styles without end; colour, marker and dash cycle with different periods."""
    for colour, marker, dash in zip(cycle(COLOURS), cycle(MARKERS), cycle(DASHES), strict=False):
        yield {"color": colour, "marker": marker, "ls": dash, "lw": 1.6, "ms": 5}


def _legend(axes: Axes) -> None:
    """Add a legend within the axes; below them if its entries would hide lines."""
    handles, names = axes.get_legend_handles_labels()
    if len(names) > _WITHIN:
        columns = 3 if max(map(len, names)) <= _NARROW else 2
        axes.figure.legend(handles, names, loc="outside lower center", ncols=columns, fontsize=8, frameon=False)
    elif names:
        axes.legend(handles, names, fontsize=8, framealpha=0.9)


def _readable_ticks(ks: set[float]) -> list[float]:
    """Return the cutoffs whose labels do not overlap on a log axis."""
    kept: list[float] = []
    for k in sorted(ks):
        if not kept or k / kept[-1] > 1.6:
            kept.append(k)
    return kept


def _spaced(recall: np.ndarray, mask: np.ndarray) -> list[int]:
    """Return the indices of the points of the mask, thinned to one per 4% of recall."""
    kept: list[int] = []
    for i in np.flatnonzero(mask):
        if not kept or recall[i] - recall[kept[-1]] >= 0.04:
            kept.append(int(i))
    return kept


def _shortened(name: str) -> str:
    return name if len(name) <= 28 else name[:27] + "…"


def _pca(signs: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, tuple[str, str]]:
    """Return the first two principal components of distinct codes, each weighted by its number of documents."""
    from sklearn.decomposition import PCA

    if len(signs) < 2:
        return np.zeros((len(signs), 2)), ("all codes are equal", "")
    pca = PCA(n_components=2, svd_solver="full").fit(np.repeat(signs, counts, axis=0))
    share = pca.explained_variance_ratio_
    return pca.transform(signs), (f"1st component ({share[0]:.0%} of variance)", f"2nd component ({share[1]:.0%})")


def _umap(signs: np.ndarray) -> tuple[np.ndarray, tuple[str, str]]:
    try:
        from umap import UMAP
    except ImportError:
        raise UsageError("umap-learn is not installed.", "pip install 'texthash[umap]', or use layout='pca'.") from None
    layout = UMAP(metric="hamming", random_state=0, n_neighbors=min(15, len(signs) - 1)).fit_transform(signs)
    return np.asarray(layout), ("UMAP 1 (Hamming distance)", "UMAP 2")
