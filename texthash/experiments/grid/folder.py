"""A study on disk: what it is, what its cells found, and what is relevant to what.

runs/studies/<name>/
    study.json                  the plan, the run in the tracking store, digests of the corpora
    relevance/<corpus>/<split>/ who asks and what is relevant, as arrays: a new metric needs nothing else
    cells/<cell>/               cell.json when it is done; failed.json when it could not be
        model.json              where the trained model is, as soon as it is trained
        validation/, test/      figures by query, and the codes
        on/<corpus>/<split>/    the same on other corpora
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
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
from texthash.io.atomic import claimed, read_json, whole_directory, write_json
from texthash.paths import StateDir
from texthash.tracking import Run, data_digest

FORMAT_VERSION = 1
STUDY, _CELL, _FAILED = "study.json", "cell.json", "failed.json"
_SETS = ("queries_indptr", "queries_indices", "database_indptr", "database_indices")


@dataclass(frozen=True)
class CellRecord:
    """What is known of a finished cell beside its evaluations.

    Attributes:
        run: Id of its tracking run.
        commit: Of the code that ran.
        model: Directory of the trained model; empty where there is none.
        seconds: Training time.
        epochs: Of minibatches.
        documents_per_second: Raw text to code, in one process; None of a reference.
        search_ms: Milliseconds of an exact scan of the database for one query, k = 100, on one thread.
        bytes_per_document: Of what is kept of a document for the search.
        figures: Of a reference: split to its main figure.
        unknown: Of each other corpus, the share of documents without a known word.
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
    """The directory of one study. Made by :meth:`claim`, found again by :meth:`open`.

    Attributes:
        path: The directory.
        plan: What the study is.
    """

    def __init__(self, path: Path, plan: Plan) -> None:
        self.path, self.plan = path, plan

    @classmethod
    def open(cls, home: StateDir, name: str) -> StudyFolder:
        """The study of that name, or in that directory.

        Raises:
            UsageError: there is none.
            TexthashError: its record is damaged, or of another version.
        """
        root = home.runs / "studies"
        path = Path(name).absolute() if (Path(name) / STUDY).is_file() else root / name
        if not (path / STUDY).is_file():
            known = ", ".join(studies(home)) or "none"
            raise UsageError(f"there is no study {name!r} in {root} (there: {known}).", "texthash study run FILE.")
        try:
            record = read_json(path / STUDY)
            if record["format"] != FORMAT_VERSION:
                raise TexthashError(
                    f"{path} has format {record['format']}, this texthash reads {FORMAT_VERSION}.",
                    "use the version of texthash that made it.",
                )
            return cls(path, parse_section(Plan, record["plan"], str(path / STUDY)))
        except (ValueError, KeyError) as error:
            raise TexthashError(f"{path / STUDY} is damaged: {error!r}", "restore it from a copy.") from error

    @classmethod
    def claim(cls, plan: Plan, home: StateDir, extend: bool = False) -> StudyFolder:
        """The directory of a plan, new or gone on with.

        Args:
            plan: What to run.
            home: Where state is kept.
            extend: Let a study that is there have the cells of this plan in place of its own; those that both have
                stay as they are, and no directory of a cell is removed.

        Raises:
            UsageError: a study of that name has other cells, and ``extend`` is not set.
        """
        path = home.runs / "studies" / plan.name
        if not (path / STUDY).is_file():
            folder = cls(path, plan)
            folder._write({})
            return folder
        before = cls.open(home, plan.name)
        ours, theirs = ({cell.id: cell for cell in one.cells} for one in (plan, before.plan))
        if set(ours) != set(theirs) and not extend:
            new = [cell.label for key, cell in ours.items() if key not in theirs]
            gone = [cell.label for key, cell in theirs.items() if key not in ours]
            parts = [
                f"{len(some)} {what} (such as {some[0]})"
                for some, what in ((new, "cells that it does not have"), (gone, "cells fewer or other"))
                if some
            ]
            raise UsageError(
                f"the study {plan.name} in {path} has other contents: this file asks for {' and '.join(parts)}.",
                "give the file another name, or let the study have these cells with --extend (nothing is deleted).",
            )
        folder = cls(path, plan)
        folder._write({key: value for key, value in before._record().items() if key in ("run", "data")})
        return folder

    # -- the study itself -------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        return self.plan.name

    @property
    def run(self) -> Run | None:
        """The study's run in the tracking store, once it has one."""
        known = self._record().get("run")
        return Run(**known) if known else None

    def keep_run(self, run: Run) -> None:
        """Remember the study's run."""
        self._write({**self._record(), "run": asdict(run)})

    def check_data(self, corpus: PreparedCorpus) -> None:
        """Note what a corpus is, or compare it with what it was when the study began.

        Raises:
            CorpusError: it is another one now.
        """
        record = self._record()
        data, key = dict(record.get("data", {})), corpus_key(corpus)
        now = data_digest(corpus)
        if data.setdefault(key, now) != now:
            raise CorpusError(
                f"the corpus {key} has changed under the study {self.name}: its data was {data[key]} and is {now} "
                f"({corpus.path}). The cells that are done rest on what it was.",
                "restore the corpus, or run the study of what it is now under another name.",
            )
        if record.get("data") != data:
            self._write({**record, "data": data})

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the study while it runs; the system frees it when the process dies.

        Raises:
            InUseError: another process holds it.
        """
        with claimed(self.path / ".lock", f"the study {self.name}", "wait for it, or end it; then run it again."):
            yield

    # -- relevance --------------------------------------------------------------------------------------------

    def keep_relevance(self, corpus: PreparedCorpus) -> None:
        """Keep who asks and what is relevant on the splits of the plan, unless that is done."""
        for split in self.plan.splits:
            place = self.path / "relevance" / corpus_key(corpus) / split
            if place.is_dir():
                continue
            judged = judged_queries(corpus, split)
            arrays = (*judged.relevance.queries, *judged.relevance.database)
            with whole_directory(place) as partial:
                for name, array in zip(_SETS, arrays, strict=True):
                    np.save(partial / f"{name}.npy", np.asarray(array))
                write_json(partial / "relevance.json", {"measure": judged.measure, "documents": judged.documents})

    def relevance(self, corpus: str, split: str) -> tuple[Relevance, Measure]:
        """What :meth:`keep_relevance` kept of a corpus, by the name of :func:`corpus_key`.

        Raises:
            TexthashError: it is not there.
        """
        place = self.path / "relevance" / corpus / split
        if not place.is_dir():
            raise TexthashError(f"{place} is not there.", f"run the study {self.name} again: it is made first.")
        arrays = [np.load(place / f"{name}.npy", mmap_mode="r") for name in _SETS]
        return Relevance((arrays[0], arrays[1]), (arrays[2], arrays[3])), read_json(place / "relevance.json")["measure"]

    # -- cells ------------------------------------------------------------------------------------------------

    def place(self, cell: Cell) -> Path:
        """Directory of a cell."""
        return self.path / "cells" / cell.id

    def evaluations(self, cell: Cell) -> dict[tuple[str, str], Path]:
        """Where the evaluations of a cell belong, by corpus and split; a reference has none."""
        if cell.kind == "reference":
            return {}
        place = self.place(cell)
        found = {(cell.corpus, split): place / split for split in self.plan.splits}
        if self.plan.across and cell.kind == "model":
            for other in dict.fromkeys(f"{c.corpus.name}-{c.corpus.edition.name}" for c in self.plan.corpora):
                if other != cell.corpus:
                    found |= {(other, split): place / "on" / other / split for split in self.plan.splits}
        return found

    def finished(self, cell: Cell) -> bool:
        """Whether a cell has all that the plan asks of it."""
        record = self.record(cell)
        if record is None:
            return False
        if cell.kind == "reference":
            return set(self.plan.splits) <= set(record.figures)
        return all(path.is_dir() for path in self.evaluations(cell).values())

    def record(self, cell: Cell) -> CellRecord | None:
        """What is known of a cell that has been done; None of another."""
        path = self.place(cell) / _CELL
        return CellRecord(**read_json(path)) if path.is_file() else None

    def write(self, cell: Cell, record: CellRecord) -> None:
        """A cell is done."""
        write_json(self.place(cell) / _CELL, asdict(record))
        (self.place(cell) / _FAILED).unlink(missing_ok=True)

    def write_failure(self, cell: Cell, problem: str) -> None:
        """A cell could not be done; it is tried again when the study is."""
        self.place(cell).mkdir(parents=True, exist_ok=True)
        write_json(self.place(cell) / _FAILED, {"problem": problem})

    def failure(self, cell: Cell) -> str | None:
        """Why a cell could not be done the last time."""
        path = self.place(cell) / _FAILED
        return str(read_json(path)["problem"]) if path.is_file() else None

    def evaluation(self, path: Path) -> Evaluation:
        """An evaluation of a cell; ends an exchange that was interrupted."""
        waiting = path.with_name(f".{path.name}.new")
        if not path.is_dir() and waiting.is_dir():
            waiting.rename(path)
        return Evaluation.load(path)

    def exchange(self, path: Path, evaluation: Evaluation) -> None:
        """Put an evaluation in the place of another; at no moment is there none."""
        waiting, before = (path.with_name(f".{path.name}.{what}") for what in ("new", "old"))
        for rest in (waiting, before):
            shutil.rmtree(rest, ignore_errors=True)
        evaluation.save(waiting)
        path.rename(before)
        waiting.rename(path)
        shutil.rmtree(before)

    # -- its record -------------------------------------------------------------------------------------------

    def _record(self) -> dict[str, Any]:
        record: dict[str, Any] = read_json(self.path / STUDY)
        return record

    def _write(self, more: dict[str, Any]) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        plan = self.plan.model_dump(mode="json", exclude={"corpora": {"__all__": {"service"}}})
        write_json(self.path / STUDY, {**more, "format": FORMAT_VERSION, "plan": plan})


def corpus_key(corpus: PreparedCorpus) -> str:
    """Corpus and edition, as cells name them."""
    return f"{corpus.manifest.name}-{corpus.manifest.edition}"


def studies(home: StateDir) -> list[str]:
    """Names of the studies that are there."""
    return sorted(path.parent.name for path in (home.runs / "studies").glob(f"*/{STUDY}"))
