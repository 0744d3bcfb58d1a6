"""What a reader yields: one document, wherever it comes from."""

from __future__ import annotations

from typing import NamedTuple

SPLITS = ("train", "validation", "test")
_SPLIT_NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev", "devel", "development"),
    "test": ("test", "testing"),
    "": ("", "all"),
}
SPLIT_NAMES = {name: split for split, names in _SPLIT_NAMES.items() for name in names}
"""The split that a name stands for, in rows, in names of files and of folders alike; the empty string is none."""


def split_named(name: str) -> str | None:
    """Return the split that a name stands for, whatever its case; None where it is no name of a split."""
    return SPLIT_NAMES.get(name.strip().casefold())


class Document(NamedTuple):
    """One document as its source gives it. (A tuple, since of millions it is made the fastest.)

    Attributes:
        id: Unique in the corpus.
        text: The raw text.
        labels: Names of its labels, none, one or several.
        split: ``train``, ``validation`` or ``test`` where the source says so, else the empty string.
        title: Shown beside search results; encoded only where it is part of the text (``corpus.text``).
        origin: Where it was read, as ``file:line``; errors name it.
        queries: In a pair corpus, the questions that this document answers.
        negatives: In a pair corpus, ids of documents that look like answers to them and are none.
        excluded: Why the corpus does not count this document (``not in the ModApte split``), else the empty string.
            Such a document is left out and counted under this reason: a reader drops nothing silently.
        remark: Something about a document that is kept and that a person should know (``no BODY``); counted.
    """

    id: str
    text: str
    labels: tuple[str, ...] = ()
    split: str = ""
    title: str = ""
    origin: str = ""
    queries: tuple[str, ...] = ()
    negatives: tuple[str, ...] = ()
    excluded: str = ""
    remark: str = ""
