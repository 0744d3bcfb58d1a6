"""Preparation on Ray beside scikit-learn's ``TfidfVectorizer.fit_transform`` on one core: same words, same vectors.

scikit-learn gets the texts as a list in memory and keeps its matrix there; texthash reads them from a JSONL file and
writes a prepared corpus, so its time holds both. Peak memory is the unique memory of this process and all it started,
Ray's own daemons included, above what they held before.
"""

from __future__ import annotations

import json as jsonlib
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count, islice
from pathlib import Path
from typing import Annotated, Any

import psutil
import ray
import typer
from sklearn.feature_extraction.text import TfidfVectorizer

from benchmarks.reporting import JsonOption, report
from texthash.config import CorpusConfig, Edition, SplitRule
from texthash.corpora.catalog import open_source
from texthash.corpora.dataset import PreparedCorpus
from texthash.corpora.distributed import prepare
from texthash.corpora.document import Document
from texthash.errors import TexthashError
from texthash.home import resolve_home
from texthash.progress import say

_MIB = 2**20
_SAMPLE_SECONDS = 0.25


def command(
    json: JsonOption,
    corpus: Annotated[str, typer.Option(help="Name of the corpus whose text is prepared.")] = "20newsgroups",
    documents: Annotated[int, typer.Option(min=100, help="Documents; the corpus is repeated to reach it.")] = 18_846,
    workers: Annotated[list[int] | None, typer.Option(help="Workers; may be given several times.")] = None,
    words: Annotated[int, typer.Option(min=1, help="Words in the vocabulary.")] = 10_000,
) -> None:
    """Documents a second and peak memory of preparation."""
    rows: list[dict[str, Any]] = []
    source = list(open_source(CorpusConfig(name=corpus), resolve_home()).documents())
    with tempfile.TemporaryDirectory() as folder, _cluster():
        path = _write(source, documents, Path(folder) / "rows.jsonl")
        edition = Edition(name="benchmark", split=SplitRule(kind="given"), vocabulary_size=words, min_tokens=0)
        config = CorpusConfig(name="benchmark", path=str(path), edition=edition)
        for n in workers or [1, 2]:
            prepare(config.model_copy(update={"limit": 200}), resolve_home(Path(folder) / f"warm-{n}"), n)
            home = resolve_home(Path(folder) / f"home-{n}")
            row, prepared = _measured("texthash", documents, n, lambda n=n, home=home: prepare(config, home, n))
            rows.append(row)
        texts = [jsonlib.loads(line)["text"] for line in islice(path.open(encoding="utf-8"), 2, None)]
        row, theirs = _measured("scikit_learn", documents, 1, lambda: _vectorizer(words).fit_transform(texts))
        rows.append(row)
        ours = PreparedCorpus.open(prepared).train.matrix()
        if ours.shape != theirs.shape or abs(ours - theirs).max() > 1e-6:
            raise TexthashError("the vectors differ from scikit-learn's.", "nothing is reported; look for the reason.")
    report("preparation", rows, json)


def _write(source: list[Document], documents: int, path: Path) -> Path:
    """Rows of the corpus, again and again until there are enough; two stand for validation and test."""
    say(f"writing {documents} documents")
    repeated = islice((document for _ in count() for document in source), documents)
    with path.open("w", encoding="utf-8") as file:
        for number, document in enumerate(repeated):
            split = ("validation", "test", "train")[min(number, 2)]
            row = {"id": str(number), "text": document.text, "labels": document.labels, "split": split}
            file.write(jsonlib.dumps(row) + "\n")
    return path


def _vectorizer(words: int) -> TfidfVectorizer:
    return TfidfVectorizer(stop_words="english", max_features=words)


@contextmanager
def _cluster() -> Iterator[None]:
    with tempfile.TemporaryDirectory(prefix="th", dir="/tmp") as temporary:  # socket paths have to be short
        ray.init(
            address="local",
            object_store_memory=300_000_000,
            include_dashboard=False,
            log_to_driver=False,
            _temp_dir=temporary,
        )
        try:
            yield
        finally:
            ray.shutdown()


def _measured(engine: str, documents: int, workers: int, call: Callable[[], Any]) -> tuple[dict[str, Any], Any]:
    say(f"{engine}, {workers} workers")
    before, peak, ended = _memory(), [0], threading.Event()

    def sample() -> None:
        while not ended.wait(_SAMPLE_SECONDS):
            peak[0] = max(peak[0], _memory() - before)

    sampler = threading.Thread(target=sample)
    sampler.start()
    start = time.perf_counter()
    try:
        result = call()
    finally:
        seconds = time.perf_counter() - start
        ended.set()
        sampler.join()
    row = {
        "engine": engine,
        "documents": documents,
        "workers": workers,
        "documents_per_s": round(documents / seconds, 1),
        "peak_mib": round(peak[0] / _MIB, 1),
    }
    return row, result


def _memory() -> int:
    """Bytes that only this process and those it started hold."""
    total = 0
    for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
        try:
            total += process.memory_full_info().uss
        except psutil.NoSuchProcess:  # it ended between listing and asking
            continue
    return total
