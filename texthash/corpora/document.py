"""What a reader yields: one document, wherever it comes from."""

from __future__ import annotations

from dataclasses import dataclass

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class Document:
    """One document as its source gives it.

    Attributes:
        id: Unique in the corpus.
        text: The raw text.
        labels: Names of its labels, none, one or several.
        split: ``train``, ``validation`` or ``test`` where the source says so, else the empty string.
        title: Shown beside search results.
        origin: Where it was read, as ``file:line``; errors name it.
    """

    id: str
    text: str
    labels: tuple[str, ...] = ()
    split: str = ""
    title: str = ""
    origin: str = ""
