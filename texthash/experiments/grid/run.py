"""Running the unfinished cells of a study, in this process or in parallel on a Ray cluster."""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from texthash.config import Config
from texthash.errors import TexthashError, UsageError, as_user_error
from texthash.executor import Claim, Executor, LocalExecutor, Task
from texthash.experiments.corpora import prepare
from texthash.experiments.grid.cells import experiment_name, run_cell, set_threads
from texthash.experiments.grid.folder import StudyFolder, corpus_key
from texthash.experiments.grid.plan import Cell, Plan
from texthash.paths import StateDir
from texthash.progress import log_line
from texthash.tracking import Run, Tracker, open_store

# Function that runs one cell, and returns None, or the reason of its failure.
Work = Callable[[Cell], str | None]


@dataclass(frozen=True)
class Outcome:
    """Result of running a study.

    Attributes:
        folder: Directory of the study.
        run: Run of the study in the tracking store.
        done: Number of cells finished by this call.
        skipped: Number of cells finished before.
        failed: Reason of failure by cell.
    """

    folder: StudyFolder
    run: Run
    done: int
    skipped: int
    failed: dict[str, str]


def run_cells(plan: Plan, cells: Sequence[Cell], work: Work, executor: Executor) -> Iterator[tuple[Cell, str | None]]:
    """Run cells, on a cluster as many at a time as its CPUs and GPUs allow; yield each with its problem, if any.

    A cell whose process dies is started again, and continues from its last epoch.
    """
    threads = min(plan.cpus_per_cell, executor.workers) if executor.remote else plan.cpus_per_cell
    before = None if executor.remote else set_threads(threads)
    call = partial(_run_one, work=work, threads=threads if executor.remote else None)
    try:
        yield from executor.map(
            call, [{"cell": cell} for cell in cells], claim=partial(_claim, plan.cpus_per_cell), lost=_lost
        )
    finally:
        if before is not None:
            set_threads(before)


def _run_one(cell: Cell, work: Work, threads: int | None) -> tuple[Cell, str | None]:
    if threads is not None:
        os.environ.setdefault("OMP_NUM_THREADS", str(threads))
        set_threads(threads)
    return cell, work(cell)


def _claim(cpus: int, task: Task) -> Claim:
    cell: Cell = task["cell"]
    gpus = 1 if cell.kind == "model" and cell.config.training.use_gpu else 0
    return Claim(cpus=cpus, gpus=gpus, retries=cell.config.training.max_failures)


def _lost(task: Task, error: Exception) -> tuple[Cell, str | None]:
    """Return the outcome of a cell whose process died, since one cell must not stop the others."""
    cell: Cell = task["cell"]
    return cell, f"its process died {cell.config.training.max_failures + 1} times: {error}".splitlines()[0]


def run_study(plan: Plan, home: StateDir, *, extend: bool = False, executor: Executor = LocalExecutor()) -> Outcome:
    """Run the unfinished cells of a study; repeat the call to resume an interrupted study.

    The failure of a cell does not stop the others: its reason is saved, and the cell is retried the next time.

    Args:
        plan: Plan of the study.
        home: State directory.
        extend: Take over the cells of the plan, see :meth:`StudyFolder.claim`.
        executor: Prepares corpora and runs cells.

    Raises:
        UsageError: A study of that name has other contents, or a corpus has no relevance judgements.
        CorpusError: A corpus has changed since the study began.
        TexthashError: The tracking store cannot be used, or a cell has failed.
    """
    open_store(plan.corpora[0].tracking, home)
    folder = StudyFolder.claim(plan, home, extend)
    with folder.locked():
        left = [cell for cell in plan.cells if not folder.finished(cell)]
        log_line(f"study {plan.name}: {len(left)} of {len(plan.cells)} cells to do, in {folder.shared.place}")
        _prepare(folder, left, home, executor)
        run = _start(folder, home)
        failed: dict[str, str] = {}
        done = 0
        with run:
            work = partial(attempt, folder=folder, home=home, parent=run)
            for number, (cell, problem) in enumerate(run_cells(plan, left, work, executor), start=1):
                folder.bring(cell)
                if problem is None:
                    done += 1
                    log_line(f"study {plan.name}: {number}/{len(left)} {cell.label}")
                else:
                    failed[cell.label] = problem
                    log_line(f"study {plan.name}: {number}/{len(left)} {cell.label} failed: {problem}")
            run.text(json.dumps(status(folder), indent=1), "cells.json")
            run.metrics({"cells/done": len(plan.cells) - len(failed), "cells/failed": len(failed)})
            if failed:
                label, problem = next(iter(failed.items()))
                raise TexthashError(
                    f"{len(failed)} of {len(left)} cells of the study {plan.name} failed; the first one, {label}: "
                    f"{problem}",
                    "fix the cause and run the study again: finished cells are kept. `texthash study show` lists all.",
                )
        return Outcome(folder, run, done, len(plan.cells) - len(left), failed)


