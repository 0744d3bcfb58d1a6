"""From files to a live index and back: texts are encoded by the model that is served, codes are taken as they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from texthash.config import LimitsConfig
from texthash.errors import TexthashError
from texthash.index.releases.release import Release, open_release, read_release
from texthash.index.storage.shard_format import kind_of
from texthash.index.writing.writer import IndexDocument, IndexWriter
from texthash.progress import track

if TYPE_CHECKING:
    from texthash.corpora.document import Document
    from texthash.corpora.readers.rows import Table
    from texthash.paths import Home

AT_ONCE = 1_000


def upsert_file(home: Home, table: Table) -> tuple[Release, int, int]:
    """Put the documents of a file of rows into the index; the model of the release encodes them.

    The file is checked whole before its first row is written. Each batch of 1,000 is durable and visible when the next
    begins; where the writing ends early, it is said up to which row.

    Returns:
        The release that holds all of them, their number, and how many of them are new.

    Raises:
        IndexHeldError: somebody else writes to the index.
        CorpusError: naming file and line, as :func:`~texthash.deployment.row_files.check_rows` does.
    """
    from texthash.corpora.readers.rows import documents
    from texthash.deployment.row_files import Written, check_rows

    release = read_release(home)
    hasher = release.open_hasher(home)
    done = new = 0
    with IndexWriter.open(home) as writer:
        check_rows(table, LimitsConfig().max_text_bytes)
        with Written(table.path) as written:
            for some in track(_batches(documents(table)), "upserting (thousands)"):
                read = hasher.read([document.text for document in some], vectors=kind_of(release.vectors))
                made = [IndexDocument(d.id, d.text, d.title, d.labels) for d in some]
                result = writer.upsert(made, hasher.cut(read.values), read.vectors)
                written.add(some)
                done, new = done + result.documents, new + result.new
        return writer.release, done, new


def upsert_codes(home: Home, path: Path) -> tuple[Release, int, int]:
    """Put ready codes into the index: a Parquet or text file of ids and codes that the model of the release made.

    The documents have no text; one that is there already loses its own. Returns as :func:`upsert_file`.

    Raises:
        ModelMismatchError: codes of another width. That they are of the same model cannot be told from them.
        TexthashError: a file without ids.
    """
    from texthash.hamming.interop import read_codes

    codes, ids = read_codes(path)
    if ids is None:
        raise TexthashError(f"{path} holds codes without ids.", "give a .parquet or .tsv file, which has ids.")
    new = 0
    with IndexWriter.open(home) as writer:
        for first in track(range(0, len(ids), AT_ONCE), "importing (thousands)"):
            some = [IndexDocument(id_, "") for id_ in ids[first : first + AT_ONCE]]
            new += writer.upsert(some, codes[first : first + AT_ONCE]).new
        return writer.release, len(ids), new


def export_codes(home: Home, path: Path, release: str = "current") -> int:
    """Write ids and codes of a release to a file whose suffix tells the form, by document number. Returns how many."""
    from texthash.hamming.interop import write_codes

    opened = open_release(home, release)
    numbers, ids, codes = [], [], []
    for shard in track(opened.shards, "reading shards"):
        found = shard.documents(shard.numbers, ["code"])
        numbers.append(shard.numbers)
        ids += [row["id"] for row in found]
        codes += [row["code"] for row in found]
    order = np.argsort(np.concatenate(numbers))
    packed = np.frombuffer(b"".join(codes), np.uint8).reshape(-1, opened.release.bits // 8)
    write_codes(path, packed[order], [ids[row] for row in order])
    return len(ids)


def _batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    remaining = iter(documents)
    while some := list(islice(remaining, AT_ONCE)):
        yield some
