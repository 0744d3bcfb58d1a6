"""One cell of a study: training or quantization, evaluation, costs, and its run in the tracking store."""

from __future__ import annotations

import shutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.evaluation.baselines.cosine import TFIDF, float_cosine
from texthash.evaluation.protocol import Encoder, EvaluationProtocol
from texthash.evaluation.results import Evaluation
from texthash.experiments.cross_corpus import evaluate_on_corpus
from texthash.experiments.experiment import Experiment
from texthash.experiments.grid.folder import CellRecord, StudyFolder, corpus_key
from texthash.experiments.grid.plan import Cell
from texthash.experiments.trained_models import TrainedModel
from texthash.hamming import kernels
from texthash.hamming.codes import to_words
from texthash.io.atomic import write_array
from texthash.io.folders import copy_whole
from texthash.paths import StateDir
from texthash.progress import log_line
from texthash.tracking import Run, Tracker, commit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

_TEXTS, _WARM = 128, 8  # texts whose encoding is timed, and texts of the warm-up
_QUERIES, _K = 256, 100  # queries of the timed search, and their number of results
_USED_WITHOUT_TRAINING = ("corpus.", "evaluation.", "tracking.")


def run_cell(cell: Cell, folder: StudyFolder, home: StateDir, parent: Run) -> CellRecord:
    """Run the missing steps of a cell and save its record.

    Existing models and evaluations are reused, so an interrupted cell resumes, and a study whose test split is opened
    later only evaluates.

    Args:
        cell: Cell to run.
        folder: Directory of the study; its corpora are prepared and their relevance judgements saved.
        home: State directory.
        parent: Tracking run of the study.
    """
    corpus = open_corpus(cell.config.corpus.name, cell.config.corpus.edition.name, home)
    folder.bring(cell)
    folder.cell_dir(cell).mkdir(parents=True, exist_ok=True)
    if cell.kind == "model":
        record = _model(cell, folder, home, parent, corpus)
    else:
        tracker = Tracker(cell.config.tracking, home, experiment_name(folder))
        tags = {"kind": cell.kind, "row": cell.row, "study": folder.name, "corpus": corpus.manifest.name}
        key = f"{folder.name}/{cell.id}"
        used = {name: value for name, value in cell.config.flat().items() if name.startswith(_USED_WITHOUT_TRAINING)}
        params = {**used, "how": cell.how, "bits": cell.bits}
        run = tracker.find(key) or tracker.start(
            cell.label, parent=parent, params=params, tags=tags, note=f"{cell.label}.", key=key
        )
        with run:
            record = (_encoder if cell.kind == "encoder" else _reference)(cell, folder, run, corpus)
    folder.save_record(cell, record)
    return record


def experiment_name(folder: StudyFolder) -> str:
    """Return the MLflow experiment of all runs of a study, unless its configuration names another."""
    return f"texthash-study-{folder.name}"


def open_corpus(name: str, edition: str, home: StateDir) -> PreparedCorpus:
    """Open a prepared corpus of the state directory."""
    return PreparedCorpus.open(home.corpus(name, edition))


# -- a trained model --------------------------------------------------------------------------------------------------


def _model(cell: Cell, folder: StudyFolder, home: StateDir, parent: Run, corpus: PreparedCorpus) -> CellRecord:
    from texthash.models.hasher import Hasher

    directory = folder.cell_dir(cell)
    tracking = cell.config.tracking
    named = cell.config.derive(tracking={"experiment": tracking.experiment or experiment_name(folder)})
    experiment = Experiment(named, home, corpus, shown=corpus.manifest.warnings)
    trained = folder.model(cell, home)
    model = TrainedModel.read(trained) if trained else None
    if model is None:
        model = experiment.train(cell.config.training.seed, parent=parent)
        model.run.tags({"row": cell.row, "study": folder.name, "cell": cell.id})
        folder.save_model(cell, model.directory)
    experiment.evaluate(model, test="test" in folder.plan.splits)
    for split in folder.plan.splits:
        _copy(model.directory / split, directory / split)
    hasher = Hasher.load(model.hasher)
    texts = first_texts(corpus)
    record = CellRecord(
        run=model.run.run_id,
        commit=model.commit,
        model=str(model.directory),
        seconds=model.seconds,
        epochs=sum(bool(report.terms) for report in model.history),
        documents_per_second=speed(hasher.encode, texts),
        search_ms=search_ms(Evaluation.load(directory / "validation")),
        bytes_per_document=hasher.bits / 8,
        unknown=_across(cell, folder, home, model) if folder.plan.across else {},
        history=[asdict(report) for report in model.history],
    )
    _log_costs(model.run, record)
    return record


def _copy(source: Path, target: Path) -> None:
    if not target.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        copy_whole(source, partial)
        partial.rename(target)


def _across(cell: Cell, folder: StudyFolder, home: StateDir, model: TrainedModel) -> dict[str, float]:
    """Evaluate a model on the other corpora; return the share of documents of each without a known word."""
    unknown = {}
    for config in folder.plan.corpora:
        corpus = open_corpus(config.corpus.name, config.corpus.edition.name, home)
        key = corpus_key(corpus)
        if key != cell.corpus:
            _, unknown[key] = evaluate_on_corpus(model, corpus, config.evaluation, folder.plan.splits)
            for split in folder.plan.splits:
                _copy(model.directory / "on" / key / split, folder.cell_dir(cell) / "on" / key / split)
    return unknown


