"""Report on one or several evaluated runs, on one page: leaderboard, plots, code quality, configuration.

Runs share a table only if they share corpus, edition and split of the queries; seeds of one method and width form one
row with mean and standard deviation.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from texthash.config import Config
from texthash.errors import UsageError
from texthash.evaluation.hard_queries import HardQuery
from texthash.evaluation.results import Evaluation
from texthash.evaluation.scoring import TITLE, Measure
from texthash.io.atomic import whole_files
from texthash.paths import local_path
from texthash.reporting import plots
from texthash.reporting.leaderboard import add_costs, add_leaderboard, add_quality, mean_costs, title_of
from texthash.reporting.page import Page
from texthash.reporting.pareto import Costs, front_figure
from texthash.training.loop import EpochReport

_NOTE = (
    "Metrics are expected values over all orders of equally distant documents; the worst and the best order are in "
    "brackets. Radius 2: precision within 2 bits, an empty ball counts as 0 (in brackets: share of empty balls). "
    "Published figures use their authors' own split, preparation and tie order, so compare them with caution."
)
_TASKS: dict[Measure, str] = {
    "precision": "Queries against the train split; two documents are relevant to each other if they share a label.",
    "recall": "Questions of one split against the documents of all splits; relevant are those that answer a question.",
    "halves": "Halves of documents against the train split and the other halves; relevant is the other half of the "
    "same document. No label is used: the metrics show how well codes keep what a text is about.",
}
_WARNINGS = 5  # most warnings that are not folded
_DRAWN = 8  # most lines that can be distinguished in a plot


@dataclass(frozen=True)
class ReportedRun:
    """An evaluated model with the context that the report shows.

    Attributes:
        method: Name of the method, as in the registry.
        evaluation: Metrics and codes of the model.
        config: Resolved configuration.
        commit: Git commit of the code that ran, with ``-dirty`` if files differed from it.
        seconds: Wall-clock time of training.
        history: Reports of the epochs, for the learning curve.
        published: P@k (in a pair corpus recall@k) printed in the method's paper for this corpus and width.
        published_source: Citation of that value; required with ``published``.
        references: Main metric of references by name, for instance the tf-idf cosine.
        label_names: Names of the labels for the legend of the plot of the codes.
        costs: Quality and costs, where they were measured.
        answers: Queries with the lowest scores and their search results.
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
    costs: Costs | None = None
    answers: Sequence[HardQuery] = ()

    def __post_init__(self) -> None:
        if self.published is not None and not self.published_source:
            raise UsageError(
                f"the published figure {self.published} of {self.method} has no source.", "set published_source."
            )

    @property
    def name(self) -> str:
        return f"{self.method} {self.evaluation.bits}"


class Report(NamedTuple):
    """Page as self-contained HTML, and as Markdown that refers to ``plots/<name>.png``; and all metrics as CSV."""

    html: str
    markdown: str
    images: dict[str, bytes]
    metrics: str

    def save(self, directory: str | Path) -> Path:
        """Write ``report.html``, ``report.md``, ``metrics.csv`` and ``plots/``; return the path of the HTML file.

        Nothing is left in the directory if one of them cannot be written.
        """
        directory = local_path(directory)
        with whole_files(directory) as staged:
            (staged / "plots").mkdir()
            for name, image in self.images.items():
                (staged / "plots" / f"{name}.png").write_bytes(image)
            (staged / "report.md").write_text(self.markdown, encoding="utf-8")
            (staged / "metrics.csv").write_text(self.metrics, encoding="utf-8")
            (staged / "report.html").write_text(self.html, encoding="utf-8")
        return directory / "report.html"


