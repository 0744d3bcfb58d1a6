"""One page about one evaluated run or several: leaderboard, plots, code quality, configuration.

Runs are only put into one table when they share corpus, edition and split of the queries; seeds of one method and width
become one row with mean and standard deviation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from texthash.config import Config
from texthash.errors import UsageError
from texthash.evaluation.hard_queries import HardQuery
from texthash.evaluation.results import Evaluation
from texthash.evaluation.scoring import TITLE, Measure
from texthash.reporting import plots
from texthash.reporting.leaderboard import add_costs, add_leaderboard, add_quality, mean_costs, title_of
from texthash.reporting.page import Page
from texthash.reporting.pareto import Costs, front_figure
from texthash.training.loop import EpochReport

_NOTE = (
    "Equal distances count by the expected value over all their orders; in brackets "
    "the worst and the best order. Radius 2: precision within 2 bits, an empty ball counts as 0 (in brackets: share of "
    "empty balls). Published figures rest on their authors' own split, preparation and tie order: mind that."
)
_TASKS: dict[Measure, str] = {
    "precision": "Queries against the train split; two documents are relevant to each other if they share a label.",
    "recall": "Questions of one split against the documents of all splits; relevant are those that answer a question.",
    "halves": "Halves of documents against the train split and the other halves; relevant is the other half of the "
    "same document. No label is used: figures say how well codes keep what a text is about.",
}
_WARNINGS = 5
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
        costs: What it takes, where that was measured.
        answers: Its worst queries, with what they found.
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
    """The page as HTML (self-contained) and as Markdown, which refers to ``plots/<name>.png``."""

    html: str
    markdown: str
    images: dict[str, bytes]

    def save(self, directory: str | Path) -> Path:
        """Write ``report.html``, ``report.md`` and ``plots/`` into the directory; gives the HTML file's path."""
        directory = Path(directory)
        (directory / "plots").mkdir(parents=True, exist_ok=True)
        for name, image in self.images.items():
            (directory / "plots" / f"{name}.png").write_bytes(image)
        (directory / "report.md").write_text(self.markdown, encoding="utf-8")
        page = directory / "report.html"
        page.write_text(self.html, encoding="utf-8")
        return page


def report(
    runs: Sequence[ReportedRun],
    title: str = "texthash: evaluation",
    *,
    pictures: int = _DRAWN,
    preface: Callable[[Page], None] | None = None,
) -> Report:
    """Describe the runs on one page.

    Args:
        runs: In any order; those that may be compared stand together.
        title: Of the page.
        pictures: Of how many models, the best ones, the bits, codes and learning curve are drawn.
        preface: Writes what stands before everything else.

    Raises:
        UsageError: no runs.
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
    return Report(*page.whole(title), page.images)


def _group(page: Page, runs: Sequence[ReportedRun], prefix: str, pictures: int) -> None:
    """Everything about runs that may be compared with each other."""
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
    references = {
        name: value for run in runs for name, value in {**run.evaluation.references, **run.references}.items()
    }
    add_leaderboard(page, rows, references)
    _warnings(page, runs, len(rows))

    whole = {f"{method} {bits}": members[0] for (method, bits), members in rows.items()}
    ranked = sorted(whole, key=lambda name: -whole[name].evaluation.metrics[first.main])
    if len(whole) > _DRAWN:
        page.text(f"Drawn below: the {_DRAWN} models of {len(whole)} with the highest {title}; the table has all.")
    shown = {name: whole[name] for name in whole if name in ranked[:_DRAWN]}
    evaluations = {name: run.evaluation for name, run in shown.items()}
    figures = {f"{prefix}pr": ("Precision and recall by Hamming radius", plots.pr_figure(evaluations))}
    curved = {name: one for name, one in evaluations.items() if one.curves["k"]}
    if curved:  # a cut beyond the number of documents has no point
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
        page.plots({f"{prefix}front": (f"{title} against what it costs", front)}, kind="wide")
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
    _configurations(page, rows)


def _configurations(page: Page, rows: Mapping[tuple[str, int], Sequence[ReportedRun]]) -> None:
    """The exact configuration of each row, folded; seeds that differ in nothing else share one."""
    alike: dict[tuple[str, str, str], list[int]] = {}
    for members in rows.values():
        first = next((run.config.training.seed for run in members if run.config is not None), 0)
        for run in members:
            if run.config is not None:
                text = run.config.derive(training={"seed": first}).to_yaml()
                key = run.name, run.commit or "not recorded", text
                alike.setdefault(key, []).append(run.config.training.seed)
    if alike:
        page.heading("Configurations", 3)
    for (name, commit, text), seeds in alike.items():
        of = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {', '.join(map(str, seeds))} (the first one's is shown)"
        page.folded(f"{name}, {of}; commit {commit}", text)


def _warnings(page: Page, runs: Sequence[ReportedRun], rows: int) -> None:
    """What a person has to know before believing the figures; more than a few are folded below names of rows."""
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
    touched = dict.fromkeys(name for names in own.values() for name in names)
    page.text(f"There are warnings about {', '.join(touched)}.", "warning")
    page.folded(f"{len(lines)} warnings", "\n".join(lines))


def _answers(page: Page, name: str, answers: Sequence[HardQuery], title: str) -> None:
    """The worst queries of a model, each with its hits below it."""
    page.heading(f"Worst queries of {name}", 3)
    rows = []
    for number, answer in enumerate(answers, start=1):
        asked = answer.query
        rows.append([f"query {number}", f"{title} {answer.figure:.4f}", asked.id, ", ".join(asked.labels), asked.text])
        for hit in answer.hits:
            found, verdict = hit.document, "relevant" if hit.relevant else "not relevant"
            rows.append([f"· at {hit.distance}", verdict, found.id, ", ".join(found.labels), found.text])
    page.table(["", "", "document", "labels", "text"], rows, "texts")
