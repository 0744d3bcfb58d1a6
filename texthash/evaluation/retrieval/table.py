"""Tables of retrieval: rows, which are ways to search a test collection, with the metrics of each and a paired test.

A row is a function from queries to a ranked list of each, so that codes, keyword search, vectors and fused lists are
measured by the same lines. The paired test (:mod:`texthash.evaluation.significance`) compares the first nDCG of each
row with that of a baseline, by query; its p-values are adjusted for the number of rows (Holm).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from texthash.errors import UsageError
from texthash.evaluation.metrics import Tied
from texthash.evaluation.retrieval.collection import Collection
from texthash.evaluation.retrieval.ranked import Cuts, Judged, Ranked, bucketed, by_query
from texthash.evaluation.retrieval.runs import DEPTH, write_run
from texthash.evaluation.significance import Paired, holm, paired
from texthash.progress import track

Search = Callable[[Sequence[str]], Iterable[Ranked]]
"""Function from the texts of queries to the list of each, in order."""
BASELINE = "bm25"
_CEILING = "_ceiling"


@dataclass(frozen=True)
class Row:
    """Way to search a collection.

    Attributes:
        name: Name in the table.
        search: Function from the texts of queries to the list of each.
        how: Protocol, in a few words.
        bytes_per_document: Bytes that a document takes in memory; None where that is not a number of the method.
    """

    name: str
    search: Search
    how: str = ""
    bytes_per_document: float | None = None


@dataclass(frozen=True)
class RowResult:
    """Metrics of one row.

    Attributes:
        name, how, bytes_per_document: Those of the row.
        by_query: Every metric of each query, see :func:`texthash.evaluation.retrieval.ranked.by_query`.
        versus: Paired comparison with the baseline; None for the baseline itself, and where there is none.
    """

    name: str
    by_query: Mapping[str, Tied]
    how: str = ""
    bytes_per_document: float | None = None
    versus: Paired | None = None

    @property
    def metrics(self) -> dict[str, tuple[float, float, float]]:
        """Means over the queries with a relevant document, by name: expected, best and worst over orders of ties."""
        return {name: tied.mean() for name, tied in self.by_query.items() if not name.endswith(_CEILING)}

    def __getitem__(self, name: str) -> float:
        return self.metrics[name][0]

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the values by query, as plain JSON types."""
        values = {
            name: {"expected": _finite(one), "best": _finite(best), "worst": _finite(worst)}
            for name, (one, best, worst) in self.metrics.items()
        }
        versus = None if self.versus is None else {k: _finite(v) for k, v in self.versus._asdict().items()}
        named = {"row": self.name, "how": self.how, "bytes_per_document": self.bytes_per_document}
        return {**named, "metrics": values, "versus_baseline": versus}


@dataclass(frozen=True, repr=False)
class RetrievalTable:
    """Rows of one collection.

    Attributes:
        collection, split: Name of the collection and split of its queries.
        documents: Number of documents; None where only a run is known.
        queries: Number of queries with a relevant document, over which means are taken.
        left_out: Number of judged queries without a relevant document.
        rows: Results, in the order of the rows.
        gain: Gain of nDCG.
        baseline: Name of the row that the others are compared with; None where there is none.
        notes: Sentences on what is left out.
    """

    collection: str
    split: str
    documents: int | None
    queries: int
    left_out: int
    rows: Sequence[RowResult]
    gain: str = "linear"
    baseline: str | None = None
    notes: Sequence[str] = field(default_factory=tuple)

    def __getitem__(self, name: str) -> RowResult:
        """Return the result of a row by its name; raises :class:`KeyError`."""
        found = {row.name: row for row in self.rows}
        return found[name]

    @property
    def ceilings(self) -> dict[str, float]:
        """Largest possible mean of each P@k, which is below 1 where a query has fewer than k relevant documents."""
        first = self.rows[0].by_query if self.rows else {}
        return {name: tied.mean()[0] for name, tied in first.items() if name.endswith(_CEILING)}

    @property
    def main(self) -> str:
        """Metric of the paired test: the first of the table."""
        return next(iter(self.rows[0].metrics))

    def to_dict(self) -> dict[str, Any]:
        """Return the table as plain JSON types."""
        facts = ("collection", "split", "documents", "queries", "left_out", "gain", "baseline")
        plain = {name: getattr(self, name) for name in facts}
        return {
            **plain,
            "notes": [*self.notes],
            "ceilings": self.ceilings,
            "rows": [row.to_dict() for row in self.rows],
        }

    def cells(self) -> list[dict[str, Any]]:
        """Return the rows of the table as it is printed: expected values, and the comparison with the baseline."""
        rows = []
        for row in self.rows:
            size = "" if row.bytes_per_document is None else f"{row.bytes_per_document:,.0f}"
            cells: dict[str, Any] = {"row": row.name, "bytes": size}
            cells |= {_title(name): _decimals(value) for name, (value, *_) in row.metrics.items()}
            if self.baseline is not None:
                cells[f"- {self.baseline}"] = "" if row.versus is None else f"{row.versus.difference:+.3f}"
                cells["p"] = "" if row.versus is None else f"{row.versus.p:.4f}"
            rows.append(cells)
        return rows

    @property
    def summary(self) -> str:
        """Protocol in one sentence."""
        over = "" if self.documents is None else f" over {self.documents:,} documents"
        left = f", {self.left_out:,} without a relevant document left out" if self.left_out else ""
        most = "".join(f"; {_title(name.removesuffix(_CEILING))} at most {v:.3f}" for name, v in self.ceilings.items())
        return f"{self.collection}, {self.split}: {self.queries:,} queries{over}{left}; {self.gain} gain{most}"

    def __repr__(self) -> str:
        cells = self.cells()
        names = list(cells[0]) if cells else []
        widths = {name: max(len(name), *(len(str(row[name])) for row in cells)) for name in names}
        lines = [{name: name for name in names}, *cells]
        return "\n".join(
            [
                self.summary,
                *(
                    "  ".join(
                        f"{row[name]:<{widths[name]}}" if name == names[0] else f"{row[name]:>{widths[name]}}"
                        for name in names
                    )
                    for row in lines
                ),
                *self.notes,
            ]
        )


