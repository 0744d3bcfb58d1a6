"""From files to a live index and back: texts are encoded by the model that is served, codes are taken as they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from texthash.config import LimitsConfig
from texthash.index.releases.release import Release, read_release
from texthash.index.storage.shard_format import kind_of
from texthash.index.writing.writer import IndexDocument, IndexWriter
from texthash.progress import track

if TYPE_CHECKING:
    from texthash.corpora.document import Document
    from texthash.corpora.readers.rows import Table
    from texthash.paths import StateDir

AT_ONCE = 1_000


class Upserted(NamedTuple):
    """What putting a file into the index did.

    Attributes:
        release: Release that holds all of it.
        documents: How many documents were written.
        new: How many of them the index did not hold before.
        unknown: Of how many of them the model knows no word; they are near to nothing in a search.
    """

    release: Release
    documents: int
    new: int
    unknown: int = 0


def upsert_file(home: StateDir, table: Table) -> Upserted:
    """Put the documents of a file of rows into the index; the model of the release encodes them.

    The file is checked whole before its first row is written. Each batch of 1,000 is durable and visible when the next
    begins; where the writing ends early, it is said up to which row.

    Raises:
        IndexLockedError: somebody else writes to the index.
        CorpusError: naming file and line, as :func:`~texthash.deployment.row_files.check_rows` does.
    """
    from texthash.corpora.readers.rows import documents
    from texthash.deployment.row_files import Written, check_rows

    release = read_release(home)
    hasher = release.open_hasher(home)
    done = new = unknown = 0
    with IndexWriter.open(home) as writer:
        check_rows(table, LimitsConfig().max_text_bytes)
        with Written(table.path) as written:
            for some in track(_batches(documents(table)), "upserting (thousands)"):
                read = hasher.read([document.text for document in some], vectors=kind_of(release.vectors))
                made = [IndexDocument(d.id, d.text, d.title, d.labels) for d in some]
                result = writer.upsert(made, hasher.binarize(read.values), read.vectors, known=read.known)
                written.add(some)
                done, new = done + result.documents, new + result.new
                unknown += len(some) - int(read.known.sum())
        return Upserted(writer.release, done, new, unknown)


def _batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    remaining = iter(documents)
    while some := list(islice(remaining, AT_ONCE)):
        yield some
