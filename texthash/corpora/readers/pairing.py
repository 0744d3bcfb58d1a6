"""Conversion of questions with positive and negative passages to documents, one per passage.

The files of answer selection and passage retrieval are ordered by question, and one passage occurs under many. They are
merged in a temporary SQLite database (in the folder that TMPDIR names), so that memory does not grow with the files.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from texthash.config import CorpusConfig
from texthash.corpora.document import SPLITS, Document, split_named
from texthash.corpora.readers.folders import left_out_note
from texthash.errors import CorpusError

_NO_SPLIT = -1
UNANSWERED = "a question without a passage that answers it"
SHARED = "answers questions of several splits; those of the last are kept"
_TABLES = """
PRAGMA journal_mode = OFF;
CREATE TABLE passages (number INTEGER PRIMARY KEY, id TEXT UNIQUE, title TEXT, text TEXT, origin TEXT);
CREATE TABLE questions (number INTEGER PRIMARY KEY, text TEXT, split INTEGER, origin TEXT, UNIQUE (text, split));
CREATE TABLE judged (passage INTEGER, question INTEGER, positive INTEGER);
"""
_JUDGE = """
INSERT INTO judged SELECT passages.number, questions.number, ? FROM passages, questions
WHERE passages.id = ? AND questions.text = ? AND split = ?
"""
_INDEX = """
CREATE INDEX by_passage ON judged (passage, positive, question);
CREATE INDEX by_question ON judged (question, positive);
"""
_QUESTIONS_OF = """
SELECT questions.number, questions.text, split, positive FROM judged JOIN questions ON questions.number = question
WHERE passage = ? ORDER BY question
"""
_NEGATIVES_OF = """
SELECT DISTINCT id FROM judged JOIN passages ON passages.number = passage
WHERE question = ? AND positive = 0
AND passage NOT IN (SELECT passage FROM judged WHERE question = ? AND positive = 1) ORDER BY judged.rowid
"""
_UNANSWERED = """
SELECT number, text, origin FROM questions
WHERE NOT EXISTS (SELECT 1 FROM judged WHERE question = number AND positive = 1) ORDER BY number
"""


@dataclass(frozen=True, slots=True)
class Passage:
    """Passage of one question.

    Attributes:
        text: Text of the passage.
        title: Title of the document that contains it.
        id: Id in the source; if it is empty, passages of the same title and text are the same.
    """

    text: str
    title: str = ""
    id: str = ""

    @property
    def key(self) -> str:
        return self.id or hashlib.blake2b(f"{self.title}\0{self.text}".encode(), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class Judged:
    """One question with passages; equal texts in the same split are the same question."""

    question: str
    positives: tuple[Passage, ...]
    negatives: tuple[Passage, ...]
    split: str = ""
    origin: str = ""


def files_with(config: CorpusConfig, endings: tuple[str, ...]) -> list[Path]:
    """Return ``config.path`` if it is a file, else its files with these suffixes, sorted.

    Raises:
        CorpusError: There is no such file.
    """
    path = Path(config.path or "")
    if not path.exists():
        raise CorpusError(f"corpus.path={config.path} does not exist.", "give a file or a folder.")
    found = [path] if path.is_file() else sorted(f for f in path.iterdir() if f.name.lower().endswith(endings))
    if not found:
        raise CorpusError(f"corpus.path={config.path} has no file *{', *'.join(endings)}.", "put the files there.")
    return found


def left_out(config: CorpusConfig, endings: tuple[str, ...]) -> list[str]:
    """Return a sentence about the files of a folder that are not read for their names, if any."""
    folder = Path(config.path or "")
    others = [path for path in folder.iterdir() if not path.name.lower().endswith(endings)] if folder.is_dir() else []
    return [left_out_note(folder, others, f"no file *{', *'.join(endings)}")] if others else []


def split_of(path: Path) -> str:
    """Return the split that a file name contains (``nq-dev.json.gz``: validation); empty if there is none."""
    words = re.split(r"[^a-z]+", path.name.lower())
    return next((split for word in words if (split := split_named(word))), "")


def documents(judgements: Iterable[Judged]) -> Iterator[Document]:
    """Yield each passage as one document, in order of first appearance.

    A passage is in the split of the questions that it answers. If these are in several splits, it is in the last of
    train, validation and test, and only the questions of that split are kept, so that evaluated questions are neither
    trained on nor lost; such documents carry a remark. A passage that answers nothing is in the first split in which it
    occurs. Its negatives are those of all its questions. Questions without an answer are yielded as excluded documents,
    so that they are counted.

    Raises:
        CorpusError: A text is not valid Unicode (names its origin).
    """
    with closing(sqlite3.connect("")) as database:  # a temporary file that is removed when it is closed
        database.executescript(_TABLES)
        for judged in judgements:
            try:
                _store(database, judged)
            except UnicodeEncodeError as error:
                raise CorpusError(
                    f"{judged.origin}: a text holds half a character ({error.reason}).",
                    "write the source as valid Unicode.",
                ) from error
        database.executescript(_INDEX)
        for row in database.execute("SELECT number, id, title, text, origin FROM passages ORDER BY number"):
            yield _document(database, *row)
        for number, text, origin in database.execute(_UNANSWERED):
            yield Document(f"question {number}", text, origin=origin, excluded=UNANSWERED)


def _store(database: sqlite3.Connection, judged: Judged) -> None:
    question = judged.question, SPLITS.index(judged.split) if judged.split else _NO_SPLIT
    database.execute(
        "INSERT OR IGNORE INTO questions (text, split, origin) VALUES (?, ?, ?)", (*question, judged.origin)
    )
    for positive, passages in ((1, judged.positives), (0, judged.negatives)):
        for passage in passages:
            row = passage.key, passage.title, passage.text, judged.origin
            database.execute("INSERT OR IGNORE INTO passages (id, title, text, origin) VALUES (?, ?, ?, ?)", row)
            database.execute(_JUDGE, (positive, passage.key, *question))


def _document(database: sqlite3.Connection, number: int, id_: str, title: str, text: str, origin: str) -> Document:
    judgements = database.execute(_QUESTIONS_OF, (number,)).fetchall()
    answered = [(question, query, split) for question, query, split, positive in judgements if positive]
    split = max((s for *_, s in answered), default=min(s for _, _, s, _ in judgements))
    kept = [(question, query) for question, query, s in answered if s == split]
    negatives = (
        key for question, _ in kept for (key,) in database.execute(_NEGATIVES_OF, (question, question)) if key != id_
    )
    return Document(
        id_,
        text,
        split=SPLITS[split] if split != _NO_SPLIT else "",
        title=title,
        origin=origin,
        queries=tuple(dict.fromkeys(query for _, query in kept)),
        negatives=tuple(dict.fromkeys(negatives)),
        remark=SHARED if len(kept) < len(answered) else "",
    )
