"""Questions with passages in the JSON of DPR (Karpukhin et al., 2020) and BPR, for a user's own corpus.

A file is a list of ``{question, positive_ctxs, negative_ctxs, hard_negative_ctxs}``, or one such object per line; a
passage is ``{title, text, passage_id}`` (``psg_id`` in older files). ``answers`` is ignored. Files are read as a
stream, with one question in memory at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from texthash.config import CorpusConfig
from texthash.corpora.document import Document
from texthash.corpora.readers import pairing, tables
from texthash.errors import CorpusError
from texthash.paths import StateDir

SUFFIXES = (*tables.JSON_SUFFIXES, *tables.JSONL_SUFFIXES)
_FORM = 'a question looks like {"question": "...", "positive_ctxs": [{"title": "...", "text": "..."}], ...}.'
_NEGATIVES = ("hard_negative_ctxs", "negative_ctxs")


def files(config: CorpusConfig, home: StateDir) -> list[Path]:
    """Return the JSON files of ``config.path``, sorted by name."""
    return pairing.files_with(config, SUFFIXES)


def read(config: CorpusConfig, home: StateDir) -> Iterator[Document]:
    """Yield each passage as one document with the questions that it answers, merged by :func:`pairing.documents`.

    The name of a file determines its split: ``train``, ``dev`` or ``valid``, ``test``. Hard negatives come first.

    Raises:
        CorpusError: A question is malformed (names the file and the question).
    """
    return pairing.documents(judged for path in files(config, home) for judged in _judged(path))


def is_dpr(path: Path) -> bool:
    """Return whether a file with one of :data:`SUFFIXES` begins with a question rather than with a row of text."""
    try:
        first = next((row for _, row in _items(path)), {})
    except CorpusError:  # whoever reads the file reports what is wrong with it
        return False
    return "positive_ctxs" in first or ("question" in first and "text" not in first)


def notes(config: CorpusConfig, home: StateDir) -> list[str]:
    """Return a sentence about the files of the folder that are left out, if any."""
    return pairing.left_out(config, SUFFIXES)


def _judged(path: Path) -> Iterator[pairing.Judged]:
    split = pairing.split_of(path)
    for number, item in _items(path):
        origin = f"{path}:{number}"
        question = item.get("question")
        if not isinstance(question, str) or "positive_ctxs" not in item:
            raise CorpusError(f"{origin}: no question with positive_ctxs, only {', '.join(item)}.", _FORM)
        positives = _passages(item, "positive_ctxs", origin)
        negatives = tuple(passage for name in _NEGATIVES for passage in _passages(item, name, origin))
        yield pairing.Judged(question, positives, negatives, split, origin)


def _passages(item: Mapping[str, Any], name: str, origin: str) -> tuple[pairing.Passage, ...]:
    found = item.get(name) or []
    if not isinstance(found, list) or not all(
        isinstance(passage, Mapping) and isinstance(passage.get("text"), str) for passage in found
    ):
        raise CorpusError(f"{origin}: {name} is not a list of passages with a text.", _FORM)
    return tuple(pairing.Passage(passage["text"], str(passage.get("title") or ""), _id(passage)) for passage in found)


def _id(passage: Mapping[str, Any]) -> str:
    return next((str(passage[name]) for name in ("passage_id", "psg_id") if passage.get(name) not in (None, "")), "")


def _items(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield questions with their number in a list, or their line."""
    if tables.is_table(path, tables.JSONL_SUFFIXES):
        yield from tables.rows(path)
        return
    number = 0
    if tables.begins_list(path):
        for number, item in tables.json_items(path, "question"):
            yield number, item
    if number == 0:
        raise CorpusError(f"{path} contains no list of questions.", _FORM)
