"""One page about one evaluated run or several: leaderboard, plots, code quality, configuration.

Runs are only put into one table when they share corpus, edition and split of the queries; seeds of one method and width
become one row with mean and standard deviation.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from texthash.config import Config
from texthash.errors import UsageError
from texthash.evaluation import plots
from texthash.evaluation.page import Page
from texthash.evaluation.results import Evaluation
from texthash.evaluation.scoring import FIRST_CUTS, TITLE, Measure
from texthash.training.loop import EpochReport

_NOTE = (
    "Equal distances count by the expected value over all their orders; in brackets "
    "the worst and the best order. Radius 2: precision within 2 bits, an empty ball counts as 0 (in brackets: share of "
    "empty balls). Published figures rest on their authors' own split, preparation and tie order: mind that."
)
_TASKS: dict[Measure, str] = {
    "precision": "Queries against the train split; two documents are relevant to each other if they share a label.",
    "recall": "Questions of one split against the documents of all splits; relevant are those that answer a question.",
}
_DRAWN = 8  # lines that can still be told apart


@dataclass(frozen=True)
class ReportedRun:
    """One evaluated model and what should stand beside it.

    Attributes:
        method: Name of the method, as in the registry.
        evaluation: Its figures.
        config: The resolved configuration.
        commit: Git commit of the code that ran, with ``-dirty`` where that holds.
        seconds: Wall-clock time of training.
        history: Reports of the epochs, for the learning curve.
        published: P@k (of a pair corpus recall@k) printed in the method's paper for this corpus and width.
        published_source: Where that figure is printed; required with ``published``.
        references: Name to the same figure of lines to compare with, for instance the tf-idf cosine.
        label_names: For the legend of the picture of the codes.
    """

    method: str
    evaluation: Evaluation
    config: Config | None = None
    commit: str = ""
    seconds: float | None = None
    history: Sequence[EpochReport] = ()
    published: float | None = None
    published_source: str = ""
    references: Mapping[str, float] = field(default_factory=dict)
    label_names: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.published is not None and not self.published_source:
            raise UsageError(
                f"the published figure {self.published} of {self.method} has no source.", "set published_source."
            )

    @property
    def name(self) -> str:
        return f"{self.method} {self.evaluation.bits}"


class Report(NamedTuple):
    """The page as HTML (self-contained) and as Markdown, which refers to ``plots/<name>.png``."""

    html: str
    markdown: str
    figures: dict[str, Figure]

    def save(self, directory: str | Path) -> Path:
        """Write ``report.html``, ``report.md`` and ``plots/`` into the directory; gives the HTML file's path."""
        directory = Path(directory)
        (directory / "plots").mkdir(parents=True, exist_ok=True)
        for name, figure in self.figures.items():
            (directory / "plots" / f"{name}.png").write_bytes(plots.png(figure))
        (directory / "report.md").write_text(self.markdown, encoding="utf-8")
        page = directory / "report.html"
        page.write_text(self.html, encoding="utf-8")
        return page


def report(runs: Sequence[ReportedRun], title: str = "texthash: evaluation") -> Report:
    """Describe the runs on one page.

    Raises:
        UsageError: no runs.
    """
    if not runs:
        raise UsageError("there are no runs to report.", "evaluate a model first.")
    page = Page()
    page.text(_NOTE)
    groups: dict[tuple[str, str, str, str], list[ReportedRun]] = {}
    for run in runs:
        one = run.evaluation
        groups.setdefault((one.corpus, one.edition, one.split, one.main), []).append(run)
    for number, ((corpus, edition, split, _), members) in enumerate(groups.items(), start=1):
        page.heading(f"{corpus}, edition {edition}, queries: {split}")
        _group(page, members, f"{number}-")
    return Report(*page.whole(title), page.figures)


