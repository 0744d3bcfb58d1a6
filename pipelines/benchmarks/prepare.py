"""Preparation on Ray beside scikit-learn's ``TfidfVectorizer.fit_transform`` on one core: same words, same vectors.

scikit-learn gets the texts as a list in memory and keeps its matrix there; texthash reads them from a JSONL file and
writes a prepared corpus, so its time includes both. Times are medians of rounds in which each engine runs once, on a
cluster with one CPU per worker. Memory is measured in separate runs, since sampling takes time
(:mod:`benchmarks.preparation_memory`).

``--curve`` adds larger and smaller multiples of the corpus, prepared once with the most workers, to show whether memory
grows with the corpus. The plan is computed from the largest of all (:mod:`benchmarks.preparation_plan`).
"""

from __future__ import annotations

import json as jsonlib
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from scipy.sparse import csr_matrix

from benchmarks.preparation_memory import Engine, cluster, fit_transform, peaks, training_texts
from benchmarks.preparation_plan import Rates, plan
from benchmarks.reporting import JsonOption, report
from texthash.config import CorpusConfig, Edition, SplitRule
from texthash.corpora.catalog import open_source
from texthash.corpora.preparation.steps import prepare_corpus
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.corpora.readers import tables
from texthash.errors import TexthashError
from texthash.executor import RayExecutor
from texthash.paths import resolve_home
from texthash.progress import log_line


def command(
    json: JsonOption = None,
    corpus: Annotated[str, typer.Option(help="Name of the corpus whose text is prepared.")] = "20newsgroups",
    documents: Annotated[int | None, typer.Option(min=100, help="Number of first documents; default: all.")] = None,
    times: Annotated[list[int] | None, typer.Option(min=1, help="Repetitions, with scikit-learn.")] = None,
    curve: Annotated[list[int] | None, typer.Option(min=1, help="Repetitions, once, by texthash alone.")] = None,
    path: Annotated[list[Path] | None, typer.Option(help="A file of rows to measure as well.")] = None,
    workers: Annotated[list[int] | None, typer.Option(min=1, help="Workers; may be given several times.")] = None,
    words: Annotated[int, typer.Option(min=1, help="Words in the vocabulary.")] = 10_000,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds whose median is reported.")] = 3,
    peer: Annotated[bool, typer.Option(help="Measure scikit-learn too, and compare the vectors.")] = True,
    plan_documents: Annotated[float | None, typer.Option(min=1, help="Predict the time for this number.")] = None,
    plot: Annotated[Path | None, typer.Option(help="PNG file of the corpus' curve.")] = None,
) -> None:
    """Measure documents per second and peak memory of preparation."""
    rows: list[dict[str, Any]] = []
    planned: list[dict[str, Any]] = []
    number_of_workers = workers or [1, 2]
    compared = set(times or [1])
    multiples = sorted(compared | set(curve or ()))
    with tempfile.TemporaryDirectory() as folder:
        for multiple in multiples:
            measured = _Measured(f"{corpus} x {multiple}", Path(folder) / "rows.jsonl", words)
            measured.write(_texts(corpus, documents, multiple))
            if multiple in compared:
                rows += measured.rows(number_of_workers, rounds, peer)
            else:
                rows += measured.rows([max(number_of_workers)], 1, False)
            if plan_documents and multiple == multiples[-1]:
                rates = Rates.measured(measured.config, Path(folder) / "plan")
                planned = plan(rates, int(plan_documents), rows)
        for file in path or ():
            measured = _Measured(file.name, Path(folder) / "rows.jsonl", words)
            measured.write(islice((row["text"] for _, row in tables.rows(file)), documents))
            rows += measured.rows(number_of_workers, rounds, peer)
    if plot:
        _draw([row for row in rows if row["corpus"].startswith(f"{corpus} x ")], plot)
    report("preparation", rows, json, {"plan": planned})


