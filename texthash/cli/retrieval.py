"""Evaluation by judged queries, for `texthash evaluate --judged` and `--run`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from texthash.cli.output import print_json, print_table
from texthash.errors import UsageError
from texthash.paths import resolve_home
from texthash.progress import log_line

if TYPE_CHECKING:
    from texthash.evaluation.retrieval.table import RetrievalTable

GainName = Literal["linear", "exponential"]


def judged_model(
    model: str, folder: Path, *, test: bool, encoder: str | None, save_run: Path | None, gain: GainName, as_json: bool
) -> None:
    """Print the table of a model and the baselines on a test collection."""
    from texthash.deployment.model_refs import saved_hasher
    from texthash.evaluation.retrieval.collection import Collection
    from texthash.evaluation.retrieval.ranked import Cuts
    from texthash.experiments.retrieval.judged import evaluate_model
    from texthash.models.hasher import Hasher

    hasher = Hasher.load(saved_hasher(resolve_home(), model))
    collection = Collection.read(folder, "test" if test else None)
    _print(evaluate_model(hasher, collection, Cuts(gain=gain), encoder, save_run), as_json)
    if save_run is not None:
        log_line(f"runs: {save_run}")


def judged_runs(runs: list[Path], qrels: Path | None, *, gain: GainName, as_json: bool) -> None:
    """Print the table of runs of TREC."""
    from texthash.evaluation.retrieval.ranked import Cuts
    from texthash.experiments.retrieval.judged import evaluate_runs

    if not runs:
        raise UsageError(f"--qrels {qrels} needs a run.", "add --run FILE.")
    if qrels is None:
        raise UsageError("--run needs judgements.", "add --qrels FILE, in the form of TREC or of BEIR.")
    _print(evaluate_runs(runs, qrels, Cuts(gain=gain)), as_json)


def _print(table: RetrievalTable, as_json: bool) -> None:
    if as_json:
        print_json(table.to_dict())
        return
    log_line(table.summary)
    for note in table.notes:
        log_line(note)
    print_table(table.cells(), False)