# -- codes of an encoder, and references ------------------------------------------------------------------------------


def _encoder(cell: Cell, folder: StudyFolder, run: Run, corpus: PreparedCorpus) -> CellRecord:
    from texthash.corpora.prepared.embeddings.encoder import open_encoder
    from texthash.evaluation.baselines.quantized_embeddings import QuantizedEmbeddings

    encoder = cell.config.corpus.features
    assert encoder is not None
    run.dataset(corpus, folder.plan.splits)
    started = time.monotonic()
    codes = QuantizedEmbeddings(corpus, encoder, cell.how, cell.bits)  # type: ignore[arg-type]
    seconds = time.monotonic() - started
    protocol = EvaluationProtocol(corpus, cell.config.evaluation)
    directories = {split: folder.cell_dir(cell) / split for split in folder.plan.splits}
    evaluate_on(protocol, codes, directories, cell.id)
    opened = open_encoder(encoder)
    record = CellRecord(
        run=run.run_id,
        commit=commit(),
        seconds=seconds,
        documents_per_second=speed(lambda texts: codes.quantize(opened.encode(texts)), first_texts(corpus)),
        search_ms=search_ms(Evaluation.load(directories["validation"])),
        bytes_per_document=codes.bits / 8,
    )
    for split, directory in directories.items():
        _log(run, Evaluation.load(directory), split)
    _log_costs(run, record)
    return record


def _reference(cell: Cell, folder: StudyFolder, run: Run, corpus: PreparedCorpus) -> CellRecord:
    protocol = EvaluationProtocol(corpus, cell.config.evaluation)
    run.dataset(corpus, folder.plan.splits)
    before = folder.record(cell)
    figures = dict(before.figures) if before else {}
    for split in folder.plan.splits:
        if split not in figures:
            by_query = float_cosine(corpus, cell.config.evaluation.k, split, cell.how)
            write_array(folder.cell_dir(cell) / f"{split}.npy", by_query)
            figures[split] = float(np.nanmean(by_query))
            run.metrics({f"{'val' if split == 'validation' else split}/{protocol.main}": figures[split]})
    if cell.how == TFIDF:
        indptr = corpus.train.counts[0]
        size = 8.0 * float(indptr[-1]) / max(1, len(indptr) - 1)  # a word's number and its weight
    else:
        size = 4.0 * corpus.train.dense(cell.how).shape[1]
    return CellRecord(run=run.run_id, commit=commit(), bytes_per_document=size, figures=figures)


def evaluate_on(protocol: EvaluationProtocol, codes: Encoder, directories: dict[str, Path], name: str) -> None:
    """Evaluate codes on each split and save the evaluation in the split's directory, unless it exists."""
    for split, directory in directories.items():
        if directory.is_dir():
            continue
        if split == "test":
            found = protocol.evaluate_test_once(codes, name)
        else:
            found = protocol.evaluate_validation(codes)
        directory.parent.mkdir(parents=True, exist_ok=True)
        found.save(directory)
        result = f"{corpus_key(protocol.corpus)}: {split} {found.main} {found.metrics[found.main]:.4f}"
        log_line(f"evaluate {name} on {result}")


def _log(run: Run, evaluation: Evaluation, split: str) -> None:
    prefix = "val" if split == "validation" else split
    run.metrics({f"{prefix}/{name}": value for name, value in evaluation.metrics.items()})
    if split == "validation":
        run.metrics({f"codes/{name}": value for name, value in evaluation.diagnostics.items()})


def _log_costs(run: Run, record: CellRecord) -> None:
    named = ("documents_per_second", "search_ms", "bytes_per_document", "seconds")
    values = {name: value for name in named if (value := getattr(record, name)) is not None}
    run.metrics({f"cost/{name}": value for name, value in values.items()})


# -- costs ------------------------------------------------------------------------------------------------------------


def first_texts(corpus: PreparedCorpus) -> list[str]:
    """Return raw texts of validation, for measuring the encoding speed."""
    for table in corpus.validation.documents(_TEXTS):
        return list(table["text"].to_pylist())
    return []


def speed(encode: Callable[[Sequence[str]], Any], texts: Sequence[str]) -> float | None:
    """Return documents per second from raw text to code; None without texts."""
    if not texts:
        return None
    encode(texts[:_WARM])
    started = time.perf_counter()
    encode(texts)
    return len(texts) / (time.perf_counter() - started)


def search_ms(evaluation: Evaluation) -> float:
    """Return the milliseconds of an exact scan for one query on one thread."""
    words: NDArray[np.uint64] = to_words(evaluation.database_codes)
    queries = to_words(evaluation.query_codes[:_QUERIES])
    k = min(_K, len(evaluation.database_codes))
    kernels.top_k(words, queries[:, :1], k)
    started = time.perf_counter()
    for number in range(queries.shape[1]):
        kernels.top_k(words, queries[:, number : number + 1], k)
    return 1e3 * (time.perf_counter() - started) / queries.shape[1]


def set_threads(count: int) -> int:
    """Set the number of torch threads of this process; return the previous number."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    return before