def _texts(corpus: str, limit: int | None, times: int) -> Iterator[str]:
    for _ in range(times):
        source = open_source(CorpusConfig(name=corpus), resolve_home())
        yield from (document.text for document in islice(source.documents(), limit))


class _Measured:
    """Both engines on one file of rows."""

    def __init__(self, name: str, file: Path, words: int) -> None:
        self.name, self.file, self.documents = name, file, 0
        edition = Edition(name="benchmark", split=SplitRule(kind="given"), vocabulary_size=words, min_tokens=0)
        self.config = CorpusConfig(name="benchmark", path=str(file), edition=edition)

    def write(self, texts: Iterator[str]) -> None:
        """Write the rows; two of them are validation and test."""
        log_line(f"writing {self.name}")
        with self.file.open("w", encoding="utf-8") as file:
            for number, text in enumerate(texts):
                split = ("validation", "test", "train")[min(number, 2)]
                row = {"id": str(number), "text": text, "labels": [f"label{number % 2}"], "split": split}
                file.write(jsonlib.dumps(row) + "\n")
                self.documents = number + 1

    def rows(self, workers: list[int], rounds: int, peer: bool) -> list[dict[str, Any]]:
        """Return one row for each engine and number of workers."""
        seconds = self._timed(workers, rounds, peer)
        log_line(f"{self.name}: measuring memory")
        return [
            {
                "engine": engine,
                "corpus": self.name,
                "documents": self.documents,
                "workers": n,
                "documents_per_s": round(self.documents / statistics.median(taken), 1),
                **peaks(engine, self.config, n),
                "fastest_s": round(min(taken), 3),
                "slowest_s": round(max(taken), 3),
            }
            for (engine, n), taken in seconds.items()
        ]

    def _timed(self, workers: list[int], rounds: int, peer: bool) -> dict[tuple[Engine, int], list[float]]:
        seconds: dict[tuple[Engine, int], list[float]] = defaultdict(list)
        texts = training_texts(self.config) if peer else []
        theirs = partial(fit_transform, texts, self.config.edition.vocabulary_size)
        if peer:
            self._compare(theirs())
        for n in workers:
            with cluster(n):
                self._ours(n)  # processes start and import
                for turn in range(rounds):
                    log_line(f"{self.name}, round {turn + 1} of {rounds}: {self.documents:,} documents, {n} workers")
                    seconds["texthash", n].append(_seconds(partial(self._ours, n)))
                    if peer:
                        log_line(f"{self.name}, round {turn + 1} of {rounds}: scikit-learn")
                        seconds["scikit_learn", 1].append(_seconds(theirs))
        return seconds

    def _ours(self, workers: int) -> None:
        with tempfile.TemporaryDirectory() as home:
            prepare_corpus(self.config, resolve_home(home), RayExecutor(workers))

    def _compare(self, theirs: csr_matrix) -> None:
        with tempfile.TemporaryDirectory() as home, cluster(2):
            ours = PreparedCorpus.open(prepare_corpus(self.config, resolve_home(home), RayExecutor(2))).train.matrix()
        if ours.shape != theirs.shape or abs(ours - theirs).max() > 1e-6:
            raise TexthashError("the vectors differ from scikit-learn's.", "find the reason; nothing is reported.")


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _draw(rows: list[dict[str, Any]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for axis, column, label in zip(
        axes, ("documents_per_s", "peak_mib"), ("documents per second", "peak memory, MiB"), strict=True
    ):
        for engine, n in dict.fromkeys((row["engine"], row["workers"]) for row in rows):
            points = [row for row in rows if (row["engine"], row["workers"]) == (engine, n)]
            axis.plot(
                [row["documents"] for row in points], [row[column] for row in points], "o-", label=f"{engine}, {n}"
            )
        axis.set(xlabel="documents", ylabel=label, xscale="log", ylim=(0, None))
    axes[0].legend(title="engine, workers")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
