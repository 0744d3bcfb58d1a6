"""What is known of a corpus before it is read; each reader states it as ``record``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Download:
    """A file that the owner of a corpus publishes.

    Attributes:
        url: Where.
        file: Its name, under which the reader looks for it.
        bytes: Its size, where it is known.
        checksum: ``sha256:<hex>`` or ``md5:<hex>`` as the owner or a well-known library states it; None if nobody does.
    """

    url: str
    file: str
    bytes: int | None = None
    checksum: str | None = None


@dataclass(frozen=True)
class CorpusRecord:
    """One corpus.

    Attributes:
        name: As in ``corpus.name``.
        title: As its owner calls it.
        documents: Number of documents; None where it depends on the environment.
        labels: Number of labels; None likewise.
        multi_label: Whether a document may have several.
        licence: Of the text.
        source: Where its owner publishes it.
        citation: Whom to cite.
        survey: What the survey's table of corpora says of it; empty if it is not one of its eight.
        splits: Number of documents in each published split.
        label_sets: Names that ``corpus.edition.label_set`` may take, the default first; empty if there is no choice.
        downloads: Files that may be fetched; together they are the corpus, in one form that the reader knows.
        excluded_reasons: Reasons (``Document.excluded``) for leaving out documents that ``documents`` does not count.
        terms: Limits of use or redistribution, shown before a download.
        how_to_get: How a person gets the files, where no program may fetch them.
        embedded: Whether it needs no file.
        pairs: Whether it is a pair corpus, of queries and the documents that answer them.
    """

    name: str
    title: str
    documents: int | None
    labels: int | None
    multi_label: bool
    licence: str
    source: str
    citation: str
    survey: str = ""
    splits: Mapping[str, int] = field(default_factory=dict)
    label_sets: tuple[str, ...] = ()
    downloads: tuple[Download, ...] = ()
    excluded_reasons: tuple[str, ...] = ()
    terms: str = ""
    how_to_get: str = ""
    embedded: bool = False
    pairs: bool = False
