"""Tables of a report: metrics of each row, significance of their differences, and costs."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from texthash.evaluation.results import Evaluation
from texthash.evaluation.scoring import FIRST_CUTS, TITLE
from texthash.evaluation.significance import LEVEL, ROUNDS, holm, permutation_test
from texthash.methods.registry import get_method
from texthash.reporting.page import Page
from texthash.reporting.pareto import Costs, non_dominated

if TYPE_CHECKING:
    from texthash.reporting.report import ReportedRun

ANY = "any"
_SPEED_STEP = 1.25
Row = tuple[str, int]  # a method and a width
TEST_NOTE = (
    f"Below the best: mean difference from the best row of the same width over the queries (averaged over seeds), with "
    f"p of a two-sided paired permutation test ({ROUNDS:,} draws of signs), adjusted by Holm for the rows of that "
    f"width; ≈ where p is {LEVEL} or more: the order of the two may be due to chance. The test generalizes over "
    "queries of the same kind; the standard deviation beside the mean shows the effect of the seed."
)


def add_leaderboard(page: Page, rows: Mapping[Row, Sequence[ReportedRun]], references: Mapping[str, float]) -> None:
    """Add the leaderboard: one line per row, sorted by width and main metric, then the references."""
    first = next(iter(rows.values()))[0].evaluation
    main, title, beside = first.main, title_of(first), _beside(first)
    tested = below_the_best(rows)
    printed = any(run.published is not None for runs in rows.values() for run in runs)
    columns = ["method", "bits", "seeds", f"{title} [worst, best]"]
    columns += (["below the best"] if tested else []) + ([f"published {title}"] if printed else [])
    columns += [*beside, "radius 2 (empty)", "train s"]
    table, sources, breaks = [], [], []
    ordered = sorted(rows.items(), key=lambda row: (row[0][1], -mean_of(row[1], main)))
    for number, ((method, bits), runs) in enumerate(ordered):
        if number and bits != ordered[number - 1][0][1]:
            breaks.append(number)
        worst, best = (f"{mean_of(runs, f'{main}_{edge}'):.4f}" for edge in ("worst", "best"))
        seconds = [run.seconds for run in runs if run.seconds is not None]
        published = next((run for run in runs if run.published is not None), None)
        if published is not None:
            sources.append(f"{method} {bits}: {published.published:.4f} from {published.published_source}.")
        table.append(
            [
                method,
                str(bits),
                _seeds(runs),
                f"{_spread(runs, main)} [{worst}, {best}]",
                *([tested.get((method, bits), "")] if tested else []),
                *([f"{published.published:.4f}" if published is not None else ""] if printed else []),
                *(_spread(runs, metric) for metric in beside.values()),
                f"{mean_of(runs, 'radius2_precision'):.4f} ({mean_of(runs, 'radius2_empty_rate'):.0%})",
                f"{statistics.fmean(seconds):.1f}" if seconds else "",
            ]
        )
    if references:
        breaks.append(len(table))
    for name, value in references.items():
        table.append([name, "", "", f"{value:.4f}", *[""] * (len(columns) - 4)])
    page.table(columns, table, breaks=breaks)
    if any(row[2] == ANY for row in table):
        page.text(f"Seeds, {ANY}: the seed does not change the models of the method, so there is one.")
    if tested:
        page.text(TEST_NOTE)
    for source in sources:
        page.text(f"Published: {source}")


def below_the_best(rows: Mapping[Row, Sequence[ReportedRun]]) -> dict[Row, str]:
    """Return each row's difference from the best one of its width with its p-value; empty where no width has two rows.

    Rows that were evaluated on other queries than the best one are left out.
    """
    texts: dict[Row, str] = {}
    for width in sorted({bits for _, bits in rows}):
        figures = {row: _by_query(runs) for row, runs in rows.items() if row[1] == width}
        best = max(figures, key=lambda row: float(np.nanmean(figures[row])))
        known = ~np.isnan(figures[best])
        others = [row for row in figures if row != best and len(figures[row]) == len(known)]
        others = [row for row in others if (np.isnan(figures[row]) == ~known).all()]
        if not others:
            continue
        differences = np.stack([(figures[row] - figures[best])[known] for row in others], axis=1)
        texts[best] = "best"
        for row, mean, p in zip(others, differences.mean(axis=0), holm(permutation_test(differences)), strict=True):
            texts[row] = f"{'≈ ' if p >= LEVEL else ''}{mean:+.4f} (p {p:.4f})"
    return texts


def mean_costs(runs: Sequence[ReportedRun]) -> Costs | None:
    """Return quality and costs of a row, the mean over its seeds; None where they were not measured."""
    measured = [run.costs for run in runs if run.costs is not None]
    if not measured:
        return None
    means = np.mean([cost[2:] for cost in measured], axis=0)
    return Costs(measured[0].row, measured[0].bits, *map(float, means))


def add_quality(page: Page, rows: Mapping[Row, Sequence[ReportedRun]]) -> None:
    """Add the diagnostics of the codes of each row, the mean over its seeds."""
    first = next(iter(rows.values()))[0].evaluation.diagnostics
    table = []
    for (method, bits), runs in rows.items():
        found = [run.evaluation.diagnostics for run in runs if set(first) <= set(run.evaluation.diagnostics)]
        if found:
            table.append([f"{method} {bits}", *(_short(statistics.fmean(one[key] for one in found)) for key in first)])
    page.table(["model", *(name.replace("_", " ") for name in first)], table, fold="Code quality")


def add_costs(page: Page, costs: Mapping[str, Costs]) -> None:
    """Add quality, memory and speed of each row, and which rows are on the Pareto front."""
    names = list(costs)
    steps = np.round(np.log([c.documents_per_second for c in costs.values()]) / np.log(_SPEED_STEP))
    best = non_dominated(
        [[c.figure, -c.bytes_per_document, step] for c, step in zip(costs.values(), steps, strict=True)]
    )
    page.table(
        ["row", "figure", "bytes a document", "encodes documents/s", "search ms/query", "train s", "front"],
        [
            [
                name,
                f"{cost.figure:.4f}",
                f"{cost.bytes_per_document:.0f}",
                f"{cost.documents_per_second:,.0f}",
                f"{cost.search_ms:.3f}",
                f"{cost.seconds:.1f}",
                "yes" if on_front else "",
            ]
            for name, cost, on_front in zip(names, costs.values(), best, strict=True)
        ],
        fold="Costs",
    )
    page.text(
        "Encoding: from raw text to code, in one process. Search: a full scan of this database for one query, "
        "k = 100, on one thread. Front: no other row is at least as good in figure, memory and encoding speed, and "
        "better in one; speeds within a quarter count as equal."
    )


def title_of(one: Evaluation) -> str:
    """Return the title of the main metric: ``P@100``, or ``recall@100`` in a pair corpus."""
    return f"{TITLE[one.measure]}@{one.k}"


def mean_of(runs: Sequence[ReportedRun], metric: str) -> float:
    """Return the mean of a metric over the seeds of a row."""
    return statistics.fmean(run.evaluation.metrics[metric] for run in runs)


def _seeds(runs: Sequence[ReportedRun]) -> str:
    """Return the number of the seeds of a row, or that it is the same for any."""
    config = runs[0].config
    return ANY if config is not None and not get_method(config.method.name).card.random else str(len(runs))


def _by_query(runs: Sequence[ReportedRun]) -> np.ndarray:
    return np.asarray(np.mean([run.evaluation.per_query for run in runs], axis=0))


def _beside(one: Evaluation) -> dict[str, str]:
    """Return the titles of the further columns with their metrics."""
    if one.measure != "precision":
        cuts = [cut for cut in FIRST_CUTS if cut != one.k]
        return {
            "MRR": "mrr",
            **{f"recall@{cut}": f"recall_at_{cut}" for cut in cuts},
            f"hit@{one.k}": f"hit_at_{one.k}",
        }
    return {"MAP": "map", f"NDCG@{one.k}": f"ndcg_at_{one.k}"}


def _spread(runs: Sequence[ReportedRun], metric: str) -> str:
    values = [run.evaluation.metrics[metric] for run in runs]
    deviation = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.4f}{deviation}"


def _short(value: float) -> str:
    return f"{value:.0f}" if value == round(value) else f"{value:.4g}"
