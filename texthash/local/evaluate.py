"""Retrieval metrics of a model or an index on judged queries, with their range over ties."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_args, overload

import numpy as np

from texthash.arguments import check_choice, check_whole, shown
from texthash.errors import UsageError
from texthash.local.documents import check_model
from texthash.local.texts import as_texts, check_unique
from texthash.paths import check_path

if TYPE_CHECKING:
    from texthash.evaluation.metrics import Gain
    from texthash.evaluation.retrieval.collection import Collection
    from texthash.evaluation.retrieval.table import RetrievalTable, Row
    from texthash.evaluation.scoring import Relevance
    from texthash.local.index import Index
    from texthash.models.hasher import Hasher

Judgements = Mapping[str, Iterable[str] | Mapping[str, int]]


class Figure(NamedTuple):
    """Metric over the orders of tied documents: its mean over all of them, and its best and worst case."""

    expected: float
    best: float
    worst: float


@dataclass(frozen=True, repr=False)
class Figures(Mapping[str, Figure]):
    """Metrics by name, averaged over queries, such as ``figures["ndcg_at_10"].expected``.

    Documents at one distance are tied: ``expected`` is the mean over all their orders, ``best`` and ``worst`` are those
    of the best and the worst order.

    Attributes:
        by_name: Metrics by name; the object itself is a mapping of them too.
        queries: Number of queries with a relevant document, over which the means are taken.
    """

    by_name: dict[str, Figure]
    queries: int

    def __getitem__(self, name: str) -> Figure:
        return self.by_name[name]

    def __iter__(self) -> Any:
        return iter(self.by_name)

    def __len__(self) -> int:
        return len(self.by_name)

    def to_dict(self) -> dict[str, float]:
        """Return the metrics as numbers: ``map``, ``map_best``, ``map_worst`` and so on.

        A table of several models is ``pandas.DataFrame({name: figures.to_dict() for name, figures in all.items()})``.
        """
        return {
            name + end: value
            for name, figure in self.items()
            for end, value in zip(("", "_best", "_worst"), figure, strict=True)
        }

    def __repr__(self) -> str:
        rows = [f"{'':<14}expected    best   worst   ({self.queries} queries)"]
        rows += [f"{name:<14}{t.expected:8.4f}{t.best:8.4f}{t.worst:8.4f}" for name, t in self.by_name.items()]
        return "\n".join(rows)


@overload
def evaluate(
    model: Hasher,
    queries: Mapping[str, str] | Sequence[str],
    documents: Mapping[str, str] | Sequence[str],
    qrels: Judgements,
    *,
    k: int | Sequence[int] = ...,
    threads: int = ...,
) -> Figures: ...


@overload
def evaluate(
    model: Hasher | Index,
    *,
    judged: str | Path,
    split: str | None = ...,
    gain: Gain = ...,
    encoder: str | None = ...,
) -> RetrievalTable: ...


def evaluate(
    model: Hasher | Index,
    queries: Mapping[str, str] | Sequence[str] | None = None,
    documents: Mapping[str, str] | Sequence[str] | None = None,
    qrels: Judgements | None = None,
    *,
    k: int | Sequence[int] = (10, 100),
    threads: int = 1,
    judged: str | Path | None = None,
    split: str | None = None,
    gain: Gain = "linear",
    encoder: str | None = None,
) -> Figures | RetrievalTable:
    """Evaluate a model by relevance judgements, given as arguments or those of a test collection.

    Args:
        model: Trained model; with ``judged`` also an index that holds the documents of the collection, by their ids.
        queries: Texts by query id; the ids of a list are the positions ``"0"``, ``"1"``, ...
        documents: Texts by document id, or a list of them.
        qrels: For each query id, the ids of its relevant documents, or a mapping of these to grades of at most 100,
            which are the gains of nDCG; a grade of 0 or less is not relevant.
        k: Cutoff of the metrics, or several.
        threads: Number of threads that count distances.
        judged: Folder of a test collection in BEIR's layout, in place of queries, documents and qrels.
        split: Split of its queries: ``train``, ``validation`` (``dev.tsv``) or ``test``; None: test only if there is no
            other.
        gain: Gain of a grade in nDCG, ``linear`` as in trec_eval and BEIR, or ``exponential``, 2^g - 1.
        encoder: Name of a sentence encoder whose float cosine is a row of the table too.

    Returns:
        ``p_at_k``, ``recall_at_k``, ``ndcg_at_k`` at each cutoff, ``map`` and ``mrr``. With ``judged`` a table: random,
        tf-idf and BM25 beside the model or index, with nDCG@10, MRR@10, recall@10, @100 and @1000, success@10,
        R-precision, P@10 and MAP, and a paired test against BM25.

    Raises:
        UsageError: A cutoff or the number of threads is below 1, a judged query or document does not exist, a grade is
            out of range, or no query has a relevant document.
        CorpusError: The folder is not a test collection, or one of its files is malformed; the error names file and
            line.

    >>> import texthash
    >>> texts = ["sort an array", "sort a list of numbers", "open a file", "read a table", "plot a graph"]
    >>> model = texthash.train("nash", texts, bits=8)
    >>> figures = texthash.evaluate(model, {"q": "sort an array"}, dict(zip("abcde", texts)), {"q": ["a"]}, k=[1])
    >>> 0 <= figures["p_at_1"].worst <= figures["p_at_1"].expected <= figures["p_at_1"].best <= 1
    True
    """
    if judged is not None:
        if queries is not None or documents is not None or qrels is not None:
            raise UsageError("judged= has queries, documents and qrels of its own.", "leave the other arguments out.")
        return _table(model, judged, split, gain, encoder)
    if queries is None or documents is None or qrels is None:
        raise UsageError(
            "queries, documents or qrels are missing.", "give queries, documents and qrels, or judged=FOLDER."
        )
    from texthash.local.index import Index

    if isinstance(model, Index):
        raise UsageError(
            "an index can only be evaluated on a test collection.", "give judged=FOLDER, or pass index.model."
        )
    return _figures(model, queries, documents, qrels, k, threads)


def _figures(
    model: Hasher,
    queries: Mapping[str, str] | Sequence[str],
    documents: Mapping[str, str] | Sequence[str],
    qrels: Judgements,
    k: int | Sequence[int],
    threads: int,
) -> Figures:
    from texthash.config import EvaluationConfig
    from texthash.evaluation.scoring import score

    check_model(model)
    cutoffs = list(k) if isinstance(k, Iterable) and getattr(k, "ndim", 1) != 0 else [k]
    if not cutoffs:
        raise UsageError("there is no cutoff k.", "give one, or several.")
    for cut in cutoffs:
        check_whole("cutoff k", cut, least=1)
    check_whole("number of threads", threads, least=1)
    asked, searched = _named(queries, "queries"), _named(documents, "documents")
    relevance = _relevance(qrels, list(asked), list(searched))
    codes = model.encode(list(asked.values()), role="query"), model.encode(list(searched.values()))
    values: dict[str, Figure] = {}
    count = 0
    for cut in cutoffs:
        found = score(*codes, relevance, EvaluationConfig(k=cut, curve=(1,)), threads, "recall").metrics
        count = int(found["queries"])
        names = (f"p_at_{cut}", f"recall_at_{cut}", f"ndcg_at_{cut}", "map", "mrr")
        values |= {name: Figure(*(found[name + end] for end in ("", "_best", "_worst"))) for name in names}
    whole = {name: values.pop(name) for name in ("map", "mrr")}
    return Figures(values | whole, count)


def _table(
    model: Hasher | Index, folder: str | Path, split: str | None, gain: Gain, encoder: str | None
) -> RetrievalTable:
    from texthash.evaluation.metrics import Gain
    from texthash.evaluation.retrieval.collection import Collection
    from texthash.evaluation.retrieval.ranked import Cuts
    from texthash.evaluation.retrieval.table import measured
    from texthash.experiments.retrieval.judged import evaluate_model
    from texthash.experiments.retrieval.rows import baseline_rows, encoder_row
    from texthash.local.index import Index

    if not isinstance(model, Index):
        check_model(model)
    check_path("judged", folder)
    check_choice("gain", gain, get_args(Gain))
    collection, cuts = Collection.read(folder, split), Cuts(gain=gain)
    if not isinstance(model, Index):
        return evaluate_model(model, collection, cuts, encoder)
    rows = baseline_rows(collection.documents)
    rows += [] if encoder is None else [encoder_row(encoder, collection.documents)]
    return measured([*rows, index_row(model, collection)], collection, cuts)


def index_row(index: Index, collection: Collection) -> Row:
    """Return the row of an index, which ranks all its documents; those that the collection lacks are not relevant.

    Raises:
        UsageError: The index has none of the documents of the collection.
    """
    from texthash.evaluation.retrieval.ranked import Ranked
    from texthash.evaluation.retrieval.table import Row

    numbers = {id_: number for number, id_ in enumerate(collection.document_ids)}

    def search(queries: Sequence[str]) -> Iterator[Ranked]:
        for query in queries:
            found = index.search(query, k=max(1, len(index)), mode="semantic", rescore="none")
            if found.ids and numbers.keys().isdisjoint(found.ids):
                raise UsageError(
                    f"the index has no document of {collection.name}, whose first id is "
                    f"{collection.document_ids[0]!r}.",
                    "build it from these documents: texthash.Index(model, texts, ids=ids).",
                )
            # A document that the collection lacks takes a rank of its own.
            own = [numbers.get(id_, len(numbers) + place) for place, id_ in enumerate(found.ids)]
            yield Ranked(np.array(own, np.int64), -found.distances.astype(np.float64))

    return Row("index", search, "distances of the index", index.model.bits / 8)


def _named(texts: Mapping[str, str] | Sequence[str], name: str) -> dict[str, str]:
    if isinstance(texts, Mapping):
        return dict(zip([_name(id_) for id_ in texts], as_texts(list(texts.values()), name), strict=True))
    found = as_texts(texts, name)
    return {str(number): text for number, text in enumerate(found)}


def _name(id_: Any) -> str:
    """Return an id as text; a whole number that has too many digits for Python is the id of no document."""
    try:
        return str(id_)
    except ValueError:
        return shown(id_)


def _relevance(qrels: Judgements, queries: list[str], documents: list[str]) -> Relevance:
    from texthash.evaluation.scoring import Relevance

    check_unique(queries, "queries")
    if not isinstance(qrels, Mapping):
        raise UsageError(
            f"qrels is a {type(qrels).__name__}, not a mapping.",
            "give the ids of the relevant documents by the id of their query, such as {'0': ['17']}.",
        )
    qrels = {_name(id_): judged for id_, judged in qrels.items()}
    unknown = [id_ for id_ in qrels if id_ not in set(queries)]
    if unknown:
        raise UsageError(f"qrels judges {len(unknown)} queries that are not given, such as {unknown[0]!r}.", _REMEDY)
    rows = {id_: row for row, id_ in enumerate(documents)}
    return Relevance.graded([_grades(qrels.get(id_, ()), rows, id_) for id_ in queries], len(documents))


_REMEDY = "remove them from qrels, or give the missing texts."


def _grades(judged: Iterable[str] | Mapping[str, int], rows: dict[str, int], query: str) -> dict[int, int]:
    if isinstance(judged, str):
        judged = [judged]
    if not isinstance(judged, Iterable) or getattr(judged, "ndim", 1) == 0:
        raise UsageError(
            f"qrels[{query!r}]={shown(judged)} is no list of ids.", "give ids, or a mapping of ids to grades."
        )
    from texthash.evaluation.retrieval.ranked import MAX_GRADE

    pairs = judged.items() if isinstance(judged, Mapping) else ((id_, 1) for id_ in judged)
    found: dict[int, int] = {}
    for id_, grade in pairs:
        if _name(id_) not in rows:
            raise UsageError(f"qrels[{query!r}] names the document {shown(id_)}, which is not given.", _REMEDY)
        if not _is_grade(grade, MAX_GRADE):
            raise UsageError(
                f"qrels[{query!r}][{id_!r}]={shown(grade)} is not a grade.",
                f"give a whole number of at most {MAX_GRADE}; 0 and less is not relevant.",
            )
        found[rows[_name(id_)]] = int(grade)
    return found


def _is_grade(value: Any, most: int) -> bool:
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    return bool(number and -math.inf < value <= most and int(value) == value)
