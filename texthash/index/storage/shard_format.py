"""On-disk format of a shard: a Lance dataset of documents and codes, and a manifest that names the model.

    shard-0000/
      manifest.json      format, shard and shards, bits, model digest, vocabulary hash, documents, checksum, version
      digests/           size and SHA-256 of each file: see :mod:`texthash.index.storage.file_digests`
      documents.lance/   number int64, id, title, text, labels list<string>, code fixed-size binary [bits / 8],
                         known_words bool, in an index with keyword search words list<string>, in an index that stores
                         vectors, vector fixed-size list of float16 [width], and @NAME for each attribute of documents
      maps/              the documents once more, to be mapped: see :mod:`texthash.index.storage.document_map`

The shard of a document follows from a hash of its id, not from its number: a read, an upsert or a delete by id then
goes to one shard, and an id cannot occur in two shards. Document numbers come from one sequence over the whole index,
so the order of equal distances does not depend on the number of shards.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from texthash.api.attributes import AttributeType
from texthash.config import KeywordAnalysis, VectorKind
from texthash.errors import RENEW_CREDENTIALS, ModelMismatchError, TexthashError, refuses_credentials
from texthash.index.keywords.weights import WordWeights
from texthash.index.storage.arrow_schema import (
    ATTRIBUTES,
    DEFAULT_WEIGHTS,
    KNOWN,
    attribute_fields,
    codes_of,
    fitting,
    known_of,
    schema,
    with_words,
    words_field,
)
from texthash.index.storage.checksum import Checksum
from texthash.index.storage.document_map import write_map
from texthash.index.storage.file_digests import DOCUMENTS, check_files, check_listed, check_manifest, files_of, record
from texthash.index.storage.lance_errors import REMEDY, is_panic
from texthash.io.atomic import is_local, is_published, remove_directory, write_text
from texthash.io.fsync import FsyncTracker, sync
from texthash.io.records import RowChecksum, read_record, sealed, typed

if TYPE_CHECKING:
    import lance

FORMAT_VERSION = 7
# Format 2 has no vectors. Digests and documents without a known word exist from format 4 on, words from format 5 on,
# attributes from format 6 on, weights of the words from format 7 on.
READABLE = (2, 3, 4, 5, 6, FORMAT_VERSION)
_WITH_DIGESTS = 4
MANIFEST = "manifest.json"
_RESTORE = "restore it from a copy, or build again."
DOCUMENT_FIELDS = ("title", "text", "labels", ATTRIBUTES)
_INDEX_CACHE = 256 * 2**20
_SLICE_ROWS = 8192
_COLUMN_BYTES = 2_000_000  # of each column that Lance holds until it writes them; 8 MB by default
_METADATA_CACHE = 16 * 2**20


@dataclass(frozen=True)
class Vectors:
    """Kind of the vectors that an index stores beside the codes, for rescoring.

    Attributes:
        kind: Kind of the vectors, see :class:`texthash.config.IndexConfig`.
        width: Number of components of a vector.
    """

    kind: VectorKind
    width: int


Content = tuple[int, Vectors | None, str]


@dataclass(frozen=True, kw_only=True)
class ShardIdentity:
    """Identity of a shard.

    Attributes:
        shard: Position of the shard in the index, from 0.
        shards: Number of shards of the index.
        bits: Width of the codes.
        model: Digest of the model that made the codes.
        vocabulary_hash: Hash of that model's vocabulary.
        vectors: Kind and width of the stored vectors; None if the index stores none.
        keywords: Analysis of the words that are stored for keyword search; None if none are.
        attributes: Type of each attribute of the documents of the whole index.
        weights: Weights of the words.
    """

    shard: int
    shards: int
    bits: int
    model: str
    vocabulary_hash: str
    vectors: Vectors | None = None
    keywords: KeywordAnalysis | None = None
    attributes: dict[str, AttributeType] = field(default_factory=dict)
    weights: WordWeights = DEFAULT_WEIGHTS

    @property
    def content(self) -> Content:
        """Width of the codes, stored vectors, and digest of the model that made both."""
        return self.bits, self.vectors, self.model


@dataclass(frozen=True, kw_only=True)
class ShardManifest(ShardIdentity):
    """Manifest of a shard. It describes the dataset as built; a release names the version to read.

    Attributes:
        documents: Number of documents.
        checksum: Checksum of their numbers and codes, see :class:`Checksum`, in hexadecimal.
        next_number: One more than the largest document number of the whole index.
        lance_version: Version of the dataset as built.
        format: Version of the format.
    """

    documents: int
    checksum: RowChecksum
    next_number: int
    lance_version: int
    format: int = FORMAT_VERSION

    @property
    def lists_files(self) -> bool:
        """Whether all files of the shard have recorded digests, by the version of texthash that built it.

        What is not listed is not read then. A shard of an earlier version has digests of what was written to it later.
        """
        return self.format >= _WITH_DIGESTS


def described(bits: int, vectors: Vectors | None, model: str) -> str:
    """Return a description of the content of an index, for error messages."""
    more = "" if vectors is None else f" with {vectors.kind} of width {vectors.width}"
    return f"codes of {bits} bits{more} by model {model[:12]}"


def kind_of(vectors: Vectors | None) -> VectorKind | None:
    """Return the kind of the vectors of an index; None without vectors."""
    return None if vectors is None else vectors.kind


def width_of(vectors: Vectors | None) -> int:
    """Return the width of the vectors of an index; 0 without vectors."""
    return 0 if vectors is None else vectors.width


def shard_of(document_id: str, shards: int) -> int:
    """Return the shard of a document, by a hash of its id that is the same on every machine and in every version."""
    digest = hashlib.blake2b(document_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % shards


def shard_path(index: Path, shard: int) -> Path:
    """Return the directory of one shard of an index."""
    return index / f"shard-{shard:04d}"


def storage_options(path: Path) -> dict[str, str] | None:
    """Return the options that Lance needs for an object store beside the standard variables; None for a directory.

    An endpoint without TLS, such as one within a cluster, has to be allowed explicitly.
    """
    endpoints = (os.environ.get(name, "") for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"))
    plain = any(endpoint.startswith("http://") for endpoint in endpoints)
    return {"allow_http": "true"} if plain and not is_local(path) else None


def write_shard(
    path: Path,
    batches: Iterable[pa.RecordBatch],
    identity: ShardIdentity,
    next_number: int,
) -> ShardManifest:
    """Write a shard atomically and durably.

    In a directory it is written under a temporary name and renamed. In an object store its manifest is written last; a
    shard without a manifest does not exist.

    Args:
        path: Directory of the new shard, which must not exist.
        batches: Rows in the form of :func:`texthash.index.storage.arrow_schema.schema`, and attributes that they have,
            by ascending number.
        identity: Identity of the shard; the manifest of a shard with the same identity will do.
        next_number: One more than the largest document number of the whole index.

    Raises:
        TexthashError: The shard exists, or it cannot be written; no part of it is left behind.
    """
    import lance

    if is_written(path):
        raise TexthashError(f"{path} exists already.", "a shard is never overwritten: build under another name.")
    partial = path.with_name(f".{path.name}.partial") if is_local(path) else path
    remove_directory(partial)
    columns = schema(identity.bits, width_of(identity.vectors))
    for column in attribute_fields(identity.attributes):
        columns = columns.append(column)
    if identity.keywords is not None:
        columns = columns.append(words_field(identity.keywords, identity.weights))
    checksum = Checksum()
    failures: list[Exception] = []

    def counted() -> Iterator[pa.RecordBatch]:
        for batch in _slices(_source(batches, path, failures)):
            numbers, codes = batch.column("number").to_numpy(), codes_of(batch.column("code"), identity.bits)
            checksum.add(numbers, codes, known_of(batch))
            rows = pa.Table.from_batches([batch])
            if identity.keywords is not None:
                rows = with_words(rows, columns)
            yield from fitting(rows, columns).to_batches()

    try:
        if is_local(path):
            partial.mkdir(parents=True)
        reader = pa.RecordBatchReader.from_batches(columns, counted())
        options = storage_options(partial)
        dataset = lance.write_dataset(
            reader, str(partial / DOCUMENTS), schema=columns, storage_options=options, **_buffers(columns)
        )
        dataset.create_scalar_index("id", "BTREE")
        write_map(partial, dataset)
        manifest = ShardManifest(
            **{field.name: getattr(identity, field.name) for field in fields(ShardIdentity)},
            documents=dataset.count_rows(),
            checksum=str(checksum),
            next_number=next_number,
            lance_version=dataset.version,
        )
        record(partial, files_of(dataset), dataset.version)
        members = asdict(manifest)
        write_text(partial / MANIFEST, json.dumps(sealed(members), indent=2))
        if is_local(path):
            FsyncTracker(partial).sync()
            partial.rename(path)
            sync(path.parent)
    except BaseException as error:
        if failures:
            raise failures[0] from error
        if not isinstance(error, OSError) and not is_panic(error):
            raise
        if refuses_credentials(error):
            reason = f"the object store refuses the credentials, such as expired ones: {error}"
            raise TexthashError(f"{path} could not be written: {reason}", RENEW_CREDENTIALS) from error
        raise TexthashError(
            f"{path} could not be written: {error}", "make room or grant access, then try again."
        ) from error
    finally:
        if partial != path:
            remove_directory(partial)
    return manifest


def _buffers(columns: pa.Schema) -> dict[str, Any]:
    """Return how much Lance holds of all columns, as an argument, which earlier versions do not have."""
    import lance

    known = "data_cache_bytes" in inspect.signature(lance.write_dataset).parameters
    return {"data_cache_bytes": _COLUMN_BYTES * len(columns)} if known else {}


def _source(batches: Iterable[pa.RecordBatch], path: Path, failures: list[Exception]) -> Iterator[pa.RecordBatch]:
    """Yield batches, and add the error of their source to ``failures``, as Lance keeps only the text of it."""
    try:
        yield from batches
    except BaseException as error:
        if isinstance(error, OSError) or is_panic(error):
            failures.append(TexthashError(f"what {path} is made of cannot be read: {error}", REMEDY))
        elif isinstance(error, Exception):  # not the end of this generator, nor an interrupt
            failures.append(error)
        raise


def _slices(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield the rows of batches in slices of a few: words are analysed in many times the memory of the texts."""
    for batch in batches:
        for first in range(0, batch.num_rows, _SLICE_ROWS):
            yield batch.slice(first, _SLICE_ROWS)


