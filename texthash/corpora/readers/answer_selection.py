"""Tables of answer selection, for a user's own corpus: each line is a question and a sentence that may answer it.

Either WikiQA (Yang et al., 2015) with its header ``QuestionID Question DocumentID DocumentTitle SentenceID Sentence
Label``, or three columns: question, answer, label, the usual form of TrecQA. Columns are separated by tabs, nothing is
quoted, the label is 1 or 0. The name of a file determines its split: ``train``, ``dev`` or ``valid``, ``test``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from texthash.config import CorpusConfig
from texthash.corpora.document import Document
from texthash.corpora.readers import pairing, tables, text_files
from texthash.errors import CorpusError
from texthash.paths import StateDir

SUFFIXES = tables.TAB_SUFFIXES
_WIKIQA = ("questionid", "question", "documentid", "documenttitle", "sentenceid", "sentence", "label")
_LABELS = ("0", "1")
_PLAIN = ("question", "answer", "label")


def files(config: CorpusConfig, home: StateDir) -> list[Path]:
    """Return the tables of ``config.path``, sorted by name."""
    return pairing.files_with(config, SUFFIXES)


def read(config: CorpusConfig, home: StateDir) -> Iterator[Document]:
    """Yield each sentence as one document with the questions that it answers, merged by :func:`pairing.documents`.

    Raises:
        CorpusError: A line is malformed (names file and line).
    """
    return pairing.documents(judged for path in files(config, home) for judged in _judged(path))


def is_answers(path: Path) -> bool:
    """Return whether a table begins with one of the headers, or with three columns, the last being a label."""
    first = next((line.rstrip("\r\n").split("\t") for _, line in text_files.lines(path)), [])
    return _header(first) in (_WIKIQA, _PLAIN) or (len(first) == len(_PLAIN) and first[-1].strip() in _LABELS)


def notes(config: CorpusConfig, home: StateDir) -> list[str]:
    """Return a sentence about the files of the folder that are left out, if any."""
    return pairing.left_out(config, SUFFIXES)


def _header(cells: list[str]) -> tuple[str, ...]:
    return tuple(cell.strip().lower() for cell in cells)


def _judged(path: Path) -> Iterator[pairing.Judged]:
    split = pairing.split_of(path)
    columns: tuple[str, ...] = _PLAIN
    for number, line in text_files.lines(path):
        cells = line.rstrip("\r\n").split("\t")
        if number == 1 and (header := _header(cells)) in (_WIKIQA, _PLAIN):
            columns = header
            continue
        if not line.strip():
            continue
        origin = f"{path}:{number}"
        if len(cells) != len(columns) or cells[-1].strip() not in _LABELS:
            raise CorpusError(
                f"{origin}: {len(cells)} columns, the last {cells[-1][:40]!r}.",
                f"give {', '.join(columns)} separated by tabs, the label 0 or 1.",
            )
        yield _row(dict(zip(columns, cells, strict=True)), split, origin)


def _row(cells: dict[str, str], split: str, origin: str) -> pairing.Judged:
    if "sentence" in cells:
        passage = pairing.Passage(cells["sentence"], cells["documenttitle"], cells["sentenceid"])
    else:
        passage = pairing.Passage(cells["answer"])
    right = cells["label"].strip() == "1"
    return pairing.Judged(cells["question"], (passage,) if right else (), () if right else (passage,), split, origin)