def report(
    runs: Sequence[ReportedRun],
    title: str = "texthash: evaluation",
    *,
    pictures: int = _DRAWN,
    preface: Callable[[Page], None] | None = None,
    appendix: Callable[[Page], None] | None = None,
) -> Report:
    """Describe the runs on one page.

    Args:
        runs: Runs in any order; comparable ones are grouped.
        title: Title of the page.
        pictures: Number of models, best first, whose bits, codes and learning curve are plotted.
        preface: Function that writes the beginning of the page.
        appendix: Function that writes the end of the page.

    Raises:
        UsageError: There are no runs.
    """
    if not runs:
        raise UsageError("there are no runs to report.", "evaluate a model first.")
    page = Page()
    if preface:
        preface(page)
    page.text(_NOTE)
    groups: dict[tuple[str, str, str, str], list[ReportedRun]] = {}
    for run in runs:
        one = run.evaluation
        groups.setdefault((one.corpus, one.edition, one.split, one.main), []).append(run)
    for number, ((corpus, edition, split, _), members) in enumerate(groups.items(), start=1):
        page.heading(f"{corpus}, edition {edition}, queries: {split}")
        _group(page, members, f"{number}-", pictures)
    _configurations(page, runs, named=len(groups) > 1)
    if appendix:
        appendix(page)
    return Report(*page.render(title), page.images, _csv(runs))


def _csv(runs: Sequence[ReportedRun]) -> str:
    """Return a line for each run: what it is, and each metric that one of them has; empty where it is not known."""
    metrics = list(dict.fromkeys(name for run in runs for name in run.evaluation.metrics))
    written = io.StringIO()
    lines = csv.writer(written, lineterminator="\n")
    lines.writerow(["corpus", "edition", "split", "method", "bits", "seed", *metrics])
    for run in runs:
        one = run.evaluation
        seed = "" if run.config is None else run.config.training.seed
        values = (one.metrics.get(name, "") for name in metrics)
        lines.writerow([one.corpus, one.edition, one.split, run.method, one.bits, seed, *values])
    return written.getvalue()


def _group(page: Page, runs: Sequence[ReportedRun], prefix: str, pictures: int) -> None:
    """Add the tables and plots of runs that are comparable with each other."""
    first = runs[0].evaluation
    counts, title = first.metrics, title_of(first)
    page.text(
        f"{_TASKS[first.measure]} {counts['queries']:.0f} queries (and {counts['queries_skipped']:.0f} without a "
        "relevant document, left out), "
        f"database of {counts['documents']:.0f} documents."
    )
    rows: dict[tuple[str, int], list[ReportedRun]] = {}
    for run in runs:
        rows.setdefault((run.method, run.evaluation.bits), []).append(run)
    whole = {f"{method} {bits}": members[0] for (method, bits), members in rows.items()}
    references = {
        name: value
        for run in runs
        for name, value in {**run.evaluation.references, **run.references}.items()
        if name not in whole  # a method without learning that is a row of its own
    }
    add_leaderboard(page, rows, references)
    _warnings(page, runs, len(rows))

    ranked = sorted(whole, key=lambda name: -whole[name].evaluation.metrics[first.main])
    if len(whole) > _DRAWN:
        page.text(f"Plotted below: the {_DRAWN} of {len(whole)} models with the highest {title}; the table lists all.")
    shown = {name: whole[name] for name in whole if name in ranked[:_DRAWN]}
    evaluations = {name: run.evaluation for name, run in shown.items()}
    figures = {f"{prefix}pr": ("Precision and recall by Hamming radius", plots.pr_figure(evaluations))}
    curved = {name: one for name, one in evaluations.items() if one.curves["k"]}
    if curved:  # cutoffs beyond the number of documents have no point
        curve = plots.precision_figure(curved, references)
        figures = {f"{prefix}precision": (f"{TITLE[first.measure]}@k", curve), **figures}
    if len({bits for _, bits in rows}) > 1:
        by_method: dict[str, list[Evaluation]] = {}
        for run in runs:
            by_method.setdefault(run.method, []).append(run.evaluation)
        figures[f"{prefix}bits"] = (f"{title} by length of the code", plots.bits_figure(by_method, references))
    page.plots(figures)
    every = {f"{method} {bits}": mean_costs(members) for (method, bits), members in rows.items()}
    costs = {name: cost for name, cost in every.items() if cost is not None}
    if costs:
        page.heading("Quality, memory and speed", 3)
        front = front_figure(list(costs.values()), title, references)
        page.plots({f"{prefix}front": (f"{title} against costs", front)}, kind="wide")
        add_costs(page, costs)
    page.heading("Code quality", 3)
    add_quality(page, rows)
    for name, run in whole.items():
        if run.answers:
            _answers(page, name, run.answers, title)
    for name in [name for name in shown if name in ranked[:pictures]]:
        run = shown[name]
        page.heading(name, 3)
        file = f"{prefix}{name.replace(' ', '-')}"
        own = {
            f"{file}-balance": ("Balance of the bits", plots.balance_figure(run.evaluation)),
            f"{file}-map": ("Codes of the queries", plots.map_figure(run.evaluation, run.label_names)),
        }
        if any(report.terms for report in run.history):
            own[f"{file}-learning"] = ("Learning curve", plots.learning_figure(run.history))
        page.plots(own)