def measured(
    rows: Iterable[Row],
    collection: Collection,
    cuts: Cuts = Cuts(),
    baseline: str | None = BASELINE,
    save_runs: Callable[[Row], Path | None] = lambda row: None,
) -> RetrievalTable:
    """Search a collection in each way and return the table.

    Args:
        rows: Ways to search.
        collection: Collection of the queries.
        cuts: Cutoffs of the metrics, and the gain of nDCG.
        baseline: Name of the row that the others are compared with; ignored if there is no such row.
        save_runs: Function that returns the file to which the run of a row is written; None for no file.

    Raises:
        UsageError: No query has a relevant document.
    """
    results = [searched(row, collection, cuts, save_runs(row)) for row in rows]
    documents, notes = len(collection.documents), collection.notes
    return tabulated(results, collection.name, collection.split, documents, cuts=cuts, baseline=baseline, notes=notes)


def searched(row: Row, collection: Collection, cuts: Cuts = Cuts(), path: Path | None = None) -> RowResult:
    """Search a collection in one way, and write its run if a path is given.

    Raises:
        UsageError: No query has a relevant document.
    """
    check_answerable(collection.judged)
    histograms, kept = [], []
    lists = track(row.search(collection.queries), row.name, len(collection.queries))
    for ranked, judged in zip(lists, collection.judged, strict=True):
        histograms.append(bucketed(ranked, judged))
        if path is not None:
            kept.append(ranked.in_order(DEPTH))
    if path is not None:
        write_run(path, collection.query_ids, kept, collection.document_ids, row.name)
    return RowResult(row.name, by_query(histograms, cuts), row.how, row.bytes_per_document)


def tabulated(
    results: Sequence[RowResult],
    collection: str,
    split: str,
    documents: int | None,
    *,
    cuts: Cuts = Cuts(),
    baseline: str | None = BASELINE,
    notes: Sequence[str] = (),
) -> RetrievalTable:
    """Return the table of measured rows, compared with the baseline where it is one of them."""
    values = results[0].by_query[f"ndcg_at_{cuts.ndcg[0]}"].expected
    answered = int((~np.isnan(values)).sum())
    known = baseline if any(row.name == baseline for row in results) else None
    return RetrievalTable(
        collection,
        split,
        documents,
        answered,
        len(values) - answered,
        results if known is None else compared(results, known, f"ndcg_at_{cuts.ndcg[0]}"),
        cuts.gain,
        known,
        tuple(notes),
    )


def compared(results: Sequence[RowResult], baseline: str, metric: str) -> list[RowResult]:
    """Return the rows with their paired comparison with the baseline, p-values adjusted by Holm's procedure."""
    theirs = next(row for row in results if row.name == baseline).by_query[metric].expected
    tests = [paired(row.by_query[metric].expected, theirs) if row.name != baseline else None for row in results]
    adjusted = iter(holm(np.array([test.p for test in tests if test is not None])).tolist())
    return [
        replace(row, versus=None if test is None else test._replace(p=next(adjusted)))
        for row, test in zip(results, tests, strict=True)
    ]


def averaged(results: Sequence[RowResult]) -> RowResult:
    """Return one row of several that differ by their seed alone, with the mean of each query's values."""
    names = results[0].by_query
    by_name = {
        name: Tied(*(np.mean([row.by_query[name][place] for row in results], axis=0) for place in range(3)))
        for name in names
    }
    return replace(results[0], by_query=by_name)


def check_answerable(judged: Sequence[Judged]) -> None:
    """Raise :class:`UsageError` unless a query has a relevant document."""
    if not any(grade > 0 for grades in judged for grade in grades.values()):
        raise UsageError(
            f"none of {len(judged)} judged queries has a relevant document.", "give judgements with grades above 0."
        )


def _title(name: str) -> str:
    """Return the name of a metric as it is written: ``ndcg_at_10`` is nDCG@10."""
    known = {"ndcg": "nDCG", "mrr": "MRR", "recall": "R", "p": "P", "r_precision": "R-prec", "map": "MAP"}
    metric, _, cut = name.partition("_at_")
    return f"{known.get(metric, metric)}@{cut}" if cut else known.get(metric, metric)


def _decimals(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.4f}"


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
