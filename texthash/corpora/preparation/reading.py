"""Reading of one part of a corpus: documents in chunks, tokenised while they are in memory."""

from __future__ import annotations

import gc
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from texthash.config import CorpusConfig
from texthash.corpora.catalog import Part
from texthash.corpora.document import SPLITS, Document
from texthash.corpora.preparation.attribute_types import SeenType, attribute_column, see_types
from texthash.corpora.preparation.splits import NONE
from texthash.corpora.preparation.staging import MISSING, PartRead, Staging, chunk_name
from texthash.corpora.preparation.writing import Fit, fit_of
from texthash.corpora.words import Analyzer
from texthash.errors import CorpusError
from texthash.io.atomic import write_arrow, write_json
from texthash.io.ragged import indptr_of, to_arrow
from texthash.progress import track

# A worker holds one chunk in memory: its text, its words, and about ten times their size while they are counted.
_CHUNK_CHARACTERS = 4_000_000
_CHUNK_DOCUMENTS = 65_536
_OBJECTS_A_SEARCH = 1_000_000
_TEXTS = ("id", "text", "title", "origin")
_NAMES = pa.list_(pa.string())


@contextmanager
def _rare_garbage_collection() -> Iterator[None]:
    """Collect garbage rarely: documents hold no cycles, but searching them for some takes a third of the time."""
    before = gc.get_threshold()
    gc.set_threshold(_OBJECTS_A_SEARCH, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


@_rare_garbage_collection()
def read_part(staging: Staging, number: int, part: Part) -> int:
    """Read one part, unless it was read before (step 1). Memory: one chunk.

    Returns:
        Number of documents.

    Raises:
        CorpusError: The source is invalid.
    """
    if staging.part(number).exists():
        return sum(staging.part_read(number).sizes)
    analyzer = Analyzer.from_edition(staging.config.edition)
    dropped: Counter[str] = Counter()
    remarks: Counter[str] = Counter()
    missing: Counter[str] = Counter()
    labels: set[str] = set()
    attributes: dict[str, SeenType] = {}
    fit = Fit()
    queries, sizes, checksums = 0, [], []
    for index, rows in enumerate(chunks(_without_excluded(track(part(), f"reading part {number}"), dropped))):
        chunk = chunk_name(number, index)
        table, marks = _documents(rows), _marks(rows)
        if staging.config.attributes:
            see_types(attributes, rows)
            table = table.append_column("attributes", attribute_column(rows))
        write_arrow(staging.documents(chunk), table)
        write_arrow(staging.marks(chunk), marks)
        fit += fit_of((row.text for row in rows), analyzer)
        words, terms = _words(analyzer, [row.text for row in rows])
        write_arrow(staging.words(chunk), words)
        write_arrow(staging.terms(chunk), terms)
        checksums.append(_checksum(table.drop_columns(["origin"]), marks))
        sizes.append(len(rows))
        queries += sum(len(row.queries) for row in rows)
        labels.update(label for row in rows for label in row.labels)
        remarks.update(row.remark for row in rows if row.remark)
        if staging.config.path is not None:
            missing.update(_missing(rows, staging.config))
    read = PartRead(
        sizes, dict(dropped), dict(remarks), sorted(labels), queries, checksums, fit, attributes, dict(missing)
    )
    write_json(staging.part(number), asdict(read))
    return sum(sizes)


def _missing(rows: list[Document], config: CorpusConfig) -> dict[str, int]:
    """Count the documents of a user's own corpus that lack a value, by remark."""
    counts = {
        MISSING["title"]: sum(not row.title for row in rows),
        MISSING["labels"]: sum(not row.labels for row in rows),
    }
    if config.columns.split is not None:
        counts[MISSING["split"]] = sum(not row.split for row in rows)
    for name, _ in config.attribute_columns:
        counts[f"no {name}"] = sum(name not in (row.attributes or {}) for row in rows)
    return counts


def _without_excluded(documents: Iterable[Document], dropped: Counter[str]) -> Iterator[Document]:
    for document in documents:
        if reason := document.excluded or ("" if document.text.strip() else "empty"):
            dropped[reason] += 1
        else:
            yield document


def chunks(documents: Iterable[Document]) -> Iterator[list[Document]]:
    """Group documents, in order, into chunks that fit into the memory of a worker."""
    rows: list[Document] = []
    size = 0
    for document in documents:
        rows.append(document)
        size += len(document.text)
        if size >= _CHUNK_CHARACTERS or len(rows) == _CHUNK_DOCUMENTS:
            yield rows
            rows, size = [], 0
    if rows:
        yield rows


def _documents(rows: list[Document]) -> pa.Table:
    try:
        columns: dict[str, Any] = {name: pa.array([getattr(row, name) for row in rows], pa.string()) for name in _TEXTS}
        columns["labels"] = pa.array([sorted(set(row.labels)) for row in rows], _NAMES)
        columns["queries"] = pa.array([list(dict.fromkeys(row.queries)) for row in rows], _NAMES)
        columns["negatives"] = pa.array([row.negatives for row in rows], _NAMES)
    except UnicodeEncodeError:
        for row in rows:
            for text in (row.id, row.text, row.title, *row.labels, *row.queries, *row.negatives):
                check_unicode(text, row)
        raise
    return pa.table(columns)


def _marks(rows: list[Document]) -> pa.Table:
    hashes = b"".join(hashlib.blake2b(row.id.encode(), digest_size=8).digest() for row in rows)
    given = [SPLITS.index(row.split) if row.split else NONE for row in rows]
    return pa.table({"id_hash": np.frombuffer(hashes, "<u8"), "given": np.array(given, np.int8)})


def _words(analyzer: Analyzer, texts: list[str]) -> tuple[pa.Table, pa.Table]:
    """Return the tables of :meth:`Staging.words` and :meth:`Staging.terms`."""
    indptr, ids, terms = analyzer.intern(texts)
    bag_indptr, bag_ids, counts = _counted(indptr, ids, len(terms))
    words = {
        "tokens": to_arrow(indptr, ids),
        "word_ids": to_arrow(bag_indptr, bag_ids),
        "counts": to_arrow(bag_indptr, counts),
    }
    return pa.table(words), pa.table({"term": terms})


def _counted(
    indptr: NDArray[np.int64], ids: NDArray[np.int32], terms: int
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
    """Count the words of each document: ``indptr``, sorted distinct ids, and counts."""
    documents = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    pairs = documents * max(1, terms) + ids
    pairs.sort()
    first = np.flatnonzero(np.diff(pairs, prepend=-1))
    counts = np.diff(first, append=len(pairs)).astype(np.int32)
    rows, distinct = np.divmod(pairs[first], max(1, terms))
    return indptr_of(np.bincount(rows, minlength=len(indptr) - 1)), distinct.astype(np.int32), counts


def _checksum(*tables: pa.Table) -> str:
    """Return the SHA-256 over names, sizes and bytes of all columns."""
    digest = hashlib.sha256()
    for table in tables:
        for name, column in zip(table.column_names, table.columns, strict=True):
            digest.update(f"{name}:{len(column)}\n".encode())
            for array in column.chunks:
                for buffer in filter(None, array.buffers()):
                    digest.update(buffer)
    return digest.hexdigest()


def check_unicode(text: str, row: Document) -> None:
    """Raise :class:`CorpusError` for text that cannot be encoded as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise CorpusError(
            f"{row.origin or row.id}: the document {row.id!r} holds half a character ({error.reason}).",
            "write the source as valid Unicode.",
        ) from error
