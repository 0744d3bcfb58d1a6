"""How a shard lies on disk: a Lance dataset of documents and codes, and a manifest that says to which model it belongs.

    shard-0000/
      manifest.json      format, shard and shards, bits, model digest, vocabulary hash, documents, checksum, version
      digests/           size and SHA-256 of each file: see :mod:`texthash.index.storage.file_digests`
      documents.lance/   number int64, id, title, text, labels list<string>, code fixed-size binary [bits / 8],
                         known_words bool, and, in an index that keeps vectors, vector fixed-size list of float16
                         [width]

A document is dealt to a shard by a hash of its id, not by its number: whoever holds an id (a read, an upsert, a delete)
then knows its shard without asking the others, and an id can never stand in two shards. Its number is given once, from
one sequence over the whole index, so that the order of equal distances does not depend on how many shards there are.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from texthash.config import VectorKind
from texthash.errors import ModelMismatchError, TexthashError
from texthash.index.storage.arrow_schema import KNOWN, codes_of, known_of, schema
from texthash.index.storage.checksum import Checksum
from texthash.index.storage.file_digests import DOCUMENTS, check_files, check_manifest, files_of, record
from texthash.index.storage.lance_errors import REMEDY, is_panic
from texthash.io.atomic import is_local, is_published, remove_directory, write_text
from texthash.io.fsync import FsyncTracker, sync
from texthash.io.records import RowChecksum, read_record, sealed, typed

if TYPE_CHECKING:
    import lance

FORMAT_VERSION = 4
# Format 2 is that of an index without vectors; up to 3 there are no digests, and every document is a neighbour.
READABLE = (2, 3, FORMAT_VERSION)
MANIFEST = "manifest.json"
DOCUMENT_FIELDS = ("title", "text", "labels")
_INDEX_CACHE = 256 * 2**20
_METADATA_CACHE = 16 * 2**20


@dataclass(frozen=True)
class Vectors:
    """What an index keeps of each document beside its code, to order the nearest again.

    Attributes:
        kind: What they are: see :class:`texthash.config.IndexConfig`.
        width: Of a vector.
    """

    kind: VectorKind
    width: int

    @classmethod
    def of_record(cls, record: dict[str, Any] | None) -> Vectors | None:
        """From the form that ``asdict`` gives; None for an index without vectors."""
        return None if record is None else cls(**record)


Content = tuple[int, Vectors | None, str]


@dataclass(frozen=True, kw_only=True)
class ShardIdentity:
    """Which part of which index a shard is.

    Attributes:
        shard: Which shard, from 0.
        shards: How many there are.
        bits: Width of the codes.
        model: Digest of the model that made the codes.
        vocabulary_hash: Of that model's vocabulary.
        vectors: Which it keeps; None: none.
    """

    shard: int
    shards: int
    bits: int
    model: str
    vocabulary_hash: str
    vectors: Vectors | None = None

    @property
    def content(self) -> Content:
        """Width of the codes, vectors, and the model that made both."""
        return self.bits, self.vectors, self.model


@dataclass(frozen=True, kw_only=True)
class ShardManifest(ShardIdentity):
    """What a shard is. It describes the dataset as built; a release says which later version to read.

    Attributes:
        documents: Number of documents.
        checksum: Of their numbers and codes: :class:`Checksum`, in hexadecimal.
        next_number: One more than the largest document number of the whole index.
        lance_version: Version of the dataset as built.
    """

    documents: int
    checksum: RowChecksum
    next_number: int
    lance_version: int


@dataclass(frozen=True, kw_only=True)
class _Record(ShardManifest):
    format: int


def described(bits: int, vectors: Vectors | None, model: str) -> str:
    """What an index holds, in words for an error."""
    more = "" if vectors is None else f" with {vectors.kind} of width {vectors.width}"
    return f"codes of {bits} bits{more} by model {model[:12]}"


def kind_of(vectors: Vectors | None) -> VectorKind | None:
    """Which vectors an index keeps; None: none."""
    return None if vectors is None else vectors.kind


def width_of(vectors: Vectors | None) -> int:
    """Width of the vectors of an index, as :func:`texthash.index.storage.arrow_schema.schema` takes it; 0 without."""
    return 0 if vectors is None else vectors.width


def shard_of(document_id: str, shards: int) -> int:
    """The shard that holds a document: a hash of its id, the same on every machine and in every version."""
    digest = hashlib.blake2b(document_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % shards


def shard_path(index: Path, shard: int) -> Path:
    """Directory of one shard of an index."""
    return index / f"shard-{shard:04d}"


def storage_options(path: Path) -> dict[str, str] | None:
    """What Lance has to be told of an object store beside the standard variables: that an endpoint without TLS, as one
    within a cluster may be, is meant. None for a directory."""
    endpoints = (os.environ.get(name, "") for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"))
    plain = any(endpoint.startswith("http://") for endpoint in endpoints)
    return {"allow_http": "true"} if plain and not is_local(path) else None


def write_shard(
    path: Path, batches: Iterable[pa.RecordBatch], identity: ShardIdentity, next_number: int
) -> ShardManifest:
    """Write a shard, which is there when it is whole and on disk.

    In a directory it is written under a temporary name and renamed. In an object store its manifest is sent last: a
    shard without one does not count.

    Args:
        path: Where the shard is to appear; none may be there.
        batches: Rows in the form of :func:`texthash.index.storage.arrow_schema.schema`, by ascending number.
        identity: What it is to be; the manifest of another shard stands for what that one is.
        next_number: As the manifest has it.

    Raises:
        TexthashError: one is there already, or the disk takes no more; then nothing is left behind.
    """
    import lance

    if is_written(path):
        raise TexthashError(f"{path} exists already.", "a shard is never overwritten: build under another name.")
    partial = path.with_name(f".{path.name}.partial") if is_local(path) else path
    remove_directory(partial)
    columns = schema(identity.bits, width_of(identity.vectors))
    checksum = Checksum()

    def counted() -> Iterator[pa.RecordBatch]:
        for batch in batches:
            numbers, codes = batch.column("number").to_numpy(), codes_of(batch.column("code"), identity.bits)
            checksum.add(numbers, codes, known_of(batch))
            yield batch

    try:
        if is_local(path):
            partial.mkdir(parents=True)
        reader = pa.RecordBatchReader.from_batches(columns, counted())
        options = storage_options(partial)
        dataset = lance.write_dataset(reader, str(partial / DOCUMENTS), schema=columns, storage_options=options)
        dataset.create_scalar_index("id", "BTREE")
        manifest = ShardManifest(
            **{field.name: getattr(identity, field.name) for field in fields(ShardIdentity)},
            documents=dataset.count_rows(),
            checksum=str(checksum),
            next_number=next_number,
            lance_version=dataset.version,
        )
        record(partial, files_of(dataset), dataset.version)
        members = {"format": FORMAT_VERSION, **asdict(manifest)}
        write_text(partial / MANIFEST, json.dumps(sealed(members), indent=2))
        if is_local(path):
            FsyncTracker(partial).sync()
            partial.rename(path)
            sync(path.parent)
    except BaseException as error:
        if not isinstance(error, OSError) and not is_panic(error):
            raise
        raise TexthashError(f"{path} could not be written: {error}", "make room or give access, then again.") from error
    finally:
        if partial != path:
            remove_directory(partial)
    return manifest


def is_written(path: Path) -> bool:
    """Whether a whole shard is there."""
    return is_published(path, MANIFEST)


def read_manifest(path: Path) -> ShardManifest:
    """Read the manifest of a shard.

    Raises:
        TexthashError: no shard there, a manifest that is broken, or of a later version of texthash.
    """
    file, remedy = path / MANIFEST, "restore it from a copy, or build again."
    try:
        record = read_record(file, remedy)
    except FileNotFoundError:
        raise TexthashError(f"there is no shard at {path}.", "restore it, or build the index again.") from None
    found = record.get("format")
    if found not in READABLE:
        newer = isinstance(found, int) and found > FORMAT_VERSION
        raise TexthashError(
            f"{path} has index format {found!r}, this version reads {FORMAT_VERSION}.",
            "upgrade texthash." if newer else "build the index again.",
        )
    made = typed(_Record, record, file, remedy)
    return ShardManifest(**{field.name: getattr(made, field.name) for field in fields(ShardManifest)})


def read_index(index: Path) -> list[ShardManifest]:
    """Manifests of all shards of an index, in order.

    Raises:
        TexthashError: a shard is missing.
        ModelMismatchError: shards of different indexes lie side by side.
    """
    first = read_manifest(shard_path(index, 0))
    manifests = [read_manifest(shard_path(index, shard)) for shard in range(first.shards)]
    for number, manifest in enumerate(manifests):
        if (manifest.shard, manifest.shards, manifest.content) != (number, first.shards, first.content):
            raise ModelMismatchError(
                f"{shard_path(index, number)} is shard {manifest.shard} of {manifest.shards} with "
                f"{described(*manifest.content)}; shard 0 has {first.shards} shards, {described(*first.content)}.",
                "restore the shards of one index, or build it again.",
            )
    return manifests


def open_documents(path: Path, version: int | None, bits: int) -> lance.LanceDataset:
    """Open the dataset of a shard.

    Args:
        path: Directory of the shard.
        version: Lance version; None for the newest.
        bits: Width that its codes must have.

    Raises:
        TexthashError: the dataset or that version is missing or unreadable.
        ModelMismatchError: its codes have another width.
    """
    import lance

    try:
        # Its caches keep something of every version that was ever opened, up to 7 GiB by default.
        session = lance.Session(index_cache_size_bytes=_INDEX_CACHE, metadata_cache_size_bytes=_METADATA_CACHE)
        options = storage_options(path)
        dataset = lance.dataset(str(path / DOCUMENTS), version=version, session=session, storage_options=options)
    except BaseException as error:
        if not (isinstance(error, (ValueError, OSError, RuntimeError, pa.ArrowException)) or is_panic(error)):
            raise
        what = "" if version is None else f" in version {version}"
        raise TexthashError(f"{path / DOCUMENTS} cannot be opened{what}: {error}", REMEDY) from error
    missing = [field.name for field in schema(bits) if field.name not in (KNOWN, *dataset.schema.names)]
    if missing:
        raise TexthashError(f"{path} has no column {', '.join(missing)}.", "build the index again.")
    kind = dataset.schema.field("code").type
    if kind != pa.binary(bits // 8):
        raise ModelMismatchError(
            f"{path} holds codes of type {kind}, its manifest says {bits} bits.", "restore the shard, or build again."
        )
    return dataset


def check_version(path: Path, version: int, bits: int) -> lance.LanceDataset:
    """Open a version of a shard whose files all have the digests that are recorded of them.

    Raises:
        TexthashError: naming what is missing or damaged.
    """
    known = check_manifest(path, version)
    dataset = open_documents(path, version, bits)
    check_files(path, files_of(dataset), known)
    return dataset


def deal(batches: Iterable[pa.RecordBatch], shard: int, shards: int) -> Iterator[pa.RecordBatch]:
    """The rows of each batch that belong to a shard."""
    for batch in batches:
        mine = [shard_of(document_id, shards) == shard for document_id in batch.column("id").to_pylist()]
        kept = batch.filter(pa.array(mine, pa.bool_()))
        if kept.num_rows:
            yield kept
