"""Upsert of files of documents into a live index, encoded by the model of the current release."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from texthash.config import LimitsConfig
from texthash.index.releases.release import Release, read_release
from texthash.index.storage.shard_format import kind_of
from texthash.index.writing.writer import IndexDocument, IndexWriter
from texthash.io.audit import audited
from texthash.progress import track

if TYPE_CHECKING:
    from texthash.corpora.document import Document
    from texthash.corpora.readers.rows import Table
    from texthash.paths import StateDir

AT_ONCE = 1_000


class Upserted(NamedTuple):
    """Result of upserting a file.

    Attributes:
        release: Release that contains all of its documents.
        documents: Number of documents written.
        new: Number of these that the index did not hold before.
        unknown: Number of these without a word in the vocabulary, which a search never returns.
    """

    release: Release
    documents: int
    new: int
    unknown: int = 0


def upsert_file(home: StateDir, table: Table) -> Upserted:
    """Upsert the documents of a file of rows, encoded by the model of the release.

    The whole file is checked before its first row is written. Each batch of 1,000 documents is durable and visible
    before the next one begins. If the upsert ends early, the last written row is logged.

    Raises:
        IndexLockedError: Another process writes to the index.
        CorpusError: A row is invalid; see :func:`~texthash.deployment.row_files.check_rows`.
    """
    from texthash.corpora.readers.rows import documents
    from texthash.deployment.row_files import Written, check_rows, warn_of_lost_attributes
    from texthash.models.vectors import check_documents_bring_vectors

    release = read_release(home)
    hasher = release.open_hasher(home)
    done = new = unknown = 0
    with IndexWriter.open(home) as writer, audited(home, "upsert") as facts:
        check_rows(table, LimitsConfig().max_text_bytes)
        warn_of_lost_attributes(table, release.attributes)
        if table.columns.vector is not None:
            check_documents_bring_vectors(hasher.method)
        with Written(table.path) as written:
            for batch in track(_batches(documents(table)), "upserting (thousands)"):
                vectors = [document.vector for document in batch]
                read = hasher.read(
                    [document.text for document in batch],
                    vectors=kind_of(release.vectors),
                    features=None if table.columns.vector is None else vectors,
                )
                rows = [IndexDocument(d.id, d.text, d.title, d.labels, d.attributes or {}) for d in batch]
                result = writer.upsert(
                    rows, hasher.binarize(read.values), read.vectors, known=read.known, categories=read.categories
                )
                written.add(batch)
                done, new = done + result.documents, new + result.new
                unknown += len(batch) - int(read.known.sum())
                facts.update(documents=done, new=new, release=result.release.name)
        return Upserted(writer.release, done, new, unknown)


def _batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    remaining = iter(documents)
    while batch := list(islice(remaining, AT_ONCE)):
        yield batch
