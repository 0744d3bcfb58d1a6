"""Codes of a live index to files and back. What a file says of a document is taken; what it does not say stays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from texthash.deployment.index_files import AT_ONCE, Upserted
from texthash.errors import ModelMismatchError, TexthashError, UsageError
from texthash.index.releases.release import Release, read_release
from texthash.index.shard import Shard
from texthash.index.storage.arrow_schema import KNOWN, VECTOR, codes_column, codes_of, known_of, vectors_of
from texthash.index.storage.shard_format import DOCUMENT_FIELDS, shard_of
from texthash.index.writing.writer import IndexDocument, IndexWriter
from texthash.io.atomic import whole
from texthash.progress import track

if TYPE_CHECKING:
    from texthash.paths import StateDir

_MODEL = b"texthash.model"
_IDS = ".ids.parquet"
_EMPTY: dict[str, Any] = {"title": "", "text": "", "labels": []}


def export_codes(home: StateDir, path: Path, release: str = "current") -> int:
    """Write a release to a file whose suffix tells the form, by document number; gives how many documents.

    ``.parquet`` holds all of each document; ``.tsv`` ids and codes; ``.npy`` and ``.faiss`` codes, with the ids in a
    file of the same name and ``.ids.parquet`` beside it.
    """
    from texthash.hamming.interop import write_codes

    record = read_release(home, release)
    parts = []
    for number in track(range(len(record.shards)), "reading shards"):
        shard = record.open_shard(home, number)
        parts.append(shard.rows(["number", "id", *DOCUMENT_FIELDS, "code"]))
    table = pa.concat_tables(parts).sort_by("number").drop_columns(["number"])
    if path.suffix == ".parquet":
        with whole(path) as partial:
            pq.write_table(table.replace_schema_metadata({_MODEL: record.model_digest.encode()}), partial)
        return len(table)
    codes, ids = codes_of(table["code"], record.bits), table["id"].to_pylist()
    if path.suffix in (".npy", ".faiss"):
        write_codes(path.with_name(path.name + _IDS), codes, ids)
    write_codes(path, codes, ids)
    return len(ids)


def import_codes(home: StateDir, path: Path, agreed: Callable[[str], bool]) -> Upserted:
    """Put ready codes into the index: a file of ids and codes that the model of the release made.

    Title, text and labels of a document that is there stay, unless the file has them too.

    Args:
        home: State directory.
        path: The file.
        agreed: Asked, with what would change, before fields of documents are replaced; False: nothing is written.

    Raises:
        ModelMismatchError: codes of another width, or, where the file says, of another model.
        UsageError: an id twice, or fields would be replaced and that was not agreed to.
        TexthashError: a file without ids.
    """
    table = _read(path)
    twice = [id_ for id_, count in Counter(table["id"].to_pylist()).items() if count > 1]
    if twice:
        raise UsageError(f"{path}: the id {twice[0]!r} occurs more than once.", "leave one of them.")
    new = unknown = 0
    with IndexWriter.open(home) as writer:
        release = writer.release
        made_by = (table.schema.metadata or {}).get(_MODEL, b"").decode()
        if made_by not in ("", release.model_digest):
            raise ModelMismatchError(
                f"{path} holds codes by model {made_by[:12]}, the index those of {release.model_digest[:12]}.",
                "put the documents in with their texts: `texthash index upsert`.",
            )
        shards = [release.open_shard(home, number) for number in range(len(release.shards))]
        starts = range(0, len(table), AT_ONCE)
        changes: Counter[str] = Counter()
        for first in starts:
            changes.update(_merged(table.slice(first, AT_ONCE), shards)[1])
        if changes:
            what = ", ".join(f"the {name} of {count} documents" for name, count in changes.items())
            if not agreed(f"{path} replaces {what}"):
                raise UsageError(f"{path} would replace {what}.", "agree with --yes, or leave those columns out.")
        for first in track(starts, "importing (thousands)"):
            rows, _ = _merged(table.slice(first, AT_ONCE), shards)
            documents = [
                IndexDocument(row["id"], row["text"], row["title"], tuple(row["labels"])) for row in rows.to_pylist()
            ]
            known = known_of(rows)
            vectors = _vectors(rows, release, path)
            written = writer.upsert(documents, codes_of(rows["code"], release.bits), vectors, known=known)
            new, unknown = new + written.new, unknown + int((~known).sum())
        return Upserted(writer.release, len(table), new, unknown)


def _read(path: Path) -> pa.Table:
    from texthash.hamming.interop import read_codes

    codes, ids = read_codes(path)
    beside = path.with_name(path.name + _IDS)
    if ids is None and beside.is_file():
        known, ids = read_codes(beside)
        if not np.array_equal(known, codes):
            raise TexthashError(f"{beside} is not of the codes in {path}.", "export both again.")
    if ids is None:
        raise TexthashError(
            f"{path} holds codes without ids.", f"give a .parquet or .tsv file, which has ids, or put {beside} there."
        )
    table = pa.table({"id": pa.array(ids, pa.string()), "code": codes_column(codes)})
    if path.suffix == ".parquet":
        file = pq.read_table(path)
        for name in (*DOCUMENT_FIELDS, KNOWN, VECTOR):
            if name in file.schema.names:
                table = table.append_column(name, file[name])
        table = table.replace_schema_metadata(file.schema.metadata)
    return table


def _merged(some: pa.Table, shards: list[Shard]) -> tuple[pa.Table, Counter[str]]:
    """Rows with what the file does not say taken from the index, and how many documents have other fields there."""
    ids = some["id"].to_pylist()
    mine: list[list[str]] = [[] for _ in shards]
    for id_ in ids:
        mine[shard_of(id_, len(shards))].append(id_)
    stored: dict[str, dict[str, Any]] = {}
    for shard, wanted in zip(shards, mine, strict=True):
        stored.update((row["id"], row) for row in shard.rows(["id", *DOCUMENT_FIELDS], wanted).to_pylist())
    changes: Counter[str] = Counter()
    rows = some
    for name, empty in _EMPTY.items():
        kept = [stored[id_][name] if id_ in stored else empty for id_ in ids]
        if name not in some.schema.names:
            kind = pa.list_(pa.string()) if name == "labels" else pa.string()
            rows = rows.append_column(name, pa.array(kept, kind))
            continue
        given = [empty if value is None else value for value in some[name].to_pylist()]
        count = sum(id_ in stored and (was or empty) != now for id_, was, now in zip(ids, kept, given, strict=True))
        changes.update({name: count} if count else {})
        rows = rows.set_column(rows.schema.names.index(name), name, pa.array(given, some.schema.field(name).type))
    for name in (KNOWN, VECTOR):
        if name not in rows.schema.names:
            values = [stored[id_].get(name) if id_ in stored else None for id_ in ids]
            if any(value is not None for value in values):
                rows = rows.append_column(name, pa.array(values))
    return rows, changes


def _vectors(rows: pa.Table, release: Release, path: Path) -> np.ndarray | None:
    if release.vectors is None:
        return None
    if VECTOR not in rows.schema.names or rows[VECTOR].null_count:
        raise ModelMismatchError(
            f"{path} has documents without a vector, of which the index keeps one each.",
            "put them in with their texts: `texthash index upsert`.",
        )
    kind = pa.list_(pa.float16(), release.vectors.width)
    return vectors_of(pa.chunked_array([pa.array(rows[VECTOR].to_pylist(), kind)]))
