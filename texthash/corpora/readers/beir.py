"""Test collections in the layout of BEIR (Thakur et al., 2021), for a user's own corpus.

    corpus.jsonl      {"_id": "d1", "title": "...", "text": "..."} a line; the title may be absent
    queries.jsonl     {"_id": "q1", "text": "..."} a line
    qrels/test.tsv    query-id, corpus-id, score; also train.tsv and dev.tsv

Each may be gzipped. A document is its title and its text, joined by a line break; a title with which the text begins is
not repeated. The split of a file of judgements is that of its *queries*; documents have no split, so that
``corpus.edition.split`` divides them at random, and all are searched. Judgements of a query or a document that does not
exist are left out, counted and named.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from texthash.config import CorpusConfig
from texthash.corpora.document import SPLITS, Document, split_named
from texthash.corpora.qrels import Qrels, read_qrels, write_qrels
from texthash.corpora.readers import fields, tables
from texthash.corpora.readers.folders import left_out_note, walk
from texthash.corpora.readers.text_files import Span
from texthash.errors import CorpusError
from texthash.io.atomic import write_text
from texthash.paths import StateDir

_CORPUS, _QUERIES, _QRELS = "corpus", "queries", "qrels"
_QRELS_SUFFIXES = (".tsv", ".tsv.gz", ".txt", ".qrels")
_PART_BYTES = 3_000_000
_NAMED = 5
_FORM = 'a line looks like {"_id": "1", "title": "...", "text": "..."}.'


@dataclass(frozen=True)
class Judgements:
    """Queries of a collection and their judgements.

    Attributes:
        queries: Text of each query by its id, in the order of the file.
        qrels: Judgements by split of the queries, of existing queries and documents alone.
        notes: Sentences that count and name judgements that are left out.
    """

    queries: Mapping[str, str]
    qrels: Mapping[str, Qrels]
    notes: list[str] = field(default_factory=list)


def is_beir(path: Path) -> bool:
    """Return whether a folder holds a corpus, queries and judgements under the names of BEIR."""
    if not path.is_dir() or not (path / _QRELS).is_dir():
        return False
    return all(_table(path, name) is not None for name in (_CORPUS, _QUERIES))


def files(config: CorpusConfig, home: StateDir) -> list[Path]:
    """Return the files of the collection; raises :class:`CorpusError` naming one that is missing."""
    folder = Path(config.path or "")
    return [_existing(folder, _CORPUS), _existing(folder, _QUERIES), *qrels_files(folder).values()]


def notes(config: CorpusConfig, home: StateDir) -> list[str]:
    """Return sentences that count and name files that are not read and judgements that are left out."""
    folder = Path(config.path or "")
    others = sorted({*walk(folder).files} - {*files(config, home)})
    left_out = [left_out_note(folder, others, "not of BEIR's layout")] if others else []
    return left_out + read_judgements(folder).notes


def judgements(config: CorpusConfig, home: StateDir) -> Judgements:
    """Return the queries and their judgements, which are kept beside a prepared corpus."""
    return read_judgements(Path(config.path or ""))


def read(config: CorpusConfig, home: StateDir) -> Iterator[Document]:
    """Yield all documents, in order."""
    return read_documents(Path(config.path or ""))


def parts(config: CorpusConfig, home: StateDir) -> list[Callable[[], Iterator[Document]]]:
    """Return ranges of the file of documents, in order."""
    path = _existing(Path(config.path or ""), _CORPUS)
    return [partial(_documents, path, span) for span in tables.spans(path, _PART_BYTES)]


def read_documents(folder: Path) -> Iterator[Document]:
    """Yield the documents of a collection, in order.

    Raises:
        CorpusError: A line is malformed (names file and line).
    """
    return _documents(_existing(folder, _CORPUS), None)


def read_judgements(folder: Path) -> Judgements:
    """Read queries and judgements; memory grows with the judgements, not with the documents.

    Raises:
        CorpusError: A file is missing or malformed (names file and line), or a query occurs twice.
    """
    queries: dict[str, str] = {}
    for document in _rows(_existing(folder, _QUERIES), None):
        if document.id in queries:
            raise CorpusError(f"{document.origin}: the query {document.id!r} occurs twice.", "give each its own id.")
        queries[document.id] = document.text
    found = {split: read_qrels(path) for split, path in qrels_files(folder).items()}
    unknown = {id_ for qrels in found.values() for own in qrels.values() for id_ in own}
    for document in read_documents(folder):
        unknown.discard(document.id)
    remarks = []
    for path, (split, qrels) in zip(qrels_files(folder).values(), found.items(), strict=True):
        without_query = [query for query in qrels if query not in queries]
        missing = [(query, id_) for query, own in qrels.items() for id_ in own if id_ in unknown]
        if without_query:
            count = sum(len(qrels[query]) for query in without_query)
            remarks.append(_left_out(path, count, "queries", without_query))
        if missing:
            remarks.append(_left_out(path, len(missing), "documents", list(dict.fromkeys(id_ for _, id_ in missing))))
        found[split] = {
            query: {id_: grade for id_, grade in own.items() if id_ not in unknown}
            for query, own in qrels.items()
            if query in queries
        }
    return Judgements(queries, found, remarks)


def write_judgements(folder: Path, judgements: Judgements) -> None:
    """Write queries and judgements in the layout of BEIR."""
    lines = (json.dumps({"_id": id_, "text": text}) + "\n" for id_, text in judgements.queries.items())
    write_text(folder / f"{_QUERIES}.jsonl", "".join(lines))
    for split, qrels in judgements.qrels.items():
        write_qrels(folder / _QRELS / f"{split}.tsv", qrels)


def qrels_files(folder: Path) -> dict[str, Path]:
    """Return the files of judgements by split, in the order train, validation, test.

    Raises:
        CorpusError: There is none, its name is no split, or two are of one split.
    """
    found: dict[str, Path] = {}
    place = folder / _QRELS
    for path in sorted(place.iterdir()) if place.is_dir() else ():
        if path.name.startswith(".") or not path.name.lower().endswith(_QRELS_SUFFIXES):
            continue
        split = split_named(path.name.split(".")[0])
        if not split or split in found:
            raise CorpusError(
                f"{path} is {'a second file' if split else 'of no split'}: judgements are of {', '.join(SPLITS)}.",
                "name the file of each split train.tsv, dev.tsv or test.tsv.",
            )
        found[split] = path
    if not found:
        raise CorpusError(f"{place} has no judgements.", "put a file test.tsv there: query-id, corpus-id, score.")
    return {split: found[split] for split in SPLITS if split in found}


def _documents(path: Path, span: Span | None) -> Iterator[Document]:
    for row in _rows(path, span):
        text = row.text if row.text.startswith(row.title) else f"{row.title}\n{row.text}".strip()
        yield row._replace(text=text)


def _rows(path: Path, span: Span | None) -> Iterator[Document]:
    for line, row in tables.rows(path, span):
        origin = f"{path}:{line}"
        try:
            if "_id" not in row or "text" not in row:
                raise fields.FieldError(f"there is no {'_id' if '_id' not in row else 'text'}, only {', '.join(row)}")
            title = row.get("title")
            shown = "" if fields.is_missing(title) else fields.name(title).strip()
            yield Document(fields.name(row["_id"]), fields.text(row["text"]).strip(), title=shown, origin=origin)
        except fields.FieldError as error:
            raise CorpusError(f"{origin}: {error}.", _FORM) from error


def _table(folder: Path, name: str) -> Path | None:
    paths = (folder / f"{name}{suffix}" for suffix in tables.JSONL_SUFFIXES)
    return next((path for path in paths if path.is_file()), None)


def _existing(folder: Path, name: str) -> Path:
    if (found := _table(folder, name)) is None:
        raise CorpusError(
            f"{folder} has no {name}.jsonl.", "a collection has corpus.jsonl, queries.jsonl and qrels/test.tsv."
        )
    return found


def _left_out(path: Path, count: int, what: str, ids: list[str]) -> str:
    more = f" and {len(ids) - _NAMED:,} more" if len(ids) > _NAMED else ""
    named = ", ".join(ids[:_NAMED])
    return f"{path}: {count:,} judgements of {len(ids):,} unknown {what} are left out: {named}{more}."
