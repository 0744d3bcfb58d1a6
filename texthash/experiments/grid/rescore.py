"""All figures of a study again from the codes that it kept: a new metric, or another cut, needs no new training."""

from __future__ import annotations

import dataclasses

import torch

from texthash.config import EvaluationConfig
from texthash.errors import UsageError
from texthash.evaluation.results import Evaluation
from texthash.evaluation.scoring import score
from texthash.experiments.grid.folder import StudyFolder
from texthash.experiments.grid.plan import Cell
from texthash.progress import log_line, track
from texthash.tracking import Run


def rescore(folder: StudyFolder, config: EvaluationConfig | None = None) -> int:
    """Compute every metric and curve again, from codes and relevance on disk; models and corpora are not needed.

    The cosine of real-valued vectors is not among the codes: a report at another cut leaves its lines out.

    A figure of a name that is not computed any more, such as one at another cut, is kept. Each evaluation is exchanged
    as a whole, so an interrupted call leaves some with new and some with old figures, and none without; the same
    call again does all.

    Args:
        folder: The study.
        config: Cuts; None: those of the study's configuration.

    Returns:
        How many evaluations have new figures.

    Raises:
        UsageError: no cell is done.
    """
    todo = [
        (cell, corpus, split)
        for cell in folder.plan.cells
        if folder.record(cell) is not None
        for corpus, split in folder.evaluations(cell)
    ]
    if not todo:
        raise UsageError(f"no cell of the study {folder.name} has codes yet.", "run the study first.")
    with folder.held():
        for cell, corpus, split in track(todo, f"rescoring {folder.name}"):
            place = folder.evaluations(cell)[corpus, split]
            if place.is_dir() or place.with_name(f".{place.name}.new").is_dir():
                before = folder.evaluation(place)
                after = _scored(folder, before, corpus, split, config or cell.config.evaluation)
                folder.exchange(place, after)
                _log(folder, cell, corpus, split, after)
    log_line(f"rescored {len(todo)} evaluations of the study {folder.name}")
    return len(todo)


def _scored(folder: StudyFolder, before: Evaluation, corpus: str, split: str, config: EvaluationConfig) -> Evaluation:
    relevance, measure = folder.relevance(corpus, split)
    found = score(before.query_codes, before.database_codes, relevance, config, torch.get_num_threads(), measure)
    return dataclasses.replace(
        before,
        k=config.k,
        metrics={**before.metrics, **found.metrics},
        curves={**before.curves, **found.curves},
        per_query=found.per_query,
    )


def _log(folder: StudyFolder, cell: Cell, corpus: str, split: str, evaluation: Evaluation) -> None:
    record, study = folder.record(cell), folder.run
    if record is None or study is None:
        return
    prefix = "val" if split == "validation" else split
    if corpus != cell.corpus:
        prefix = f"{corpus}/{split}"
    step = record.epochs + 1
    run = Run(study.uri, record.run, unsent=study.unsent)
    run.metrics({f"{prefix}/{name}": value for name, value in evaluation.metrics.items()}, step=step)
