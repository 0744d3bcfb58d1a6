"""Checks of files of rows before an upsert, the same for every interface.

The whole file is checked before any of it is written: each row has to be a document that the service accepts, within
the same limits, and an id may occur only once in the file. If the upsert ends early nevertheless (a full disk, a
service that stops), the last written row is logged. It can be repeated safely, because documents replace themselves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from pydantic import ValidationError

from texthash.api.attributes import write_attributes
from texthash.api.requests import NewDocument
from texthash.corpora.document import NO_ID, Document
from texthash.corpora.prepared.embeddings.checks import REMEDY, flaw_of_one
from texthash.corpora.readers import tables
from texthash.corpora.readers.fields import is_missing
from texthash.corpora.readers.rows import Table, documents
from texthash.errors import CorpusError, as_sentence
from texthash.member_errors import explain_first
from texthash.progress import log_line, track, warn

_HASH_BYTES = 8
_ONCE = "an id may occur once in a file: leave one of the rows out. Nothing was written."


def check_rows(table: Table, max_text_bytes: int) -> None:
    """Check all rows of a file. Takes 8 bytes of memory per row.

    Args:
        table: File of rows.
        max_text_bytes: Largest size of a text in UTF-8.

    Raises:
        CorpusError: There is no row; or one is not a document, has no text, exceeds a limit, or has the id of another.
            The error names file and line of the first such row. Or no row has a value of a column that is named, as a
            misspelt one: documents would lose the attributes, titles or labels that they have.
    """
    hashes = bytearray()
    absent = {name: "an attribute" for name, _ in table.columns.attributes}
    named = table.columns.named
    unnamed, example = 0, ""
    try:
        for document in track(documents(table), "checking rows"):
            _check(document, max_text_bytes)
            for name in document.attributes or ():
                absent.pop(name, None)
            for what in [what for what in named if getattr(document, what)]:
                del named[what]
            hashes += _hash(document.id)
            if document.remark == NO_ID:
                unnamed, example = unnamed + 1, example or document.id
    except CorpusError as error:
        raise CorpusError(error.problem, f"{error.remedy} Nothing was written.") from error
    check_filled(table.path, len(hashes))
    absent |= {name: f"the {what}" for what, name in named.items()}
    if absent:
        raise CorpusError(
            f"{table.path}: no row has a value of {min(absent)!r}, which is named as {absent[min(absent)]}.",
            "name columns as they are written in the file. Nothing was written.",
        )
    if 0 < unnamed < len(hashes) // _HASH_BYTES:
        warn(
            f"{unnamed:,} of {len(hashes) // _HASH_BYTES:,} rows of {table.path} have no id and are named by file and "
            f"line, such as {example!r}: from another file they would be other documents."
        )
    sorted_ = np.sort(np.frombuffer(hashes, np.uint64))
    suspects = set(sorted_[1:][sorted_[1:] == sorted_[:-1]].tolist())
    if suspects:
        check_unique(_suspected(table, suspects))


def warn_of_lost_attributes(table: Table, attributes: Collection[str]) -> None:
    """Warn if the first row of a checked file has attributes of the index that are not written.

    Args:
        table: File of rows.
        attributes: Names of the attributes of the index.
    """
    unnamed = set(attributes) - table.columns.read
    _, row = next(iter(tables.rows(table.path, columns=unnamed, required=table.columns.header)), (0, {}))
    if lost := sorted(name for name in unnamed & row.keys() if not is_missing(row[name])):
        warn(
            f"columns of {table.path} that are attributes of the index are not written, and replaced documents lose "
            f"theirs; to write them: {' '.join(f'--attribute {name}' for name in lost)}"
        )


class Written:
    """Context manager that counts the written rows of a file, and logs them if the block ends in an error."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows = 0
        self._last = ""

    def __enter__(self) -> Written:
        return self

    def add(self, batch: Sequence[Document]) -> None:
        """Record that more documents are durable."""
        self._rows += len(batch)
        self._last = batch[-1].origin

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        if error is None:
            return
        if self._rows:
            log_line(
                f"{self._rows:,} rows of {self._path} are written, up to {self._last}; the others are not. "
                "Run the command again: documents that exist are replaced by themselves."
            )
        else:
            log_line(f"no row of {self._path} is written.")


def new_document(document: Document) -> dict[str, Any]:
    """Return a document as a member of a request."""
    content = {"text": document.text} if document.text else {}
    attributes = {"attributes": write_attributes(document.attributes)} if document.attributes else {}
    vector = {} if document.vector is None else {"vector": document.vector}
    return {
        "id": document.id,
        **content,
        "title": document.title,
        "labels": list(document.labels),
        **vector,
        **attributes,
    }


def _check(document: Document, max_text_bytes: int) -> None:
    if not document.text.strip() and document.vector is None:
        raise CorpusError(f"{document.origin}: the document {document.id!r} has no text.", "leave it out.")
    check_limits(document, max_text_bytes)


def check_limits(document: Document, max_text_bytes: int) -> None:
    """Raise :class:`CorpusError` for a document that exceeds a limit of the service, which need not have a text."""
    if len(document.text) * 4 > max_text_bytes and (size := len(document.text.encode())) > max_text_bytes:
        raise CorpusError(
            f"{document.origin}: the text of {document.id!r} has {size:,} bytes in UTF-8, at most "
            f"{max_text_bytes:,} are accepted.",
            "divide it, or raise TEXTHASH_MAX_TEXT_BYTES (service.limits.max_text_bytes).",
        )
    if document.vector is not None and (flaw := flaw_of_one(document.vector)):
        raise CorpusError(f"{document.origin}: the vector of {document.id!r} {flaw}.", REMEDY)
    try:
        NewDocument.model_validate(new_document(document))
    except ValidationError as error:
        raise CorpusError(
            as_sentence(f"{document.origin}: {explain_first(error, NewDocument)}"), "correct the row."
        ) from error


def check_filled(path: Path, rows: int) -> None:
    """Raise :class:`CorpusError` for a file without a row, which most often is not the file that was meant."""
    if not rows:
        raise CorpusError(f"{path} holds no document.", "name a file with at least one row. Nothing was written.")


def check_unique(documents: Iterable[Document]) -> None:
    """Raise :class:`CorpusError` for the first document with the id of an earlier one."""
    seen: dict[str, str] = {}
    for document in documents:
        if document.id in seen:
            raise CorpusError(
                f"{document.origin}: the id {document.id!r} occurs twice (first: {seen[document.id]}).", _ONCE
            )
        seen[document.id] = document.origin


def _suspected(table: Table, suspects: set[int]) -> Iterator[Document]:
    for document in documents(table):
        if int.from_bytes(_hash(document.id), "little") in suspects:
            yield document


def _hash(id_: str) -> bytes:
    return hashlib.blake2b(id_.encode(), digest_size=_HASH_BYTES).digest()
