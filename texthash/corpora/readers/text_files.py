"""Numbered lines of text files, plain or gzipped, in UTF-8 or the encoding of a byte order mark."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, TextIO, cast

from texthash.errors import CorpusError
from texthash.input_files import require_file

_UTF8 = "utf-8"
# UTF-32 comes first: its mark of little-endian text begins with that of UTF-16.
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
DAMAGES = (OSError, EOFError, zlib.error, UnicodeDecodeError)
_LONGEST_MARK = max(map(len, _MARKS))
_LONGEST_LINE = 100_000_000  # characters; a longer one would fill the memory before anything is known of it


@dataclass(frozen=True)
class Span:
    """Span of a file: bytes ``begin`` to ``end`` of whole lines, or row groups of Parquet, after ``before`` rows."""

    begin: int
    end: int
    before: int


def line_spans(path: Path, size: int) -> Iterator[Span]:
    """Yield spans of about ``size`` bytes that end with a line; none for text whose line breaks are not one byte."""
    begin = before = 0
    with path.open("rb") as file:
        if encoding_of(file.peek(_LONGEST_MARK)) not in (_UTF8, "utf-8-sig"):
            return
        while block := file.read(size):
            rest = file.readline(_LONGEST_LINE)
            if len(rest) == _LONGEST_LINE:
                raise _too_long(str(path), before + block.count(b"\n") + 1)
            yield Span(begin, begin + len(block) + len(rest), before)
            begin += len(block) + len(rest)
            before += block.count(b"\n") + rest.count(b"\n")


def encoding_of(head: bytes) -> str:
    """Return the encoding that the byte order mark at the beginning of a file states, else UTF-8."""
    return next((encoding for mark, encoding in _MARKS.items() if head.startswith(mark)), _UTF8)


def lines(path: Path, encoding: str = _UTF8, span: Span | None = None) -> Iterator[tuple[int, str]]:
    """Yield the numbered lines of a text file, gzipped or not, or of a span of an uncompressed one.

    A byte order mark is removed from the text, and determines the encoding if ``encoding`` is UTF-8.

    Raises:
        CorpusError: The file cannot be read or is damaged, or a line has 100 million characters (names the line).
    """
    try:
        file = open_text(path, encoding) if span is None else _open_span(path, encoding, span)
    except DAMAGES as error:
        raise damaged(error, str(path)) from error
    with file:
        yield from numbered(file, str(path), span.before if span else 0)


def numbered(file: TextIO, name: str, before: int = 0) -> Iterator[tuple[int, str]]:
    """Yield the numbered lines of an open file, after ``before`` lines. ``name`` is the file in errors."""
    number = before
    try:
        for number, line in enumerate(iter(partial(file.readline, _LONGEST_LINE), ""), start=before + 1):
            if len(line) == _LONGEST_LINE:
                raise _too_long(name, number)
            yield number, line
    except DAMAGES as error:
        raise damaged(error, name, number) from error


def _too_long(name: str, number: int) -> CorpusError:
    return CorpusError(
        f"{name}:{number}: a line is longer than {_LONGEST_LINE:,} characters.",
        "write one row or text a line; the file may be of another format than its name says.",
    )


def damaged(error: Exception, name: str, number: int = 0) -> CorpusError:
    """Return the error of a file that is damaged after its line ``number``."""
    if isinstance(error, UnicodeDecodeError):  # positions count from the block that begins with the next line
        wrong = number + 1 + error.object.count(b"\n", 0, error.start)
        if b"\0" in error.object:  # UTF-16 has zero bytes too, but is known by its mark
            return CorpusError(
                f"{name} is no text: it holds zero bytes.",
                "convert a text of UTF-16 to UTF-8; take what is no text, such as an image, out of the folder.",
            )
        return CorpusError(
            f"{name}:{wrong}: not {error.encoding} text: {error.reason}, byte 0x{error.object[error.start]:02x}.",
            "convert the file to UTF-8.",
        )
    if isinstance(error, (EOFError, zlib.error, gzip.BadGzipFile)):
        return CorpusError(
            f"{name}:{number + 1}: the gzip file is damaged or cut off: {error}", "fetch or compress the file again."
        )
    return CorpusError(f"{name}:{number + 1}: cannot be read: {error}", "check the disk or copy the file.")


def open_text(path: Path, encoding: str = _UTF8) -> TextIO:
    """Open a text file, gzipped or not; raises :class:`CorpusError`, or one of :data:`DAMAGES` at its beginning."""
    file = _open_bytes(path)
    if encoding == _UTF8:
        encoding = encoding_of(file.peek(_LONGEST_MARK))  # type: ignore[attr-defined]
    return io.TextIOWrapper(file, encoding=encoding, newline="")


def _open_bytes(path: Path) -> BinaryIO:
    require_file(path, "check the path and its permissions.", CorpusError)
    try:
        return cast(BinaryIO, gzip.open(path)) if path.suffix == ".gz" else path.open("rb")
    except OSError as error:
        raise CorpusError(f"{path} cannot be read: {error.strerror}.", "check the path and its permissions.") from error


def _open_span(path: Path, encoding: str, span: Span) -> TextIO:
    with path.open("rb") as file:
        file.seek(span.begin)
        content = file.read(span.end - span.begin)
    if encoding == _UTF8 and span.begin == 0:
        encoding = encoding_of(content)
    return io.TextIOWrapper(io.BytesIO(content), encoding=encoding, newline="")
