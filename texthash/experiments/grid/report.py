"""Report on a study: tables, plots and worst queries, as self-contained HTML and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import yaml

from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.errors import CorpusError, UsageError
from texthash.evaluation.hard_queries import worst_queries
from texthash.evaluation.results import Evaluation
from texthash.experiments.grid.cells import open_corpus
from texthash.experiments.grid.folder import CellRecord, StudyFolder
from texthash.experiments.grid.plan import Cell
from texthash.paths import StateDir
from texthash.progress import log_line
from texthash.reporting.page import Page
from texthash.reporting.pareto import Costs
from texthash.reporting.report import ReportedRun, report
from texthash.tracking import data_digest
from texthash.training.loop import EpochReport

_PICTURES = 3  # models of a corpus whose codes are plotted


def report_study(folder: StudyFolder, home: StateDir, output: Path | None = None) -> Path:
    """Write a report on the finished cells, in the study's directory and as an artifact of its run.

    Texts of documents are read from the prepared corpora; if one no longer exists or has changed, the report has a
    warning in place of its worst queries.

    Args:
        folder: Directory of the study.
        home: State directory of its corpora.
        output: Directory of the report; None for ``report`` in the study's directory.

    Returns:
        Path of the HTML file.

    Raises:
        UsageError: No cell with codes is finished, or the output is no folder.
    """
    corpora: dict[str, PreparedCorpus] = {}
    warnings: list[str] = []
    for config in folder.plan.corpora:
        name, edition = config.corpus.name, config.corpus.edition.name
        try:
            corpus = open_corpus(name, edition, home)
            folder.check_data(corpus)
            corpora[f"{name}-{edition}"] = corpus
        except CorpusError as error:
            warnings.append(f"The texts of {name}-{edition} cannot be shown: {error.problem}")
    split = folder.plan.splits[-1]
    runs = _runs(folder, corpora, split)
    if not runs:
        raise UsageError(f"no cell of the study {folder.name} is done.", "run `texthash study run FILE`.")
    runs = _with_answers(runs, corpora)

    def preface(page: Page) -> None:
        _summary(page, folder, {key: data_digest(corpus) for key, corpus in corpora.items()})
        for warning in warnings:
            page.text(warning, "warning")

    def appendix(page: Page) -> None:
        plain = folder.plan.model_dump(mode="json", exclude={"corpora": {"__all__": {"service"}}})
        page.folded("The study, resolved", yaml.safe_dump(plain, sort_keys=False, allow_unicode=True))

    made = report(runs, f"Study {folder.name}", pictures=_PICTURES, preface=preface, appendix=appendix)
    directory = output or folder.path / "report"
    made.save(directory)
    if output is None:  # an earlier report had other plots
        for plot in (directory / "plots").glob("*.png"):
            if plot.stem not in made.images:
                plot.unlink()
    if folder.run is not None:
        with TemporaryDirectory(prefix="texthash-") as scratch:  # The folder may hold other files of the user.
            made.save(Path(scratch) / "report")
            folder.run.artifact(Path(scratch) / "report", "report")
    log_line(f"report of the study {folder.name}: {len(runs)} evaluations")
    return directory / "report.html"


def _runs(folder: StudyFolder, corpora: Mapping[str, PreparedCorpus], split: str) -> list[ReportedRun]:
    references: dict[str, dict[str, float]] = {}
    found: list[ReportedRun] = []
    records = {cell.id: record for cell in folder.plan.cells if (record := folder.record(cell)) is not None}
    for cell in folder.plan.cells:
        record = records.get(cell.id)
        if record is not None and cell.kind == "reference" and split in record.figures:
            size = f", {record.bytes_per_document:,.0f} bytes" if record.bytes_per_document else ""
            references.setdefault(cell.corpus, {})[f"{cell.row} (float{size})"] = record.figures[split]
    for cell in folder.plan.cells:
        record = records.get(cell.id)
        if record is None:
            continue
        for (corpus, query_split), directory in folder.evaluations(cell).items():
            if query_split == split and directory.is_dir():
                names = corpora[corpus].label_names if corpus in corpora else ()
                run = _run(folder, cell, record, folder.evaluation(directory), own_corpus=corpus == cell.corpus)
                lines = references.get(corpus, {})
                if run.evaluation.k != cell.config.evaluation.k:  # rescored at another cutoff, unlike the references
                    run, lines = replace(run, published=None), {}
                found.append(replace(run, references=lines, label_names=names))
    return found


def _run(folder: StudyFolder, cell: Cell, record: CellRecord, evaluation: Evaluation, own_corpus: bool) -> ReportedRun:
    if not own_corpus:
        return ReportedRun(f"{cell.row}, learned on {cell.corpus}", evaluation)
    corpus = cell.config.corpus
    printed = folder.plan.printed(corpus.name, corpus.edition.name, cell.row, evaluation.bits)
    costs = None
    if record.documents_per_second and record.bytes_per_document and record.search_ms is not None:
        costs = Costs(
            cell.row,
            evaluation.bits,
            evaluation.metrics[evaluation.main],
            record.bytes_per_document,
            record.documents_per_second,
            record.search_ms,
            record.seconds or 0.0,
        )
    return ReportedRun(
        method=cell.row,
        evaluation=evaluation,
        config=cell.config if cell.kind == "model" else None,
        commit=record.commit,
        seconds=record.seconds,
        history=[EpochReport(**one) for one in record.history],
        published=printed.figure if printed else None,
        published_source=printed.source if printed else "",
        costs=costs,
    )


def _with_answers(runs: list[ReportedRun], corpora: Mapping[str, PreparedCorpus]) -> list[ReportedRun]:
    """Return the runs with the worst queries of the best row of each corpus, for its first seed."""
    best: dict[str, ReportedRun] = {}
    rows: dict[tuple[str, str], list[ReportedRun]] = {}
    for run in runs:
        one = run.evaluation
        rows.setdefault((f"{one.corpus}-{one.edition}", run.name), []).append(run)
    means = {key: float(np.mean([r.evaluation.metrics[r.evaluation.main] for r in row])) for key, row in rows.items()}
    for (corpus, name), mean in sorted(means.items(), key=lambda item: -item[1]):
        if corpus in corpora and corpus not in best and not np.isnan(mean):
            best[corpus] = rows[corpus, name][0]
    answers = {id(run): worst_queries(run.evaluation, corpora[corpus]) for corpus, run in best.items()}
    return [replace(run, answers=answers[id(run)]) if id(run) in answers else run for run in runs]


def _summary(page: Page, folder: StudyFolder, data: Mapping[str, str]) -> None:
    plan = folder.plan
    done = sum(map(folder.finished, plan.cells))
    failures = {cell.label: why for cell in plan.cells if (why := folder.failure(cell))}
    commits = sorted({record.commit for cell in plan.cells if (record := folder.record(cell))})
    test = "was used once per cell, when its model was final" if plan.test else "was not used"
    page.text(
        f"{done} of {len(plan.cells)} cells are done. Models were selected on validation; the test split {test}. "
        f"Commits: {', '.join(commits)}."
    )
    for corpus, digest in data.items():
        page.text(f"Data of {corpus}: {digest}.")
    for label, why in failures.items():
        page.text(f"{label} failed: {why.splitlines()[-1]}", "warning")
    missing = len(plan.cells) - done - len(failures)
    if missing:
        page.text(f"{missing} cells have not been run yet.", "warning")