def _configurations(page: Page, runs: Sequence[ReportedRun], named: bool) -> None:
    """Add the exact configuration of each row, folded; runs that differ only in the seed share one.

    Args:
        page: Page.
        runs: Runs.
        named: Add the name of the corpus to that of a row.
    """
    alike: dict[tuple[str, str, str], list[int]] = {}
    first: dict[str, int] = {}
    for run in runs:
        if run.config is None:
            continue
        one, seed = run.evaluation, run.config.training.seed
        name = f"{run.name} on {one.corpus}-{one.edition}" if named else run.name
        text = run.config.derive(training={"seed": first.setdefault(name, seed)}).to_yaml()
        seeds = alike.setdefault((name, run.commit or "not recorded", text), [])
        if seed not in seeds:  # it is evaluated on several splits
            seeds.append(seed)
    if alike:
        page.heading("Configurations")
    for (name, commit, text), seeds in alike.items():
        of = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {', '.join(map(str, seeds))} (the first one's is shown)"
        page.folded(f"{name}, {of}; commit {commit}", text)


def _warnings(page: Page, runs: Sequence[ReportedRun], rows: int) -> None:
    """Add the warnings of the evaluations; more than a few are folded below the names of their rows."""
    named: dict[str, list[str]] = {}
    for run in runs:
        for text in run.evaluation.warnings:
            if run.name not in named.setdefault(text, []):
                named[text].append(run.name)
    own = {text: names for text, names in named.items() if len(names) < rows}
    for text in named:
        if text not in own:
            page.text(text, "warning")
    lines = [f"{', '.join(names)}: {text}" for text, names in own.items()]
    if len(lines) <= _WARNINGS:
        for line in lines:
            page.text(line, "warning")
        return
    affected = dict.fromkeys(name for names in own.values() for name in names)
    page.text(f"There are warnings about {', '.join(affected)}.", "warning")
    page.folded(f"{len(lines)} warnings", "\n".join(lines))


def _answers(page: Page, name: str, answers: Sequence[HardQuery], title: str) -> None:
    """Add the queries with the lowest scores of a model, each with its hits below it."""
    page.heading(f"Worst queries of {name}", 3)
    rows = []
    for number, answer in enumerate(answers, start=1):
        query = answer.query
        rows.append([f"query {number}", f"{title} {answer.figure:.4f}", query.id, ", ".join(query.labels), query.text])
        for hit in answer.hits:
            document, verdict = hit.document, "relevant" if hit.relevant else "not relevant"
            rows.append([f"· at {hit.distance}", verdict, document.id, ", ".join(document.labels), document.text])
    page.table(["", "", "document", "labels", "text"], rows, "texts")