def is_written(path: Path) -> bool:
    """Return whether a complete shard exists."""
    return is_published(path, MANIFEST)


def read_manifest(path: Path) -> ShardManifest:
    """Read the manifest of a shard.

    Raises:
        TexthashError: The shard does not exist, or its manifest is broken or of a later version of texthash.
    """
    file, remedy = path / MANIFEST, _RESTORE
    try:
        record = read_record(file, remedy)
    except FileNotFoundError:
        raise TexthashError(f"there is no shard at {path}.", "restore it, or build the index again.") from None
    found = record.get("format")
    if found not in READABLE:
        newer = isinstance(found, int) and found > FORMAT_VERSION
        raise TexthashError(
            f"{path} has index format {found!r}, but this version reads {FORMAT_VERSION}.",
            "upgrade texthash." if newer else "build the index again.",
        )
    return typed(ShardManifest, record, file, remedy)


def read_index(index: Path) -> list[ShardManifest]:
    """Read the manifests of all shards of an index, in order.

    Raises:
        TexthashError: A shard is missing.
        ModelMismatchError: The shards belong to different indexes.
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
        version: Lance version; None opens the newest.
        bits: Expected width of the codes.

    Raises:
        TexthashError: The dataset or that version is missing or unreadable.
        ModelMismatchError: The codes have another width.
    """
    import lance

    try:
        # Lance caches metadata of every version that was ever opened, up to 7 GiB by default.
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
            f"{path} holds codes of type {kind}, but its manifest has {bits} bits.",
            "restore the shard, or build again.",
        )
    return dataset


def check_version(path: Path, version: int, bits: int) -> lance.LanceDataset:
    """Open a version of a shard after comparing all of its files with their recorded digests.

    Raises:
        TexthashError: A file is missing, damaged or not listed; the error names it.
    """
    known = check_manifest(path, version)
    dataset = open_documents(path, version, bits)
    files = files_of(dataset)
    if read_manifest(path).lists_files:
        check_listed(path, files, known)
    check_files(path, files, known)
    return dataset


def deal(batches: Iterable[pa.RecordBatch], shard: int, shards: int) -> Iterator[pa.RecordBatch]:
    """Yield the rows of each batch that belong to a shard."""
    for batch in batches:
        mine = [shard_of(document_id, shards) == shard for document_id in batch.column("id").to_pylist()]
        kept = batch.filter(pa.array(mine, pa.bool_()))
        if kept.num_rows:
            yield kept
