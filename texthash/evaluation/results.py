"""Results of an evaluation and their files.

Codes and per-query scores are saved, so that a new metric or a paired test needs no new training.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from texthash.errors import TexthashError, UsageError
from texthash.evaluation.scoring import HALVES, HALVES_PREFIX, POOL_FIGURES, SHORT, Measure
from texthash.io.atomic import whole_directory
from texthash.io.records import read_record, typed
from texthash.paths import local_path

FORMAT_VERSION = 1
_RECORD = "evaluation.json"
_REMEDY = "delete the directory, and evaluate the model again."
_Figures = dict[str, float | None]
_ARRAYS = ("query_codes", "database_codes", "query_labels", "per_query")


@dataclass(frozen=True)
class Evaluation:
    """Metrics of one set of codes under the evaluation protocol.

    Attributes:
        corpus: Name of the corpus.
        edition: Edition of the corpus; metrics compare only within one corpus, edition and split.
        split: Split of the queries: ``validation`` or ``test``. The database is train, in a pair corpus all splits.
        bits: Length of the codes.
        k: Main cutoff, that of :attr:`main` and of ``per_query``.
        metrics: Macro averages by flat name (``p_at_100``, ``p_at_100_worst``, ``map``, ``radius2_precision``, ...).
        curves: Points of the plots: ``k`` with ``p``, ``p_best``, ``p_worst`` (in a pair corpus ``recall``, ...);
            ``radius_precision``, ``radius_recall`` and ``radius_empty`` by Hamming radius 0..bits; ``share_of_ones`` by
            bit.
        diagnostics: Diagnostics of the database codes, see :func:`texthash.evaluation.diagnostics.diagnose`.
        warnings: Caveats that a reader has to know before trusting the metrics.
        per_query: float64 [Q], expected P@k (or recall@k) of each query; NaN where no database document is relevant.
        query_codes: Packed codes of the queries, uint8 [Q, bits/8].
        database_codes: Packed codes of the database, uint8 [N, bits/8].
        query_labels: First label of each query, for plots, int32 [Q]; -1 for none.
        measure: ``precision`` of documents that share a label, ``recall`` of those that answer a question, or, without
            labels, of the other ``halves`` of documents.
        collapse: Warning that the codes of the queries have collapsed; None if they have not.
        references: Main metric of methods without learning, where it was measured; see
            :mod:`texthash.evaluation.baselines.floor`.
    """

    corpus: str
    edition: str
    split: str
    bits: int
    k: int
    metrics: dict[str, float]
    curves: dict[str, list[float]]
    diagnostics: dict[str, float]
    warnings: list[str]
    per_query: NDArray[np.float64] = field(repr=False, compare=False)
    query_codes: NDArray[np.uint8] = field(repr=False, compare=False)
    database_codes: NDArray[np.uint8] = field(repr=False, compare=False)
    query_labels: NDArray[np.int32] = field(repr=False, compare=False)
    measure: Measure = "precision"
    collapse: str | None = None
    references: dict[str, float] = field(default_factory=dict)

    @property
    def main(self) -> str:
        """Name of the metric by which models are compared: ``p_at_<k>`` or ``recall_at_<k>``."""
        return f"{SHORT[self.measure]}_at_{self.k}"

    @property
    def named_metrics(self) -> dict[str, float]:
        """Metrics by names that are unambiguous across evaluations.

        Those without labels are called ``halves_...``; precisions are left out, since each query has only one relevant
        document.
        """
        if self.measure != "halves":
            return self.metrics
        kept = ("hit_at_", "recall_at_", "mrr", "queries", "documents")
        return {f"{HALVES_PREFIX}{name}": value for name, value in self.metrics.items() if name.startswith(kept)}

    @property
    def headline(self) -> str:
        """Main metric and secondary one, by name, on one line; of a method that only re-ranks those of its pools."""
        selected_by = HALVES.removeprefix(HALVES_PREFIX)
        prefix, names = {
            "precision": ("", (self.main, "map")),
            "recall": ("", (*POOL_FIGURES, "pool_mrr_bm25") if "pool_mrr_bm25" in self.metrics else (self.main, "mrr")),
            "halves": (HALVES_PREFIX, (selected_by, self.main, "mrr")),
        }[self.measure]
        return ", ".join(f"{prefix}{name} {self.metrics[name]:.4f}" for name in dict.fromkeys(names))

    @property
    def floor_line(self) -> str:
        """References by name, on one line; empty if there are none."""
        return ", ".join(f"{name} {value:.4f}" for name, value in self.references.items())

    def flat(self) -> dict[str, float]:
        """Return all scalar metrics for a tracking store, diagnostics as ``codes/<name>``."""
        return {**self.named_metrics, **{f"codes/{name}": value for name, value in self.diagnostics.items()}}

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the arrays, as plain JSON types; an undefined metric is null."""
        return {
            "format": FORMAT_VERSION,
            "corpus": self.corpus,
            "edition": self.edition,
            "split": self.split,
            "bits": self.bits,
            "k": self.k,
            "measure": self.measure,
            "metrics": {name: _finite(value) for name, value in self.metrics.items()},
            "curves": {name: [_finite(value) for value in values] for name, values in self.curves.items()},
            "diagnostics": {name: _finite(value) for name, value in self.diagnostics.items()},
            "warnings": self.warnings,
            "collapse": self.collapse,
            "references": {name: _finite(value) for name, value in self.references.items()},
        }

    def to_json(self) -> str:
        """Return :meth:`to_dict` as JSON text."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)

    def save(self, directory: str | Path) -> Path:
        """Write ``evaluation.json`` and one .npy file per array; the directory appears only when it is complete.

        Raises:
            UsageError: The directory exists.
        """
        directory = local_path(directory)
        if directory.exists():
            raise UsageError(f"{directory} exists.", "an evaluation is never overwritten: name a new directory.")
        with whole_directory(directory) as partial:
            for name in _ARRAYS:
                np.save(partial / f"{name}.npy", getattr(self, name))
            (partial / _RECORD).write_text(self.to_json(), encoding="utf-8")
        return directory

    @classmethod
    def load(cls, directory: str | Path) -> Evaluation:
        """Load an evaluation written by :meth:`save`.

        Raises:
            UsageError: Files are missing, or have another format.
            TexthashError: A file is broken.
        """
        directory = Path(directory)
        missing = [name for name in (_RECORD, *(f"{a}.npy" for a in _ARRAYS)) if not (directory / name).is_file()]
        if missing:
            raise UsageError(f"{directory} is no evaluation: {', '.join(missing)} missing.", "give a saved evaluation.")
        members = read_record(directory / _RECORD, _REMEDY)
        if members.get("format", FORMAT_VERSION) != FORMAT_VERSION:
            raise UsageError(f"{directory} has another format than {FORMAT_VERSION}.", _REMEDY)
        record = typed(_Record, members, directory / _RECORD, _REMEDY)
        return cls(
            corpus=record.corpus,
            edition=record.edition,
            split=record.split,
            bits=record.bits,
            k=record.k,
            metrics=_numbers(record.metrics),
            curves={name: list(map(_number, values)) for name, values in record.curves.items()},
            diagnostics=_numbers(record.diagnostics),
            warnings=record.warnings,
            measure=record.measure,
            collapse=record.collapse,
            references=_numbers(record.references),
            **{name: _array(directory / f"{name}.npy") for name in _ARRAYS},
        )


@dataclass(frozen=True)
class _Record:
    """Content of ``evaluation.json``; evaluations of earlier versions have no ``collapse`` and ``references``."""

    format: int
    corpus: str
    edition: str
    split: str
    bits: int
    k: int
    measure: Measure
    metrics: _Figures
    curves: dict[str, list[float | None]]
    diagnostics: _Figures
    warnings: list[str]
    collapse: str | None = None
    references: _Figures = field(default_factory=dict)


def _array(path: Path) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(path, allow_pickle=False)
        return array
    except (ValueError, EOFError) as error:
        raise TexthashError(f"{path} is broken: {error}", _REMEDY) from None


def _numbers(figures: _Figures) -> dict[str, float]:
    return {name: _number(value) for name, value in figures.items()}


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
