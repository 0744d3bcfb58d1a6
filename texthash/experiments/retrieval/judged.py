"""Models and runs on test collections: what `texthash evaluate --judged` and `--run` do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from texthash.corpora.qrels import read_qrels
from texthash.evaluation.retrieval.collection import Collection
from texthash.evaluation.retrieval.ranked import Cuts, bucketed, by_query
from texthash.evaluation.retrieval.runs import against, read_run
from texthash.evaluation.retrieval.table import (
    RetrievalTable,
    Row,
    RowResult,
    check_answerable,
    measured,
    tabulated,
)
from texthash.experiments.retrieval.rows import ModelRows, baseline_rows, encoder_row, fused_row
from texthash.experiments.retrieval.towers import tower_rows
from texthash.io.outputs import output_folder
from texthash.models.hasher import Hasher


def evaluate_model(
    model: Hasher,
    collection: Collection,
    cuts: Cuts = Cuts(),
    encoder: str | None = None,
    save_runs: Path | None = None,
) -> RetrievalTable:
    """Return the table of a model beside the baselines, all documents of the collection encoded from their texts.

    Args:
        model: Trained model.
        collection: Test collection.
        cuts: Cutoffs, and the gain of nDCG.
        encoder: Sentence encoder whose float cosine is a row; the vectors from which a model makes its codes are one
            without being named.
        save_runs: Directory for a run of each row; None: runs are not written.
    """
    rows = baseline_rows(collection.documents)
    keyword = rows[-1]
    if encoder is not None:
        rows.append(encoder_row(encoder, collection.documents))
    of_model = ModelRows(model, collection.documents)
    rows += [*tower_rows(of_model), *of_model.rows()]
    rows.append(fused_row(rows[-1], keyword))
    return measured(rows, collection, cuts, save_runs=run_files(save_runs))


def evaluate_runs(paths: Sequence[Path], qrels: Path, cuts: Cuts = Cuts()) -> RetrievalTable:
    """Return the table of runs of TREC; the others are compared with the first.

    Args:
        paths: Files of the runs.
        qrels: File of judgements, in the form of TREC or of BEIR.
        cuts: Cutoffs, and the gain of nDCG.

    Raises:
        CorpusError: A file has another form (names file and line).
        UsageError: No query of a run is judged, or none has a relevant document.
    """
    judgements = read_qrels(qrels)
    results: list[RowResult] = []
    notes: list[str] = []
    for path in dict.fromkeys(paths):
        _, lists, judged, own = against(read_run(path), judgements, str(path), str(qrels))
        check_answerable(judged)
        histograms = [bucketed(*pair) for pair in zip(lists, judged, strict=True)]
        name = path.name if path.name not in {row.name for row in results} else str(path)
        results.append(RowResult(name, by_query(histograms, cuts), str(path)))
        notes += [f"{name}: {note}" for note in own]
    baseline = results[0].name if len(results) > 1 else None
    return tabulated(results, qrels.name, "judged", None, cuts=cuts, baseline=baseline, notes=notes)


def run_files(directory: Path | None) -> Callable[[Row], Path | None]:
    """Return the function from a row to the file of its run: its name, with underscores, and ``.txt``.

    Raises:
        UsageError: The directory is a file.
    """
    if directory is None:
        return lambda row: None
    folder = output_folder(directory)
    return lambda row: folder / f"{'_'.join(row.name.replace('/', ' ').split())}.txt"
