"""Preparation on Ray beside scikit-learn's ``TfidfVectorizer.fit_transform`` on one core: same words, same vectors.

scikit-learn gets the texts as a list in memory and keeps its matrix there; texthash reads them from a JSONL file and
writes a prepared corpus, so its time holds both. Times are medians of rounds in which each engine has its turn, on a
cluster with a CPU for each worker. Peak memory is taken in a run of its own, since looking costs time: the unique
memory of this process and all it started, above what they held once Ray had started; for scikit-learn above what the
process held with the texts.
"""

from __future__ import annotations

import json as jsonlib
import statistics
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import psutil
import ray
import typer
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfVectorizer

from benchmarks.preparation_plan import Rates, plan
from benchmarks.reporting import JsonOption, report
from texthash.config import CorpusConfig, Edition, SplitRule
from texthash.corpora.catalog import open_source
from texthash.corpora.dataset import PreparedCorpus
from texthash.corpora.distributed import prepare
from texthash.corpora.readers import rows as tables
from texthash.errors import TexthashError
from texthash.home import resolve_home
from texthash.progress import say

_MIB = 2**20
_SAMPLE_SECONDS = 0.25


def command(
    json: JsonOption,
    corpus: Annotated[str, typer.Option(help="Name of the corpus whose text is prepared.")] = "20newsgroups",
    path: Annotated[Path | None, typer.Option(help="A file of rows to take instead of a corpus.")] = None,
    documents: Annotated[int | None, typer.Option(min=100, help="Only the first; default: all.")] = None,
    times: Annotated[list[int] | None, typer.Option(min=1, help="So often the corpus; several make a curve.")] = None,
    workers: Annotated[list[int] | None, typer.Option(min=1, help="Workers; may be given several times.")] = None,
    words: Annotated[int, typer.Option(min=1, help="Words in the vocabulary.")] = 10_000,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds whose median is reported.")] = 3,
    peer: Annotated[bool, typer.Option(help="Measure scikit-learn too, and compare the vectors.")] = True,
    plan_documents: Annotated[float | None, typer.Option(help="Compute what so many documents would take.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the curve into this PNG.")] = None,
) -> None:
    """Documents a second and peak memory of preparation."""
    rows: list[dict[str, Any]] = []
    planned: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for multiple in times or [1]:
            file = Path(folder) / f"rows-{multiple}.jsonl"
            number = _write(corpus, path, documents, multiple, file)
            rows += _Comparison(_config(file, words), number, words).rows(workers or [1, 2], rounds, peer)
            if plan_documents and multiple == max(times or [1]):
                planned = plan(Rates.measured(_config(file, words), Path(folder) / "plan"), int(plan_documents), rows)
            file.unlink()
    if plot:
        _draw(rows, plot)
    report("preparation", rows, json, {"plan": planned})


def _config(file: Path, words: int) -> CorpusConfig:
    edition = Edition(name="benchmark", split=SplitRule(kind="given"), vocabulary_size=words, min_tokens=0)
    return CorpusConfig(name="benchmark", path=str(file), edition=edition)


def _write(corpus: str, path: Path | None, limit: int | None, times: int, target: Path) -> int:
    """Rows of the corpus, again and again; two stand for validation and test. Returns how many."""
    say(f"writing {path or corpus}, {times} times")
    number = 0
    with target.open("w", encoding="utf-8") as file:
        for _ in range(times):
            for text in islice(_source(corpus, path), limit):
                split = ("validation", "test", "train")[min(number, 2)]
                row = {"id": str(number), "text": text, "labels": [f"label{number % 2}"], "split": split}
                file.write(jsonlib.dumps(row) + "\n")
                number += 1
    return number


def _source(corpus: str, path: Path | None) -> Iterator[str]:
    if path:  # only its texts: splits and labels may be called as they like
        return (row["text"] for _, row in tables.rows(path))
    return (document.text for document in open_source(CorpusConfig(name=corpus), resolve_home()).documents())


