"""Exact cosine graph of a corpus beside scikit-learn's brute force, which has to find the same neighbours.

The work is ``sum over words of df^2`` multiply-adds, one for each ordered pair of documents that share a word. It is
printed, and the rows contain the nanoseconds of one. Each reads a posting (6 bytes) and changes a sum (4 bytes) in the
second-level cache, which takes a core 0.5 to 1 ns; words that most documents have are added in vector registers,
several times as fast. For 20Newsgroups, 2.8e9 in all, that predicts 0.7 to 1.4 s on two cores.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import cycle, islice
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.neighbors import NearestNeighbors

from benchmarks.reporting import JsonOption, alternate, report
from texthash.config import CorpusConfig
from texthash.corpora.catalog import open_source
from texthash.corpora.prepared.neighbours.cosine import CosineSearch
from texthash.corpora.prepared.neighbours.search import all_nearest
from texthash.errors import TexthashError
from texthash.paths import resolve_home
from texthash.progress import log_line

Weights = NDArray[np.floating[Any]]
Engine = Callable[[csr_matrix, int, int], Weights]


def command(
    json: JsonOption = None,
    corpus: Annotated[str, typer.Option(help="Name of the corpus.")] = "20newsgroups",
    documents: Annotated[int, typer.Option(min=100, help="Documents; the corpus is repeated to reach it.")] = 18_846,
    words: Annotated[int, typer.Option(min=1, help="Words in the vocabulary.")] = 10_000,
    k: Annotated[int, typer.Option(min=1, help="Neighbours of a document.")] = 100,
    threads: Annotated[list[int] | None, typer.Option(help="Threads; may be given several times.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of which the median is taken.")] = 3,
) -> None:
    """Measure the seconds for the k nearest neighbours of all documents by tf-idf cosine."""
    read = [document.text for document in open_source(CorpusConfig(name=corpus), resolve_home()).documents()]
    texts = list(islice(cycle(read), documents))
    matrix = TfidfVectorizer(stop_words="english", max_features=words, dtype=np.float32).fit_transform(texts)
    work = int((np.bincount(matrix.indices).astype(np.int64) ** 2).sum())
    log_line(f"{documents:,} documents, {matrix.nnz:,} words in them, {work:,} multiply-adds")
    rows: list[dict[str, Any]] = []
    for number in threads or [2]:
        found: dict[str, Weights] = {}
        calls = {
            name: partial(_kept, found, name, partial(engine, matrix, k, number)) for name, engine in _ENGINES.items()
        }
        for name, taken in alternate(calls, rounds).items():
            rows.append(
                {
                    "engine": name,
                    "documents": documents,
                    "k": k,
                    "seconds": round(taken / 1e3, 3),
                    "threads": number,
                    "ns_per_multiply_add": round(1e6 * taken / work, 3),
                }
            )
        if np.abs(found["texthash"] - found["scikit_learn"]).max() > 1e-5:
            raise TexthashError("the similarities differ from scikit-learn's.", "find the reason; nothing is reported.")
    report("exact cosine neighbours", rows, json)


def _kept(found: dict[str, Weights], name: str, call: Callable[[], Weights]) -> None:
    found[name] = call()


def _texthash(matrix: csr_matrix, k: int, threads: int) -> Weights:
    return all_nearest(CosineSearch.of(matrix), k, threads=threads)[1]


def _scikit_learn(matrix: csr_matrix, k: int, threads: int) -> Weights:
    search = NearestNeighbors(metric="cosine", algorithm="brute", n_neighbors=k, n_jobs=threads).fit(matrix)
    return 1 - search.kneighbors()[0]


_ENGINES: dict[str, Engine] = {"texthash": _texthash, "scikit_learn": _scikit_learn}
