"""Texts to encode, from a file, a folder or a prepared corpus, in parts that can be read in parallel."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

from texthash.config import CorpusConfig
from texthash.corpora.catalog import Part
from texthash.corpora.document import SPLITS, Document
from texthash.corpora.prepared.manifest import MANIFEST, Manifest
from texthash.corpora.readers import formats, own, rows, tables, text_files
from texthash.corpora.readers.rows import Columns
from texthash.corpora.readers.text_files import Span
from texthash.errors import CorpusError, nearest_name
from texthash.io import object_store_cache
from texthash.io.atomic import read_parquet
from texthash.io.listing import matching
from texthash.paths import StateDir, as_path, is_address
from texthash.progress import log_line

LINE_SUFFIXES = (".txt", ".txt.gz")
_PIECE_BYTES = 3_000_000
_EDITION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[a-z0-9][a-z0-9._-]*")


@dataclass(frozen=True)
class Texts:
    """Documents of which only id and text are read.

    Attributes:
        name: Absolute path or address.
        version: Fingerprint that changes when the documents change.
        parts: Parts in order; concatenated, their documents are all documents.
    """

    name: str
    version: str
    parts: list[Part]


def open_texts(name: str, home: StateDir, columns: Columns | None = None) -> Texts:
    """Open the texts of a name.

    Args:
        name: A prepared ``corpus/edition`` or its directory; else a file or folder as for ``corpus.path``, or a
            ``.txt`` file with one text per line; or the address of any of these in an object store, from which files
            are fetched to the download cache of each node that reads them.
        home: State directory with the prepared corpora.
        columns: Columns of text and id in rows; None: ``text`` and ``id``.

    Raises:
        CorpusError: Nothing has that name, or it contains nothing to read.
    """
    path = as_path(name)
    if (path / MANIFEST).is_file():
        return _prepared(path)
    if is_address(name) or path.exists():
        return _own(CorpusConfig(name="texts", path=str(path)), home, columns or Columns())
    if _EDITION.fullmatch(name) and (home.corpus(*name.split("/")) / MANIFEST).is_file():
        return _prepared(home.corpus(*name.split("/")))
    known = [str(manifest.parent.parent.name) + "/" + manifest.parent.name for manifest in _manifests(home)]
    raise CorpusError(
        f"{name} is neither a file or folder nor a prepared corpus in {home.store} ({nearest_name(name, known)}).",
        "name a file, a folder, or corpus/edition after `texthash prepare`.",
    )


def _manifests(home: StateDir) -> list[Path]:
    return matching(home.store / "corpora", f"*/*/{MANIFEST}")


def _prepared(path: Path) -> Texts:
    manifest = Manifest.read(path)
    identity = (manifest.config_hash, manifest.source_checksum, manifest.vocabulary_hash)
    shards = [shard for split in SPLITS for shard in matching(path / split, "part-*.parquet")]
    return Texts(str(path), _digest(*identity), [partial(_shard, shard) for shard in shards])


def _shard(path: Path) -> Iterator[Document]:
    for batch in read_parquet(path, ["id", "text"]):
        for id_, text in zip(batch["id"].to_pylist(), batch["text"].to_pylist(), strict=True):
            yield Document(id_, text)


def _own(config: CorpusConfig, home: StateDir, columns: Columns) -> Texts:
    here = object_store_cache.here(config, home)
    facts = [(path.name, path.stat()) for path in _files(here, home)]
    version = _digest(repr(columns), *(f"{name}:{fact.st_size}:{fact.st_mtime_ns}" for name, fact in facts))
    for note in formats.reader_of(here).notes(here, home):
        log_line(f"warning: {note}")
    parts = _parts(here, home, columns)
    if object_store_cache.is_remote(config):
        settings = config.model_dump_json()
        parts = [partial(_fetched_part, settings, home, columns, number) for number in range(len(parts))]
    return Texts(str(config.path), version, parts)


def _files(here: CorpusConfig, home: StateDir) -> list[Path]:
    found: list[Path] = formats.reader_of(here).files(here, home)
    return found


def _parts(here: CorpusConfig, home: StateDir, columns: Columns) -> list[Part]:
    files = _files(here, home)
    if files == [Path(str(here.path))] and files[0].name.lower().endswith(LINE_SUFFIXES):
        return [partial(_lines, files[0], span) for span in tables.spans(files[0], _PIECE_BYTES)]
    reader = formats.reader_of(here)
    if reader is not own:
        return [partial(reader.read, here, home)]
    return own.pieces(here, columns, rows.texts)


@lru_cache(maxsize=1)
def _fetched(settings: str, home: StateDir, columns: Columns) -> list[Part]:
    config = CorpusConfig.model_validate_json(settings)
    return _parts(object_store_cache.here(config, home), home, columns)


def _fetched_part(settings: str, home: StateDir, columns: Columns, number: int) -> Iterator[Document]:
    """Yield the documents of a part in an object store; missing files are fetched to this node."""
    return _fetched(settings, home, columns)[number]()


def _lines(path: Path, span: Span | None) -> Iterator[Document]:
    for number, line in text_files.lines(path, span=span):
        yield Document(f"{path.name}:{number}", line.rstrip("\r\n"), origin=f"{path}:{number}")


def _digest(*facts: str) -> str:
    return hashlib.sha256("\0".join(facts).encode()).hexdigest()