def attempt(cell: Cell, *, folder: StudyFolder, home: StateDir, parent: Run) -> str | None:
    """Run one cell; return None, or the reason of its failure, which is saved with the cell."""
    try:
        run_cell(cell, folder, home, parent)
    except Exception as error:  # noqa: BLE001  (one cell must not stop the others; the reason is saved, logged and raised)
        known = as_user_error(error)
        problem = known.problem if known else "".join(traceback.format_exception(error)).strip()
        folder.save_failure(cell, problem)
        return problem if known else f"{type(error).__name__}: {error}"
    return None


def status(folder: StudyFolder) -> list[dict[str, Any]]:
    """Return one row per cell: its name, state, main metric and training time."""
    rows = []
    for cell in folder.plan.cells:
        done = folder.finished(cell)
        record, failure = folder.record(cell), folder.failure(cell)
        split = folder.plan.splits[-1]
        figure, broken = None, ""
        if done and record is not None:
            if cell.kind == "reference":
                figure = record.figures[split]
            else:
                figure, broken = _main_figure(folder, folder.cell_dir(cell) / split)
        rows.append(
            {
                "row": cell.row,
                "bits": cell.bits,
                "seed": cell.seed,
                "corpus": cell.corpus,
                "state": "done" if done else "failed" if failure else "to do",
                split: figure,
                "train s": record.seconds if record else None,
                "cell": cell.id,
                "problem": broken if done or not failure else failure.splitlines()[-1],
            }
        )
    return rows


def _main_figure(folder: StudyFolder, path: Path) -> tuple[float | None, str]:
    """Return the main metric of an evaluation, and its problem if it is broken."""
    try:
        found = folder.evaluation(path)
    except TexthashError as error:
        return None, error.problem
    return found.metrics.get(found.main), ""


def forecast(plan: Plan, home: StateDir) -> dict[str, Any]:
    """Return the number of cells, the unfinished ones, and an estimate of their training time.

    The estimate is the mean of the finished cells of the same row, or else of any row.
    """
    folder = StudyFolder.of_plan(plan, home)
    states = [(cell, folder.record(cell) if folder.finished(cell) else None) for cell in plan.cells]
    known: dict[str, list[float]] = {}
    for cell, record in states:
        if record is not None and record.seconds is not None:
            known.setdefault(cell.row, []).append(record.seconds)
    everything = [seconds for row in known.values() for seconds in row]
    left = [cell for cell, record in states if record is None]
    trained = [cell for cell in left if cell.kind == "model"]
    estimate = None
    if everything and trained:
        usual = sum(everything) / len(everything)
        estimate = sum(sum(row) / len(row) if (row := known.get(cell.row)) else usual for cell in trained)
    return {
        "study": plan.name,
        "cells": len(plan.cells),
        "done": len(plan.cells) - len(left),
        "to_do": [cell.label for cell in left],
        "training_seconds": estimate,
    }


def _prepare(folder: StudyFolder, left: Sequence[Cell], home: StateDir, executor: Executor) -> None:
    """Prepare every corpus of the plan with the vectors that cells need, and check that none has changed."""
    needed: dict[str, dict[str | None, Config]] = {}
    for config in folder.plan.corpora:
        features = config.corpus.features
        needed[f"{config.corpus.name}-{config.corpus.edition.name}"] = {features: config}
    for cell in left:
        needed[cell.corpus].setdefault(cell.config.corpus.features, cell.config)
    for configs in needed.values():
        for config in configs.values():
            corpus = prepare(config, home, executor=executor)
        if not corpus.manifest.label_names and not corpus.manifest.pairs:
            raise UsageError(
                f"no document of {corpus_key(corpus)} has a label, so its codes cannot be compared.",
                "leave it out of the study.",
            )
        folder.check_data(corpus)
        folder.save_relevance(corpus)


def _start(folder: StudyFolder, home: StateDir) -> Run:
    tracker = Tracker(folder.plan.corpora[0].tracking, home, experiment_name(folder))
    before = folder.run
    if before is not None and before.uri == tracker.uri:
        return tracker.resume(before.run_id)
    run = tracker.start(
        f"study-{folder.name}",
        params={"cells": len(folder.plan.cells), "splits": ",".join(folder.plan.splits)},
        tags={"kind": "study", "study": folder.name},
        note=f"{len(folder.plan.cells)} cells: {', '.join(dict.fromkeys(cell.row for cell in folder.plan.cells))}.",
    )
    run.text(folder.plan.model_dump_json(indent=1), "study.json")
    folder.save_run(run)
    return run
