"""Documents as readers yield them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from texthash.api.attributes import Value

SPLITS = ("train", "validation", "test")
NO_ID = "no id: named by file and line"
"""Remark of a row whose id is missing."""
_SPLIT_NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev", "devel", "development"),
    "test": ("test", "testing"),
    "": ("", "all"),
}
SPLIT_NAMES = {name: split for split, names in _SPLIT_NAMES.items() for name in names}
"""Split by each of its names, in rows, file names and folder names alike; the empty string means no split."""


def split_named(name: str) -> str | None:
    """Return the split of a name, ignoring case; None if it names no split."""
    return SPLIT_NAMES.get(name.strip().casefold())


class Document(NamedTuple):
    """One document of a source.

    It is a tuple, which is the fastest to create, since a corpus has millions of documents.

    Attributes:
        id: Identifier, unique in the corpus.
        text: Raw text.
        labels: Names of its labels; may be empty.
        split: ``train``, ``validation`` or ``test`` where the source assigns one, else the empty string.
        title: Title shown beside search results; encoded only if it is one of the columns of ``corpus.text``.
        origin: Position in the source as ``file:line``, for error messages.
        queries: Questions that this document answers, in a pair corpus.
        negatives: Ids of documents that look like answers to these questions but are not, in a pair corpus.
        excluded: Reason why the corpus does not count this document (``not in the ModApte split``), else the empty
            string. Such a document is left out and counted under this reason: a reader drops nothing silently.
        remark: Peculiarity of a document that is kept (``no BODY``); counted in the manifest.
        vector: Vector of the user's own; None unless a column of vectors is read.
        attributes: Attributes by name; None unless columns of attributes are read.
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
    vector: list[float] | None = None
    attributes: Mapping[str, Value] | None = None
