"""Directory of a study: its plan, the results of its cells, and the relevance judgements.

runs/studies/<name>/
    study.json                  plan, run in the tracking store, digests of the corpora
    relevance/<corpus>/<split>/ queries and relevance judgements, as arrays: a new metric needs nothing else
    cells/<cell>/               cell.json if it is done; failed.json if it failed
        model.json              directory of the trained model, once it is trained
        validation/, test/      per-query scores and codes
        on/<corpus>/<split>/    the same on other corpora
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from texthash.config import parse_section
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.errors import CorpusError, TexthashError, UsageError
from texthash.evaluation.relevance import judged_queries
from texthash.evaluation.results import Evaluation
from texthash.evaluation.scoring import Measure, Relevance
from texthash.experiments.grid.plan import Cell, Plan
from texthash.experiments.grid.shared import SharedParts
from texthash.io.atomic import is_local, whole_directory, write_json
from texthash.io.claims import claim
from texthash.io.copies import bring
from texthash.io.listing import matching
from texthash.io.records import Location, read_record, read_typed, typed
from texthash.paths import StateDir
from texthash.progress import log_line
from texthash.tracking import Run, data_digest

FORMAT_VERSION = 1
_CELLS = "cells"
STUDY, _CELL, _FAILED, _MODEL = "study.json", "cell.json", "failed.json", "model.json"
_STUDY_REMEDY = "restore it from a copy."
_CELL_REMEDY = "delete it, and run the study again."
_SETS = ("queries_indptr", "queries_indices", "database_indptr", "database_indices")


@dataclass(frozen=True)
class CellRecord:
    """Record of a finished cell; its evaluations are files of their own.

    Attributes:
        run: Id of the tracking run.
        commit: Git commit of the code that ran.
        model: Directory of the trained model; empty if there is none.
        seconds: Training time.
        epochs: Number of epochs of minibatches.
        documents_per_second: Encoding speed from raw text, in one process; None for a reference.
        search_ms: Milliseconds of an exact scan of the database for one query, k = 100, on one thread.
        bytes_per_document: Memory of the searched data per document.
        figures: Main metric by split, for a reference.
        unknown: Share of documents without a known word, by other corpus.
        history: Reports of the epochs, as plain values.
    """

    run: str
    commit: str
    model: str = ""
    seconds: float | None = None
    epochs: int = 0
    documents_per_second: float | None = None
    search_ms: float | None = None
    bytes_per_document: float | None = None
    figures: dict[str, float] = field(default_factory=dict)
    unknown: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)


class StudyFolder:
    """Directory of a study, created by :meth:`claim`, opened by :meth:`open`.

    If the state is in an object store, the record of the study is there alone, and cells are published there.

    Attributes:
        path: Path of the directory.
        plan: Plan of the study.
        shared: Where other nodes find its parts; None if the path is that of all nodes.
    """

    def __init__(self, path: Path, plan: Plan, shared: SharedParts | None = None) -> None:
        self.path, self.plan, self.shared = path, plan, shared or SharedParts(path, path)

    @classmethod
    def open(cls, home: StateDir, name: str) -> StudyFolder:
        """Open a study by name or directory.

        Raises:
            UsageError: The study does not exist.
            TexthashError: The record of the study is damaged, or of another version.
        """
        root = home.runs / "studies"
        path = Path(name).absolute() if (Path(name) / STUDY).is_file() else root / name
        shared = SharedParts.of(home, path) if path.is_relative_to(home.root) else SharedParts(path, path)
        if not (shared.place / STUDY).is_file():
            known = ", ".join(studies(home)) or "none"
            raise UsageError(
                f"there is no study {name!r} in {root} (existing: {known}).", "run `texthash study run FILE`."
            )
        record = _read_study(shared.place)
        folder = cls(path, parse_section(Plan, record.plan, f"{shared.place / STUDY} is broken: its plan"), shared)
        shared.bring_below(path / _CELLS)
        return folder

    @classmethod
    def of_plan(cls, plan: Plan, home: StateDir) -> StudyFolder:
        """Return the directory of a plan, which need not exist."""
        path = home.runs / "studies" / plan.name
        folder = cls(path, plan, SharedParts.of(home, path))
        folder.shared.bring_below(path / _CELLS)
        return folder

    @classmethod
    def claim(cls, plan: Plan, home: StateDir, extend: bool = False) -> StudyFolder:
        """Create the directory of a plan, or open it to continue the study.

        Args:
            plan: Plan to run.
            home: State directory.
            extend: Replace the cells of an existing study by those of this plan; common cells keep their results, and
                no directory of a cell is removed.

        Raises:
            UsageError: A study of that name has other cells, and ``extend`` is not set.
        """
        folder = cls.of_plan(plan, home)
        if not (folder.shared.place / STUDY).is_file():
            folder._write(None)
            return folder
        before = cls.open(home, plan.name)
        ours, theirs = ({cell.id: cell for cell in one.cells} for one in (plan, before.plan))
        if set(ours) != set(theirs) and not extend:
            new = [cell.label for key, cell in ours.items() if key not in theirs]
            gone = [cell.label for key, cell in theirs.items() if key not in ours]
            parts = [
                f"{len(labels)} {what} (such as {labels[0]})"
                for labels, what in ((new, "new cells"), (gone, "missing cells"))
                if labels
            ]
            raise UsageError(
                f"the study {plan.name} in {folder.shared.place} has other contents: this file has "
                f"{' and '.join(parts)}.",
                "give the study another name in the file, or take over these cells with --extend (nothing is deleted).",
            )
        folder._write(before._record())
        return folder

    # -- the study itself -------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Name of the study."""
        return self.plan.name

    @property
    def run(self) -> Run | None:
        """Run of the study in the tracking store; None before it is started."""
        return self._record().run

    def save_run(self, run: Run) -> None:
        """Record the run of the study."""
        self._write(replace(self._record(), run=run))

    def check_data(self, corpus: PreparedCorpus) -> None:
        """Record the digest of a corpus, or compare it with the one recorded when the study began.

        Raises:
            CorpusError: The corpus has changed.
        """
        record = self._record()
        data, key = dict(record.data), corpus_key(corpus)
        now = data_digest(corpus)
        if data.setdefault(key, now) != now:
            raise CorpusError(
                f"the corpus {key} has changed under the study {self.name}: its data was {data[key]} and is {now} "
                f"({corpus.path}). The finished cells used the earlier data.",
                "restore the corpus, or run the study on the current corpus under another name.",
            )
        if record.data != data:
            self._write(replace(record, data=data))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Claim the study while it runs; the claim ends with the process.

        Raises:
            InUseError: Another process has claimed it.
        """
        lock = self.shared.place / ".lock"
        with claim(lock, f"the study {self.name}", "wait for it, or stop it; then run it again."):
            yield

    # -- relevance --------------------------------------------------------------------------------------------

    def save_relevance(self, corpus: PreparedCorpus) -> None:
        """Save queries and relevance judgements on the splits of the plan, unless they are saved already."""
        for split in self.plan.splits:
            directory = self.path / "relevance" / corpus_key(corpus) / split
            self.shared.bring([directory])
            if directory.is_dir():
                continue
            judged = judged_queries(corpus, split)
            arrays = (*judged.relevance.queries, *judged.relevance.database)
            with whole_directory(directory) as partial:
                for name, array in zip(_SETS, arrays, strict=True):
                    np.save(partial / f"{name}.npy", np.asarray(array))
                write_json(partial / "relevance.json", {"measure": judged.measure, "documents": judged.documents})
            self.shared.send(directory)

    def relevance(self, corpus: str, split: str) -> tuple[Relevance, Measure]:
        """Return the relevance judgements of a corpus, by the name of :func:`corpus_key`.

        Raises:
            TexthashError: They have not been saved.
        """
        directory = self.path / "relevance" / corpus / split
        self.shared.bring([directory])
        if not directory.is_dir():
            raise TexthashError(f"{directory} does not exist.", f"run the study {self.name} again, which creates it.")
        arrays = [np.load(directory / f"{name}.npy", mmap_mode="r") for name in _SETS]
        remedy = f"delete {directory}, and run the study {self.name} again, which creates it."
        kept = read_typed(_Judged, directory / "relevance.json", remedy)
        return Relevance((arrays[0], arrays[1]), (arrays[2], arrays[3])), kept.measure

    # -- cells ------------------------------------------------------------------------------------------------

    def cell_dir(self, cell: Cell) -> Path:
        """Return the directory of a cell."""
        return self.path / _CELLS / cell.id

    def bring(self, cell: Cell) -> None:
        """Bring a cell up to date on which another node may have worked."""
        self.shared.bring([self.cell_dir(cell)])

    def evaluations(self, cell: Cell) -> dict[tuple[str, str], Path]:
        """Return the directories of a cell's evaluations by corpus and split; a reference has none."""
        if cell.kind == "reference":
            return {}
        directory = self.cell_dir(cell)
        found = {(cell.corpus, split): directory / split for split in self.plan.splits}
        if self.plan.across and cell.kind == "model":
            for other in dict.fromkeys(f"{c.corpus.name}-{c.corpus.edition.name}" for c in self.plan.corpora):
                if other != cell.corpus:
                    found |= {(other, split): directory / "on" / other / split for split in self.plan.splits}
        return found

    def finished(self, cell: Cell) -> bool:
        """Return True if a cell has all results that the plan requires."""
        record = self.record(cell)
        if record is None:
            return False
        if cell.kind == "reference":
            return set(self.plan.splits) <= set(record.figures)
        return all(path.is_dir() for path in self.evaluations(cell).values())

    def record(self, cell: Cell) -> CellRecord | None:
        """Return the record of a finished cell; None for any other.

        A broken record is logged, and its cell is run again from the model and evaluations that exist.
        """
        path = self.cell_dir(cell) / _CELL
        if not path.is_file():
            return None
        try:
            return read_typed(CellRecord, path, _CELL_REMEDY)
        except TexthashError as error:
            log_line(f"warning: {error.problem} The cell counts as not done")
            return None

    def save_record(self, cell: Cell, record: CellRecord) -> None:
        """Write the record of a finished cell."""
        write_json(self.cell_dir(cell) / _CELL, asdict(record))
        (self.cell_dir(cell) / _FAILED).unlink(missing_ok=True)
        self.shared.send(self.cell_dir(cell))

    def save_failure(self, cell: Cell, problem: str) -> None:
        """Record the failure of a cell, which is retried when the study is run again."""
        self.cell_dir(cell).mkdir(parents=True, exist_ok=True)
        write_json(self.cell_dir(cell) / _FAILED, {"problem": problem})
        self.shared.send(self.cell_dir(cell))

    def failure(self, cell: Cell) -> str | None:
        """Return the reason of a cell's last failure; None if it has not failed."""
        path = self.cell_dir(cell) / _FAILED
        if not path.is_file():
            return None
        try:
            return read_typed(_Failure, path, _CELL_REMEDY).problem
        except TexthashError as error:  # that it failed is known
            return error.problem

    def save_model(self, cell: Cell, directory: Path) -> None:
        """Record the directory of a cell's trained model, from which an interrupted cell resumes."""
        write_json(self.cell_dir(cell) / _MODEL, {"directory": str(directory)})
        self.shared.send(self.cell_dir(cell))

    def model(self, cell: Cell, home: StateDir) -> Path | None:
        """Return the directory of the model that an interrupted cell has trained; None if it does not exist.

        Raises:
            TexthashError: The record is broken, or names a directory outside of the state directory.
        """
        path = self.cell_dir(cell) / _MODEL
        if not path.is_file():
            return None
        directory = Path(read_typed(_Model, path, _CELL_REMEDY).directory)
        own = home.runs / "models" / directory.name
        if not is_local(home.state):
            try:
                return bring(home, own)
            except FileNotFoundError:
                return None
        if own.is_dir():  # the state directory may have been copied or moved
            directory = own
        if not directory.is_dir():
            return None
        if not directory.resolve().is_relative_to(home.runs.resolve()):
            raise TexthashError(f"{path} is broken: {directory} is not in {home.runs}.", _CELL_REMEDY)
        return directory

    def evaluation(self, path: Path) -> Evaluation:
        """Load an evaluation of a cell, after completing an interrupted replacement."""
        new = path.with_name(f".{path.name}.new")
        if not path.is_dir() and new.is_dir():
            new.rename(path)
        return Evaluation.load(path)

    def replace_evaluation(self, path: Path, evaluation: Evaluation) -> None:
        """Replace an evaluation; at every moment the old or the new one exists on disk."""
        new, old = (path.with_name(f".{path.name}.{what}") for what in ("new", "old"))
        for leftover in (new, old):
            shutil.rmtree(leftover, ignore_errors=True)
        evaluation.save(new)
        path.rename(old)
        new.rename(path)
        shutil.rmtree(old)
        self.shared.send(self._cell_of(path))

    def _cell_of(self, evaluation: Path) -> Path:
        """Return the directory of the cell of an evaluation."""
        return self.path / _CELLS / evaluation.relative_to(self.path / _CELLS).parts[0]

    # -- record -----------------------------------------------------------------------------------------------

    def _record(self) -> _Study:
        return _read_study(self.shared.place)

    def _write(self, before: _Study | None) -> None:
        """Write the record with the plan of this folder, and the run and data of an earlier record."""
        plan = self.plan.model_dump(mode="json", exclude={"corpora": {"__all__": {"service", "cluster"}}})
        record = replace(before, plan=plan) if before else _Study(FORMAT_VERSION, plan)
        write_json(self.shared.place / STUDY, asdict(record))


@dataclass(frozen=True)
class _Study:
    """Content of ``study.json``: the plan, its tracking run, and the digests of the corpora by name."""

    format: int
    plan: dict[str, Any]
    run: Run | None = None
    data: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Judged:
    measure: Measure
    documents: int


@dataclass(frozen=True)
class _Failure:
    problem: str


@dataclass(frozen=True)
class _Model:
    directory: Location


def _read_study(path: Path) -> _Study:
    members = read_record(path / STUDY, _STUDY_REMEDY)
    if members.get("format", FORMAT_VERSION) != FORMAT_VERSION:
        raise TexthashError(
            f"{path / STUDY} has format {members['format']!r}, this texthash reads {FORMAT_VERSION}.",
            "use the version of texthash that made it.",
        )
    return typed(_Study, members, path / STUDY, _STUDY_REMEDY)


def corpus_key(corpus: PreparedCorpus) -> str:
    """Return corpus and edition in the form used by cells."""
    return f"{corpus.manifest.name}-{corpus.manifest.edition}"


def studies(home: StateDir) -> list[str]:
    """Return the names of the existing studies."""
    return sorted(path.parent.name for path in matching(home.shared(home.runs / "studies"), f"*/{STUDY}"))
