"""Files of rows on their way into an index, held to one rule by every door.

A file is checked whole before any of it is written: each row has to be a document that the service takes too, within
the same limits, and an id may occur once, however far apart its rows are. A writing that ends early all the same (a
full disk, a service that stops) says how far it came; repeating it does no harm, as a document replaces itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
from pydantic import ValidationError

from texthash.api.requests import NewDocument
from texthash.corpora.document import Document
from texthash.corpora.readers.rows import Table, documents
from texthash.errors import CorpusError
from texthash.progress import log_line, track

_HASH_BYTES = 8
_ONCE = "an id may occur once in a file: leave one of the rows out. Nothing was written."


def check_rows(table: Table, max_text_bytes: int) -> None:
    """Read a file to its end. Memory: 8 bytes a row.

    Args:
        table: The file.
        max_text_bytes: Longest text that is taken, in UTF-8.

    Raises:
        CorpusError: naming file and line of the first row that is no document, has no text, is beyond a limit, or has
            the id of another.
    """
    hashes = bytearray()
    try:
        for document in track(documents(table), "checking rows"):
            _check(document, max_text_bytes)
            hashes += _hash(document.id)
    except CorpusError as error:
        raise CorpusError(error.problem, f"{error.remedy} Nothing was written.") from error
    sorted_ = np.sort(np.frombuffer(hashes, np.uint64))
    suspects = set(sorted_[1:][sorted_[1:] == sorted_[:-1]].tolist())
    if suspects:
        _check_suspects(table, suspects)


class Written:
    """How much of a file is written; said when the block of the ``with`` statement ends in an error."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows = 0
        self._last = ""

    def __enter__(self) -> Written:
        return self

    def add(self, some: Sequence[Document]) -> None:
        """Note that some more documents are durable."""
        self._rows += len(some)
        self._last = some[-1].origin

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        if error is None:
            return
        if self._rows:
            log_line(
                f"{self._rows:,} rows of {self._path} are written, up to {self._last}; the others are not. "
                "Run the command again: a document that is there is replaced by itself."
            )
        else:
            log_line(f"no row of {self._path} is written.")


def _check(document: Document, max_text_bytes: int) -> None:
    if not document.text.strip():
        raise CorpusError(f"{document.origin}: the document {document.id!r} has no text.", "leave it out.")
    if len(document.text) * 4 > max_text_bytes and (size := len(document.text.encode())) > max_text_bytes:
        raise CorpusError(
            f"{document.origin}: the text of {document.id!r} has {size:,} bytes in UTF-8, at most "
            f"{max_text_bytes:,} are taken.",
            "divide it, or raise TEXTHASH_MAX_TEXT_BYTES (service.limits.max_text_bytes).",
        )
    try:
        NewDocument(id=document.id, text=document.text, title=document.title, labels=list(document.labels))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise CorpusError(f"{document.origin}: {where}: {first['msg']}.", "correct the row.") from error


def _check_suspects(table: Table, suspects: set[int]) -> None:
    """Equal hashes are only suspects: the ids themselves decide."""
    seen: dict[str, str] = {}
    for document in _suspected(table, suspects):
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
