"""Export and import of the codes of a live index. An import replaces only the fields that the file contains."""

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
    """Write the documents of a release to a file, by document number, and return their number.

    The suffix selects the format: ``.parquet`` contains all fields; ``.tsv`` ids and codes; ``.npy`` and ``.faiss``
    codes only, with the ids in a second file whose name ends in ``.ids.parquet``.
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
    """Upsert documents from a file of ids and codes that were made by the model of the release.

    Existing documents keep their title, text and labels, unless the file contains these too.

    Args:
        home: State directory.
        path: File of ids and codes.
        agreed: Function that is called with a description of the fields that would be replaced; if it returns False,
            nothing is written.

    Raises:
        ModelMismatchError: The codes have another width, or the file names another model.
        UsageError: An id occurs twice, or the replacement of fields was declined.
        TexthashError: The file has no ids.
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
                f"{path} holds codes by model {made_by[:12]}, but the index holds those of "
                f"{release.model_digest[:12]}.",
                "upsert the documents with their texts: `texthash index upsert`.",
            )
        shards = [release.open_shard(home, number) for number in range(len(release.shards))]
        starts = range(0, len(table), AT_ONCE)
        changes: Counter[str] = Counter()
        for first in starts:
            changes.update(_merged(table.slice(first, AT_ONCE), shards)[1])
        if changes:
            what = ", ".join(f"the {name} of {count} documents" for name, count in changes.items())
            if not agreed(f"{path} replaces {what}"):
                raise UsageError(f"{path} would replace {what}.", "confirm with --yes, or leave those columns out.")
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
            f"{path} holds codes without ids.", f"give a .parquet or .tsv file, which has ids, or provide {beside}."
        )
    table = pa.table({"id": pa.array(ids, pa.string()), "code": codes_column(codes)})
    if path.suffix == ".parquet":
        file = pq.read_table(path)
        for name in (*DOCUMENT_FIELDS, KNOWN, VECTOR):
            if name in file.schema.names:
                table = table.append_column(name, file[name])
        table = table.replace_schema_metadata(file.schema.metadata)
    return table


def _merged(batch: pa.Table, shards: list[Shard]) -> tuple[pa.Table, Counter[str]]:
    """Return rows with missing fields taken from the index, and the number of documents that would change, by field."""
    ids = batch["id"].to_pylist()
    mine: list[list[str]] = [[] for _ in shards]
    for id_ in ids:
        mine[shard_of(id_, len(shards))].append(id_)
    stored: dict[str, dict[str, Any]] = {}
    for shard, own in zip(shards, mine, strict=True):
        stored.update((row["id"], row) for row in shard.rows(["id", *DOCUMENT_FIELDS], own).to_pylist())
    changes: Counter[str] = Counter()
    rows = batch
    for name, empty in _EMPTY.items():
        kept = [stored[id_][name] if id_ in stored else empty for id_ in ids]
        if name not in batch.schema.names:
            kind = pa.list_(pa.string()) if name == "labels" else pa.string()
            rows = rows.append_column(name, pa.array(kept, kind))
            continue
        given = [empty if value is None else value for value in batch[name].to_pylist()]
        count = sum(id_ in stored and (was or empty) != now for id_, was, now in zip(ids, kept, given, strict=True))
        changes.update({name: count} if count else {})
        rows = rows.set_column(rows.schema.names.index(name), name, pa.array(given, batch.schema.field(name).type))
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
            f"{path} has documents without a vector, but the index stores one per document.",
            "upsert them with their texts: `texthash index upsert`.",
        )
    kind = pa.list_(pa.float16(), release.vectors.width)
    return vectors_of(pa.chunked_array([pa.array(rows[VECTOR].to_pylist(), kind)]))
