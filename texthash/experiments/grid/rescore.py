"""Rescoring of a study from its saved codes: a new metric, or another cutoff, needs no new training."""

from __future__ import annotations

import dataclasses

import torch

from texthash.config import EvaluationConfig
from texthash.errors import UsageError
from texthash.evaluation.baselines.floor import without_floor
from texthash.evaluation.results import Evaluation
from texthash.evaluation.scoring import score
from texthash.experiments.grid.folder import StudyFolder
from texthash.experiments.grid.plan import Cell
from texthash.progress import log_line, track
from texthash.tracking import Run


def rescore(folder: StudyFolder, config: EvaluationConfig | None = None) -> int:
    """Recompute every metric and curve from codes and relevance on disk; models and corpora are not needed.

    The cosine of real-valued vectors cannot be recomputed this way: a report at another cutoff leaves it out.

    Metrics that are no longer computed, such as those at another cutoff, are kept. Each evaluation is replaced as a
    whole, so an interrupted call leaves some evaluations new and some old, and none missing; repeat it to finish.

    Args:
        folder: Directory of the study.
        config: Cutoffs; None for those of the study's configuration.

    Returns:
        Number of evaluations recomputed.

    Raises:
        UsageError: No cell is finished.
    """
    todo = [
        (cell, corpus, split)
        for cell in folder.plan.cells
        if folder.record(cell) is not None
        for corpus, split in folder.evaluations(cell)
    ]
    if not todo:
        raise UsageError(f"no cell of the study {folder.name} has codes yet.", "run the study first.")
    with folder.locked():
        for cell, corpus, split in track(todo, f"rescoring {folder.name}"):
            directory = folder.evaluations(cell)[corpus, split]
            if directory.is_dir() or directory.with_name(f".{directory.name}.new").is_dir():
                before = folder.evaluation(directory)
                after = _scored(folder, before, corpus, split, config or cell.config.evaluation)
                folder.replace_evaluation(directory, after)
                _log(folder, cell, corpus, split, after)
    log_line(f"rescored {len(todo)} evaluations of the study {folder.name}")
    return len(todo)


def _scored(folder: StudyFolder, before: Evaluation, corpus: str, split: str, config: EvaluationConfig) -> Evaluation:
    relevance, measure = folder.relevance(corpus, split)
    found = score(before.query_codes, before.database_codes, relevance, config, torch.get_num_threads(), measure)
    if config.k != before.k:
        before = without_floor(before)
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
