"""Published facts about a corpus; each reader defines them as ``record``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Download:
    """A file published by the owner of a corpus.

    Attributes:
        url: Address of the file.
        file: File name that the reader expects.
        bytes: Size in bytes; None where it is unknown.
        checksum: ``sha256:<hex>`` or ``md5:<hex>`` as published by the owner or a well-known library; None where no
            checksum is published.
    """

    url: str
    file: str
    bytes: int | None = None
    checksum: str | None = None


@dataclass(frozen=True)
class CorpusRecord:
    """Published facts about one corpus.

    Attributes:
        name: Value of ``corpus.name``.
        title: Title given by its owner.
        documents: Number of documents; None where it depends on the environment.
        labels: Number of labels; None where it depends on the environment.
        multi_label: Whether a document may have several labels.
        licence: Licence of the text.
        source: Address at which its owner publishes it.
        citation: Publications to cite.
        survey: Its row in the survey's table of corpora; empty if it is not one of the eight.
        splits: Number of documents in each published split.
        label_sets: Valid values of ``corpus.edition.label_set``, the default first; empty if there is no choice.
        downloads: Files that may be fetched; together they are the corpus, in one form that the reader supports.
        excluded_reasons: Reasons (``Document.excluded``) of documents that are left out of ``documents``.
        terms: Limits of use or redistribution, shown before a download.
        how_to_get: Instructions for obtaining files that a program may not fetch.
        embedded: Whether the corpus needs no files.
        pairs: Whether it is a pair corpus of queries and the documents that answer them.
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