class _Comparison:
    """Both engines on one file."""

    def __init__(self, config: CorpusConfig, documents: int, words: int) -> None:
        self.config, self.documents = config, documents
        self._vectorizer = {"stop_words": "english", "max_features": words}

    def rows(self, workers: list[int], rounds: int, peer: bool) -> list[dict[str, Any]]:
        seconds: dict[tuple[str, int], list[float]] = defaultdict(list)
        peaks: dict[tuple[str, int], int] = {}
        for n in workers:  # a cluster for each: what workers held for another does not count
            with _cluster(n):
                before = _memory()
                with _peak(before) as peak:
                    self._ours(n)
            peaks["texthash", n] = peak[0]
        texts = self._texts() if peer else []
        if peer:  # before any other call leaves memory to be used again
            with _peak(_memory()) as peak:
                theirs = self._theirs(texts)
            peaks["scikit_learn", 1] = peak[0]
            self._compare(theirs)
            del theirs
        for n in workers:
            with _cluster(n):
                self._ours(n)  # processes start and import
                for turn in range(rounds):
                    say(f"round {turn + 1} of {rounds}: {self.documents} documents, {n} workers")
                    seconds["texthash", n].append(_seconds(lambda n=n: self._ours(n)))
                    if peer:
                        say(f"round {turn + 1} of {rounds}: scikit-learn")
                        seconds["scikit_learn", 1].append(_seconds(lambda: self._theirs(texts)))
        return [
            {
                "engine": engine,
                "documents": self.documents,
                "workers": n,
                "documents_per_s": round(self.documents / statistics.median(taken), 1),
                "peak_mib": round(peaks[engine, n] / _MIB, 1),
                "fastest_s": round(min(taken), 3),
                "slowest_s": round(max(taken), 3),
            }
            for (engine, n), taken in seconds.items()
        ]

    def _ours(self, workers: int) -> None:
        with tempfile.TemporaryDirectory() as home:
            prepare(self.config, resolve_home(home), workers)

    def _theirs(self, texts: list[str]) -> csr_matrix:
        return TfidfVectorizer(**self._vectorizer).fit_transform(texts)

    def _compare(self, theirs: csr_matrix) -> None:
        with tempfile.TemporaryDirectory() as home, _cluster(2):
            ours = PreparedCorpus.open(prepare(self.config, resolve_home(home), 2)).train.matrix()
        if ours.shape != theirs.shape or abs(ours - theirs).max() > 1e-6:
            raise TexthashError("the vectors differ from scikit-learn's.", "nothing is reported; look for the reason.")

    def _texts(self) -> list[str]:
        with open(self.config.path or "", encoding="utf-8") as file:
            return [jsonlib.loads(line)["text"] for line in islice(file, 2, None)]


@contextmanager
def _cluster(cpus: int) -> Iterator[None]:
    with tempfile.TemporaryDirectory(prefix="th", dir="/tmp") as temporary:  # socket paths have to be short
        ray.init(
            address="local",
            num_cpus=cpus,
            object_store_memory=300_000_000,
            include_dashboard=False,
            log_to_driver=False,
            _temp_dir=temporary,
        )
        try:
            yield
        finally:
            ray.shutdown()


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


@contextmanager
def _peak(before: int) -> Iterator[list[int]]:
    """The most memory above ``before`` that is seen while the block runs."""
    peak, ended = [0], threading.Event()

    def sample() -> None:
        while not ended.wait(_SAMPLE_SECONDS):
            peak[0] = max(peak[0], _memory() - before)

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        yield peak
    finally:
        ended.set()
        sampler.join()


def _memory() -> int:
    """Bytes that only this process and those it started hold."""
    total = 0
    for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
        try:
            total += process.memory_full_info().uss
        except psutil.NoSuchProcess:  # it ended between listing and asking
            continue
    return total


def _draw(rows: list[dict[str, Any]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for axis, column, label in zip(
        axes, ("documents_per_s", "peak_mib"), ("documents a second", "peak memory, MiB"), strict=True
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
