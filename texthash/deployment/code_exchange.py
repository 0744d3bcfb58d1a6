"""Export and import of the codes of a live index. An import replaces only the fields that the file contains."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from texthash.api.attributes import Value
from texthash.config import LimitsConfig
from texthash.corpora.document import Document
from texthash.corpora.prepared.embeddings.checks import REMEDY, flaw_of_one
from texthash.corpora.readers.rows import Table, document
from texthash.corpora.readers.tables import parquet_rows
from texthash.deployment.index_files import AT_ONCE, Upserted
from texthash.deployment.row_files import Written, check_filled, check_limits, check_unique
from texthash.errors import CorpusError, ModelMismatchError, TexthashError, UsageError
from texthash.index.releases.release import Release, read_release
from texthash.index.shard import Shard
from texthash.index.storage.arrow_schema import (
    ATTRIBUTES,
    KNOWN,
    VECTOR,
    attribute_columns,
    codes_column,
    codes_of,
    known_of,
    read_stored,
    take_attributes,
    written,
)
from texthash.index.storage.shard_format import DOCUMENT_FIELDS, shard_of
from texthash.index.writing.writer import IndexDocument, IndexWriter
from texthash.io.atomic import whole
from texthash.io.audit import audited
from texthash.progress import track

if TYPE_CHECKING:
    from texthash.paths import StateDir

_MODEL = b"texthash.model"
# Largest difference from 1 of the length of a unit vector in half precision.
_ROUNDING = 2e-3
_EMPTY: dict[str, Any] = {"title": "", "text": "", "labels": [], ATTRIBUTES: None}


def _is_vector(kind: pa.DataType) -> bool:
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return lists and (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type))


def _is_flag(kind: pa.DataType) -> bool:
    return pa.types.is_boolean(kind) or pa.types.is_null(kind)


_TYPES = {KNOWN: (_is_flag, "true or false"), VECTOR: (_is_vector, "lists of numbers")}


def export_codes(home: StateDir, path: Path, release: str = "current") -> int:
    """Write the documents of a release to a file, by document number, and return their number.

    The suffix selects the format: ``.parquet`` contains all fields; ``.tsv`` ids and codes; ``.npy`` and ``.faiss``
    codes only, with the ids in a second file whose name ends in ``.ids.parquet``.
    """
    from texthash.hamming.interop import write_codes, write_with_ids

    record = read_release(home, release)
    parts = []
    for number in track(range(len(record.shards)), "reading shards"):
        shard = record.open_shard(home, number)
        parts.append(shard.rows(["number", "id", *DOCUMENT_FIELDS, "code"]))
    table = pa.concat_tables(parts, promote_options="default").sort_by("number").drop_columns(["number"])
    table = _with_attributes(table) if record.attributes else table
    if path.suffix == ".parquet":
        with whole(path) as partial:
            pq.write_table(table.replace_schema_metadata({_MODEL: record.model_digest.encode()}), partial)
        return len(table)
    codes, ids = codes_of(table["code"], record.bits), table["id"].to_pylist()
    (write_with_ids if path.suffix in (".npy", ".faiss") else write_codes)(path, codes, ids)
    return len(ids)


def searchable_codes(home: StateDir, release: str = "current") -> tuple[NDArray[np.uint8], list[str]]:
    """Return codes and ids of the documents of a release that a search can find, by document number.

    A document without a known word has no meaningful code, and is left out.
    """
    record = read_release(home, release)
    parts = [record.open_shard(home, number).rows(["number", "id", "code"]) for number in range(len(record.shards))]
    table = pa.concat_tables(parts, promote_options="default").sort_by("number")
    table = table.filter(pa.array(known_of(table)))
    return codes_of(table["code"], record.bits), table["id"].to_pylist()


def import_codes(home: StateDir, path: Path, agreed: Callable[[str], bool]) -> Upserted:
    """Upsert documents from a file of ids and codes that were made by the model of the release.

    Existing documents keep their title, text and labels, unless the file contains these too. The whole file is checked
    before its first row is written, and rows have to be within the limits of an upsert.

    Args:
        home: State directory.
        path: File of ids and codes.
        agreed: Function that is called with a description of the fields that would be replaced; if it returns False,
            nothing is written.

    Raises:
        ModelMismatchError: The codes or vectors have another width, or the file names another model.
        CorpusError: An id occurs twice, or a row is one that an upsert would not accept.
        IndexLockedError: Another process writes to the index.
        UsageError: The replacement of fields was declined.
        TexthashError: The file has no ids.
    """
    table, documents = _read(path)
    new = unknown = 0
    with IndexWriter.open(home) as writer, audited(home, "import") as facts:
        release = writer.release
        made_by = (table.schema.metadata or {}).get(_MODEL, b"").decode()
        if made_by not in ("", release.model_digest):
            raise ModelMismatchError(
                f"{path} holds codes by model {made_by[:12]}, but the index holds those of "
                f"{release.model_digest[:12]}.",
                "upsert the documents with their texts: `texthash index upsert`.",
            )
        bits = 8 * table["code"].type.byte_width
        if bits != release.bits:
            raise ModelMismatchError(
                f"{path} holds codes of {bits} bits, but the index holds those of {release.bits}.",
                "give codes by the model of the index.",
            )
        shards = release.open_shards(home)
        starts = range(0, len(table), AT_ONCE)
        changes: Counter[str] = Counter()
        for first in starts:
            rows, changed = _merged(table.slice(first, AT_ONCE), shards)
            _vectors(rows, release, path, first)
            changes.update(changed)
        if changes:
            what = ", ".join(f"the {name} of {count} documents" for name, count in changes.items())
            if not agreed(f"{path} replaces {what}"):
                raise UsageError(f"{path} would replace {what}.", "confirm with --yes, or leave those columns out.")
        with Written(path) as done:
            for first in track(starts, "importing (thousands)"):
                rows, _ = _merged(table.slice(first, AT_ONCE), shards)
                attributes = _read_attributes(rows[ATTRIBUTES], path)
                batch = [
                    IndexDocument(row["id"], row["text"], row["title"], tuple(row["labels"]), own)
                    for row, own in zip(rows.to_pylist(), attributes, strict=True)
                ]
                known = known_of(rows)
                vectors = _vectors(rows, release, path, first)
                written = writer.upsert(batch, codes_of(rows["code"], release.bits), vectors, known=known)
                done.add(documents[first : first + AT_ONCE])
                new, unknown = new + written.new, unknown + int((~known).sum())
                facts.update(documents=first + len(batch), new=new, release=written.release.name)
        return Upserted(writer.release, len(table), new, unknown)


def _read(path: Path) -> tuple[pa.Table, list[Document]]:
    """Return the columns of a file of codes, and its rows as documents, which are checked like those of an upsert."""
    from texthash.hamming.interop import IDS, read_codes

    codes, ids = read_codes(path)
    check_filled(path, len(codes))
    beside = path.with_name(path.name + IDS)
    if ids is None and beside.is_file():
        known, ids = read_codes(beside)
        if not np.array_equal(known, codes):
            raise TexthashError(f"{beside} is not of the codes in {path}.", "export both again.")
    if ids is None:
        raise TexthashError(
            f"{path} holds codes without ids.", f"give a .parquet or .tsv file, which has ids, or provide {beside}."
        )
    table = pa.table({"id": pa.array(ids, pa.string()), "code": codes_column(codes)})
    documents = [Document(id_, "", origin=f"{path}:{row}") for row, id_ in enumerate(ids, 1)]
    if path.suffix == ".parquet":
        table, documents = _with_fields(table, path)
    _check(documents)
    return table, documents


def _with_fields(table: pa.Table, path: Path) -> tuple[pa.Table, list[Document]]:
    """Return the table with the further columns of its file, and its rows as documents."""
    file = pq.read_table(path)
    names = {*file.schema.names} & ({*DOCUMENT_FIELDS, "label"} - {ATTRIBUTES})
    rows = parquet_rows(path, names) if names else enumerate([{}] * len(table), 1)
    typed = (document({"text": "", **row}, Table(path), number) for number, row in rows)
    documents = [found._replace(id=id_) for found, id_ in zip(typed, table["id"].to_pylist(), strict=True)]
    content: dict[str, pa.Array] = {
        "title": pa.array([found.title for found in documents], pa.string()),
        "text": pa.array([found.text for found in documents], pa.string()),
        "labels": pa.array([list(found.labels) for found in documents], pa.list_(pa.string())),
    }
    if ATTRIBUTES in file.schema.names:
        table = table.append_column(ATTRIBUTES, written(_read_attributes(file[ATTRIBUTES], path)))
    for name in content:
        if name in names or (name == "labels" and "label" in names):
            table = table.append_column(name, content[name])
    for name, (is_kind, wanted) in _TYPES.items():
        if name in file.schema.names:
            if not is_kind(file[name].type):
                raise TexthashError(f"{path}: the column {name} is of the type {file[name].type}.", f"write {wanted}.")
            table = table.append_column(name, file[name])
    return table.replace_schema_metadata(file.schema.metadata), documents


def _check(documents: Sequence[Document]) -> None:
    """Raise :class:`CorpusError` for the first row that an upsert would not accept either."""
    most = LimitsConfig().max_text_bytes

    def within_limits(found: Document) -> Document:
        check_limits(found, most)
        return found

    check_unique(map(within_limits, documents))


def _with_attributes(table: pa.Table) -> pa.Table:
    """Return rows with one column of JSON in place of the columns of their attributes."""
    names = attribute_columns(table.schema)
    rows = table.select(names).to_pylist() if names else [{}] * len(table)
    return table.drop_columns(names).append_column(ATTRIBUTES, written([take_attributes(row) for row in rows]))


def _read_attributes(column: pa.ChunkedArray, path: Path) -> list[dict[str, Value]]:
    try:
        return read_stored(column)
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"{path}: the column {ATTRIBUTES} is no JSON of attributes: {error}.",
            'write one object a row, such as {"year": 2024}, or leave the column out.',
        ) from None


def _merged(batch: pa.Table, shards: list[Shard]) -> tuple[pa.Table, Counter[str]]:
    """Return rows with missing fields taken from the index, and the number of documents that would change, by field."""
    ids = batch["id"].to_pylist()
    mine: list[list[str]] = [[] for _ in shards]
    for id_ in ids:
        mine[shard_of(id_, len(shards))].append(id_)
    stored: dict[str, dict[str, Any]] = {}
    for shard, own in zip(shards, mine, strict=True):
        found = _with_attributes(shard.rows(["id", *DOCUMENT_FIELDS], own))
        stored.update((row["id"], row) for row in found.to_pylist())
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


def _vectors(rows: pa.Table, release: Release, path: Path, first: int) -> np.ndarray | None:
    """Return the vectors of rows of a file, the first of which has the number ``first``, as the index stores them."""
    if release.vectors is None:
        return None
    if VECTOR not in rows.schema.names or rows[VECTOR].null_count:
        raise ModelMismatchError(
            f"{path} has documents without a vector, but the index stores one per document.",
            "upsert them with their texts: `texthash index upsert`.",
        )
    given = rows[VECTOR].to_pylist()
    for number, vector in enumerate(given, first + 1):
        if len(vector) != release.vectors.width:
            raise ModelMismatchError(
                f"{path}:{number}: the vector has {len(vector)} numbers, those of the index have "
                f"{release.vectors.width}.",
                "give vectors of the kind that the index stores.",
            )
        if None in vector or (flaw := flaw_of_one(vector)):
            flaw = "has an empty place" if None in vector else flaw
            raise CorpusError(f"{path}:{number}: the vector {flaw}.", REMEDY)
    vectors = np.array(given, np.float64)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    # Vectors of an index come back unchanged: half precision has made their length differ from 1 a little.
    return (vectors / np.where(np.abs(lengths - 1) < _ROUNDING, 1.0, lengths)).astype(np.float16)