def _group(page: Page, runs: Sequence[ReportedRun], prefix: str) -> None:
    """Everything about runs that may be compared with each other."""
    first = runs[0].evaluation
    counts, title = first.metrics, _title(first)
    page.text(
        f"{_TASKS[first.measure]} {counts['queries']:.0f} queries (and {counts['queries_skipped']:.0f} without a "
        "relevant document, left out), "
        f"database of {counts['documents']:.0f} documents."
    )
    rows: dict[tuple[str, int], list[ReportedRun]] = {}
    for run in runs:
        rows.setdefault((run.method, run.evaluation.bits), []).append(run)
    references = {name: value for run in runs for name, value in run.references.items()}
    _leaderboard(page, rows, references)
    for warning in dict.fromkeys(text for run in runs for text in run.evaluation.warnings):
        named = dict.fromkeys(run.name for run in runs if warning in run.evaluation.warnings)
        page.text(warning if len(named) == len(rows) else f"{', '.join(named)}: {warning}", "warning")

    shown = {f"{method} {bits}": members[0] for (method, bits), members in rows.items()}
    if len(shown) > _DRAWN:
        best = sorted(shown, key=lambda name: -shown[name].evaluation.metrics[first.main])[:_DRAWN]
        page.text(f"Drawn below: the {_DRAWN} models of {len(shown)} with the highest {title}; the table has all.")
        shown = {name: shown[name] for name in shown if name in best}
    evaluations = {name: run.evaluation for name, run in shown.items()}
    figures = {
        f"{prefix}precision": (f"{TITLE[first.measure]}@k", plots.precision_figure(evaluations, references)),
        f"{prefix}pr": ("Precision and recall by Hamming radius", plots.pr_figure(evaluations)),
    }
    if len({bits for _, bits in rows}) > 1:
        by_method: dict[str, list[Evaluation]] = {}
        for run in runs:
            by_method.setdefault(run.method, []).append(run.evaluation)
        figures[f"{prefix}bits"] = (f"{title} by length of the code", plots.bits_figure(by_method))
    page.plots(figures)
    page.heading("Code quality", 3)
    page.table(
        ["model", *(name.replace("_", " ") for name in first.diagnostics)],
        [[name, *map(_short, run.evaluation.diagnostics.values())] for name, run in shown.items()],
    )
    for name, run in shown.items():
        page.heading(name, 3)
        file = f"{prefix}{name.replace(' ', '-')}"
        own = {
            f"{file}-balance": ("Balance of the bits", plots.balance_figure(run.evaluation)),
            f"{file}-map": ("Codes of the queries", plots.map_figure(run.evaluation, run.label_names)),
        }
        if run.history:
            own[f"{file}-learning"] = ("Learning curve", plots.learning_figure(run.history))
        page.plots(own)
    for run in runs:
        if run.config is not None:
            seed, commit = run.config.training.seed, run.commit or "not recorded"
            page.folded(f"{run.name}, seed {seed}: configuration, commit {commit}", run.config.to_yaml())


def _leaderboard(
    page: Page, rows: Mapping[tuple[str, int], Sequence[ReportedRun]], references: Mapping[str, float]
) -> None:
    first = next(iter(rows.values()))[0].evaluation
    main, title, beside = first.main, _title(first), _beside(first)
    columns = ["method", "bits", "seeds", f"{title} [worst, best]", *beside, "radius 2 (empty)"]
    columns += ["balance", "effective bits", "unique", "train s", f"published {title}"]
    table, sources = [], []
    for (method, bits), runs in sorted(rows.items(), key=lambda row: (row[0][1], -_mean(row[1], main))):
        worst, best = (f"{_mean(runs, f'{main}_{edge}'):.4f}" for edge in ("worst", "best"))
        quality = {
            key: statistics.fmean(run.evaluation.diagnostics[key] for run in runs)
            for key in ("bit_balance", "effective_bits", "unique_ratio")
        }
        seconds = [run.seconds for run in runs if run.seconds is not None]
        published = next((run for run in runs if run.published is not None), None)
        if published is not None:
            sources.append(f"{method} {bits}: {published.published:.4f} from {published.published_source}.")
        table.append(
            [
                method,
                str(bits),
                str(len(runs)),
                f"{_spread(runs, main)} [{worst}, {best}]",
                *(_spread(runs, metric) for metric in beside.values()),
                f"{_mean(runs, 'radius2_precision'):.4f} ({_mean(runs, 'radius2_empty_rate'):.0%})",
                f"{quality['bit_balance']:.3f}",
                f"{quality['effective_bits']:.1f}",
                f"{quality['unique_ratio']:.1%}",
                f"{statistics.fmean(seconds):.1f}" if seconds else "",
                f"{published.published:.4f}" if published is not None else "",
            ]
        )
    for name, value in references.items():
        table.append([name, "", "", f"{value:.4f}", *[""] * (len(columns) - 4)])
    page.table(columns, table)
    for source in sources:
        page.text(f"Published: {source}")


def _title(one: Evaluation) -> str:
    return f"{TITLE[one.measure]}@{one.k}"


def _beside(one: Evaluation) -> dict[str, str]:
    """Further columns: their titles, and the metrics in them."""
    if one.measure == "recall":
        cuts = [cut for cut in FIRST_CUTS if cut != one.k]
        return {
            "MRR": "mrr",
            **{f"recall@{cut}": f"recall_at_{cut}" for cut in cuts},
            f"hit@{one.k}": f"hit_at_{one.k}",
        }
    return {"MAP": "map", f"NDCG@{one.k}": f"ndcg_at_{one.k}"}


def _short(value: float) -> str:
    return f"{value:.0f}" if value == round(value) else f"{value:.4g}"


def _mean(runs: Sequence[ReportedRun], metric: str) -> float:
    return statistics.fmean(run.evaluation.metrics[metric] for run in runs)


def _spread(runs: Sequence[ReportedRun], metric: str) -> str:
    values = [run.evaluation.metrics[metric] for run in runs]
    deviation = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.4f}{deviation}"
