"""Runs: files of ranked lists in the form of TREC, six columns separated by blanks.

    query  Q0  document  rank  score  name of the run

As in trec_eval, the order is that of the scores, and the column of ranks is not used. Documents of equal score are tied
(trec_eval orders them by their ids, so its figures differ where there are ties).
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Sequence
from pathlib import Path

import numpy as np

from texthash.corpora.qrels import Qrels
from texthash.corpora.readers import text_files
from texthash.errors import CorpusError, UsageError
from texthash.evaluation.retrieval.ranked import Judged, Ranked
from texthash.io.atomic import whole

DEPTH = 1_000
Run = dict[str, dict[str, float]]
"""Query id to document id to score."""
_FORM = "a line is: query Q0 document rank score name."


def read_run(path: Path) -> Run:
    """Read a run, plain or gzipped.

    Raises:
        CorpusError: A line has other columns, a score is no finite number, or a document occurs twice in the list of a
            query (names file and line).
    """
    found: Run = {}
    for line, text in text_files.lines(path):
        cells = text.split()
        if not cells:
            continue
        if len(cells) != 6:
            raise CorpusError(f"{path}:{line}: {len(cells)} columns, not 6: {text.strip()[:80]!r}.", _FORM)
        query, _, document, _, score, _ = cells
        own = found.setdefault(query, {})
        if document in own:
            raise CorpusError(
                f"{path}:{line}: the document {document!r} occurs twice in the list of the query {query!r}.",
                "list each document of a query once.",
            )
        own[document] = _score(score, f"{path}:{line}")
    if not found:
        raise CorpusError(f"{path} is empty.", _FORM)
    return found


def write_run(
    path: Path,
    query_ids: Sequence[str],
    lists: Iterable[Ranked],
    document_ids: Sequence[str],
    name: str,
    depth: int = DEPTH,
) -> None:
    """Write ranked lists as a run, the first ``depth`` documents of each; the file appears when it is whole.

    Args:
        path: File to write.
        query_ids: Id of each query.
        lists: List of each query.
        document_ids: Id of each document.
        name: Name of the run; blanks become underscores.
        depth: Largest number of documents of a query.

    Raises:
        UsageError: An id has a blank.
    """
    tag = "_".join(name.split()) or "run"
    with whole(path) as partial, partial.open("w", encoding="utf-8") as file:
        for query, found in zip(query_ids, lists, strict=True):
            first = found.in_order(depth)
            rows = zip(first.documents.tolist(), first.scores.tolist(), strict=True)
            for rank, (number, score) in enumerate(rows, start=1):
                file.write(f"{_trec_id(query)} Q0 {_trec_id(document_ids[number])} {rank} {score!r} {tag}\n")


def _trec_id(value: str) -> str:
    """Return an id if it is valid in a file of TREC; raises :class:`UsageError` if it is empty or has a blank."""
    if len(value.split()) != 1 or value != value.strip():
        raise UsageError(
            f"the id {value!r} is not valid in a file of TREC, whose columns are separated by blanks.",
            "use ids without blanks.",
        )
    return value


def against(
    run: Run, qrels: Qrels, run_name: str, qrels_name: str
) -> tuple[list[str], list[Ranked], list[Judged], list[str]]:
    """Pair a run with judgements: the judged queries, list and grades of each, and notes for the reader.

    A judged query that the run does not have has an empty list and counts as 0 (``trec_eval -c``); a query of the run
    without judgements is left out and counted.

    Args:
        run: Scores of the listed documents, by query.
        qrels: Grades of the judged documents, by query.
        run_name: File of the run, for the error.
        qrels_name: File of the judgements, for the error.

    Raises:
        UsageError: No query of the run is judged.
    """
    if not qrels.keys() & run.keys():
        raise UsageError(
            f"none of {len(run):,} queries of {run_name} is judged, such as {next(iter(run), '')!r}; "
            f"{qrels_name} judges others, such as {next(iter(qrels), '')!r}.",
            "give the judgements of the collection of the run, with the same ids of queries.",
        )
    lists: list[Ranked] = []
    judged: list[Judged] = []
    for query, grades in qrels.items():
        listed = run.get(query, {})
        numbers = {document: number for number, document in enumerate(dict.fromkeys([*listed, *grades]))}
        lists.append(Ranked(np.arange(len(listed)), np.fromiter(listed.values(), np.float64, len(listed))))
        judged.append({numbers[document]: grade for document, grade in grades.items()})
    answerable = [query for query, grades in qrels.items() if any(grade > 0 for grade in grades.values())]
    notes = [
        _note(run, answerable, "queries with a relevant document, but not in the run, count as 0"),
        _note(qrels, run, "queries of the run, but without judgements, are left out"),
    ]
    return list(qrels), lists, judged, [note for note in notes if note]


def _note(known: Container[str], ids: Iterable[str], what: str) -> str:
    missing = [id_ for id_ in ids if id_ not in known]
    more = f" and {len(missing) - 5:,} more" if len(missing) > 5 else ""
    return f"{len(missing):,} {what}: {', '.join(missing[:5])}{more}." if missing else ""


def _score(text: str, origin: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise CorpusError(f"{origin}: the score {text[:40]!r} is no finite number.", _FORM)
    return value
