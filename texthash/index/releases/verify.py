"""Verification of an index.

Its files must be intact, its rows match its release, and its model reproduce its codes and vectors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from texthash.errors import StorageUnavailableError, TexthashError
from texthash.index.releases.release import Release, list_releases, read_pointer, read_release
from texthash.index.releases.snapshots import snapshot_releases
from texthash.index.storage.arrow_schema import KNOWN, VECTOR, codes_of, known_of, vectors_of
from texthash.index.storage.checksum import Checksum
from texthash.index.storage.document_map import newest_map
from texthash.index.storage.file_digests import add_missing, check_files, check_listed, check_manifest, files_of
from texthash.index.storage.lance_errors import reading
from texthash.index.storage.shard_format import kind_of, open_documents, read_manifest, shard_of
from texthash.progress import track

if TYPE_CHECKING:
    import lance

    from texthash.models.hasher import Hasher
    from texthash.paths import StateDir

SAMPLE = 1_000
_ROWS = 65_536
_LOOKED_UP = 8_192
# Covers half precision of components of at most 1, and sums that depend slightly on the other texts of a batch.
_TOLERANCE = 1e-3
# Values this close to their cut, as a share of their root mean square, may fall to its other side by half precision.
_CLOSE = 0.05
_SEED = 0  # of the sample


@dataclass(frozen=True)
class Finding:
    """Result of one check of an index.

    Attributes:
        check: Subject of the check.
        ok: True if the check passed.
        found: Description of the result.
    """

    check: str
    ok: bool
    found: str


def verify(home: StateDir, release: str = "current", sample: int = SAMPLE) -> list[Finding]:
    """Check a release: records, model, files, numbers, ids, codes, vectors.

    Reads every file of the release once, reads all ids and codes again, and looks up every id. Takes about 8 bytes of
    memory per document. Rows of a shard with damaged files are not read, because that could crash the process.

    Args:
        home: State directory.
        release: Name of the release, or ``"current"``.
        sample: Number of documents of the whole index whose text is encoded again and compared with the stored code.

    Returns:
        One finding per check. A failed check does not stop the others.

    Raises:
        TexthashError: The release does not exist.
    """
    read_release(home, release)
    return [_found("records", partial(_records, home)), *verify_release(home, release, sample)]


def verify_release(home: StateDir, release: str = "current", sample: int = SAMPLE) -> list[Finding]:
    """Verify model and shards of one release as :func:`verify` does, without the records of the others."""
    record = read_release(home, release)
    findings: list[Finding] = []
    share = -(-sample // len(record.shards))

    def check(name: str, look: Callable[[], str]) -> None:
        findings.append(_found(name, look))

    hashers: list[Hasher] = []
    numbers: list[np.ndarray] = []
    check("model", partial(_model, home, record, hashers))
    for shard in track(range(len(record.shards)), "verifying shards"):
        check(f"shard {shard}: files", partial(_files, home, record, shard))
        if not findings[-1].ok:
            findings.append(Finding(f"shard {shard}: rows", False, "cannot be read while files are damaged"))
            continue
        check(f"shard {shard}: rows", partial(_rows, home, record, shard, numbers))
        check(f"shard {shard}: ids", partial(_ids, home, record, shard))
        if hashers:
            check(f"shard {shard}: codes", partial(_codes, home, record, shard, hashers[0], share))
            if record.vectors is not None:
                check(f"shard {shard}: vectors", partial(_vectors, home, record, shard, hashers[0], share))
    check("document numbers", partial(_numbers, record, numbers))
    return findings


def _found(name: str, look: Callable[[], str]) -> Finding:
    try:
        with reading("a file"):
            return Finding(name, True, look())
    except StorageUnavailableError:
        raise
    except TexthashError as error:
        return Finding(name, False, error.problem)


def _model(home: StateDir, record: Release, hashers: list[Hasher]) -> str:
    hashers.append(record.open_hasher(home))
    return f"{record.model_uri}: {record.method}, {record.bits} bits, digest {record.model_digest[:12]}"


def add_checksums(home: StateDir, release: str = "current") -> int:
    """Record the present size and SHA-256 of those files of a release that have none yet, and return their number.

    Raises:
        TexthashError: The release does not exist, or a file cannot be opened.
    """
    record = read_release(home, release)
    return sum(
        add_missing(home.path(state.uri), _open(home, record, shard)) for shard, state in enumerate(record.shards)
    )


def _records(home: StateDir) -> str:
    read_pointer(home)
    releases, snapshots = list_releases(home), snapshot_releases(home)
    return f"the pointer, {len(releases)} releases, {len(snapshots)} of them held by snapshots"


def _files(home: StateDir, record: Release, shard: int) -> str:
    record.check_shard(home, shard)
    path, version = home.path(record.shards[shard].uri), record.shards[shard].version
    known = check_manifest(path, version)
    dataset = _open(home, record, shard)
    files = files_of(dataset)
    if mapped := newest_map(known, version):  # It is not among the files where it is missing.
        files.add(mapped)
    # Files of other versions are checked too: releases, snapshots and the next writer need them.
    others = [name for name in known if name not in files and (path / name).exists()]
    if read_manifest(path).lists_files:
        check_listed(path, files, known)
    unknown = check_files(path, [*files, *others], known)
    found = f"version {version} of {record.shards[shard].uri}, codes of {record.bits} bits, "
    if not unknown:
        return found + f"{len(files)} files unchanged"
    return found + (
        f"{len(files) - unknown} files unchanged; {unknown} were written by an earlier version, without checksums, "
        f"so damage to texts, titles and labels in them is not found: "
        f"`texthash index verify --add-checksums` adds checksums"
    )


def _rows(home: StateDir, record: Release, shard: int, numbers: list[np.ndarray]) -> str:
    state, dataset, checksum = record.shards[shard], _open(home, record, shard), Checksum()
    ids: Counter[int] = Counter()
    found, misplaced = [], 0
    unknown = 0
    for batch in _read(dataset, ["number", "id", "code", *([KNOWN] if KNOWN in dataset.schema.names else [])]):
        found.append(batch.column("number").to_numpy())
        known = known_of(batch)
        unknown += int((~known).sum())
        checksum.add(found[-1], codes_of(batch.column("code"), record.bits), known)
        names = batch.column("id").to_pylist()
        misplaced += sum(shard_of(name, len(record.shards)) != shard for name in names)
        ids.update(map(hash, names))
    mine = np.concatenate([*found, np.empty(0, np.int64)])
    numbers.append(mine)
    problems = [
        (len(mine) != state.documents, f"{len(mine)} documents, but the release has {state.documents}"),
        (str(checksum) != state.checksum, f"checksum {checksum}, but the release has {state.checksum}"),
        (misplaced > 0, f"{misplaced} ids belong to another shard"),
        (len(ids) != len(mine), f"{len(mine) - len(ids)} ids occur twice"),
    ]
    wrong = [text for is_wrong, text in problems if is_wrong]
    if wrong:
        raise TexthashError("; ".join(wrong))
    note = f", {unknown} without a known word" if unknown else ""
    return f"{len(mine)} documents{note}, checksum {checksum}"


def _ids(home: StateDir, record: Release, shard: int) -> str:
    """Look up every id as a read of the document does, by the index of ids."""
    dataset = _open(home, record, shard)
    count = wrong = 0
    first = ""
    for batch in dataset.to_batches(columns=["number", "id"], batch_size=_LOOKED_UP):
        ids, numbers = batch.column("id").to_pylist(), batch.column("number").to_pylist()
        found = dataset.to_table(columns=["number", "id"], filter=pc.field("id").isin(ids))
        rows = Counter(zip(found["id"].to_pylist(), found["number"].to_pylist(), strict=True))
        lost = [id_ for id_, number in zip(ids, numbers, strict=True) if rows[id_, number] != 1]
        first = first or (lost[0] if lost else "")
        count, wrong = count + len(ids), wrong + len(lost)
    if wrong:
        raise TexthashError(f"{wrong} of {count} ids are not found by a lookup (first: {first!r})")
    return f"{count} ids are found by a lookup"


def _codes(home: StateDir, record: Release, shard: int, hasher: Hasher, sample: int) -> str:
    from texthash.models.vectors import reads_stored_vectors

    dataset = _open(home, record, shard)
    if reads_stored_vectors(hasher.method, None):
        return _codes_of_vectors(dataset, record, hasher, sample)
    # A method may define the codes of its training documents; encoding their text does not reproduce these.
    own = hasher.method.keeps_codes()
    condition = "text != ''" + (f" AND number >= {hasher.method.shape.documents}" if own else "")
    table = _sample(dataset, "code", sample, condition)
    if not len(table):
        return "no document whose code follows from its text"
    read = hasher.read(table["text"].to_pylist())
    stored, encoded = codes_of(table["code"], record.bits), hasher.binarize(read.values)
    # The column is null for documents that were written before it existed.
    recorded = KNOWN in table.schema.names and np.asarray(table[KNOWN].is_valid().to_numpy(), np.bool_)
    differing = recorded & (known_of(table) != read.known)
    found = _check_equal(table, (stored != encoded).any(axis=1), "code")
    _check_equal(table, differing, f"value of {KNOWN}")
    return found


def _vectors(home: StateDir, record: Release, shard: int, hasher: Hasher, sample: int) -> str:
    from texthash.models.vectors import reads_stored_vectors

    if reads_stored_vectors(hasher.method, kind_of(record.vectors)):
        return _own_vectors(_open(home, record, shard), sample)
    table = _sample(_open(home, record, shard), VECTOR, sample, "text != ''")
    if not len(table):
        return "no document"
    stored = vectors_of(table[VECTOR]).astype(np.float32)
    encoded = hasher.read(table["text"].to_pylist(), vectors=kind_of(record.vectors)).vectors
    assert encoded is not None  # The release has a kind of vectors.
    if stored.shape != encoded.shape:
        raise TexthashError(f"stored vectors have shape {stored.shape[1:]}, those of the model {encoded.shape[1:]}")
    return _check_equal(table, np.abs(stored - encoded).max(axis=1) > _TOLERANCE, "vector")


def _codes_of_vectors(dataset: lance.LanceDataset, record: Release, hasher: Hasher, sample: int) -> str:
    """Compare codes with those of the stored vectors, in which a bit may differ whose value is close to its cut."""
    if kind_of(record.vectors) != "features":
        return f"not checked: they follow from vectors by {hasher.method.shape.encoder}, which the index does not store"
    table = _sample(dataset, "code", sample, "true", VECTOR)
    if not len(table):
        return "no document"
    read = hasher.read(table["text"].to_pylist(), features=vectors_of(table[VECTOR]))
    margins = hasher.pre_threshold_margins(read.values)
    bits = np.unpackbits(codes_of(table["code"], record.bits), axis=1)
    sure = np.abs(margins) > _CLOSE * np.sqrt(np.square(margins).mean())
    return _check_equal(table, ((bits != (margins > 0)) & sure).any(axis=1), "code")


def _own_vectors(dataset: lance.LanceDataset, sample: int) -> str:
    table = _sample(dataset, VECTOR, sample, "true")
    if not len(table):
        return "no document"
    lengths = np.linalg.norm(vectors_of(table[VECTOR]).astype(np.float32), axis=1)
    wrong = ~(np.abs(lengths - 1) < 10 * _TOLERANCE)
    if wrong.any():
        first = table["id"][int(np.argmax(wrong))].as_py()
        raise TexthashError(f"{int(wrong.sum())} of {len(table)} vectors do not have length 1 (first: {first!r})")
    return f"{len(table)} vectors have length 1; no text gives them"


def _sample(dataset: lance.LanceDataset, column: str, size: int, condition: str, *more: str) -> pa.Table:
    """Return id, text and one or more columns of a random sample of documents."""
    numbers = dataset.to_table(columns=["number"], filter=condition)["number"].to_numpy()
    chosen = ", ".join(map(str, np.random.default_rng(_SEED).permutation(numbers)[:size]))
    columns = ["id", "text", column, *more, *([KNOWN] if KNOWN in dataset.schema.names else [])]
    return dataset.to_table(columns=columns, filter=f"number IN ({chosen})" if chosen else "false")


def _check_equal(table: pa.Table, differing: np.ndarray, what: str) -> str:
    rows = np.flatnonzero(differing)
    if len(rows):
        first = table["id"][int(rows[0])].as_py()
        raise TexthashError(f"{len(rows)} of {len(table)} texts have another {what} now (first: {first!r})")
    return f"{len(table)} texts have the stored {what}"


def _numbers(record: Release, numbers: list[np.ndarray]) -> str:
    everything = np.concatenate([*numbers, np.empty(0, np.int64)])
    twice = len(everything) - len(np.unique(everything))
    beyond = int((everything >= record.next_number).sum())
    if twice or beyond:
        raise TexthashError(f"{twice} numbers occur twice, {beyond} are not below {record.next_number}")
    return f"all different, below {record.next_number}"


def _open(home: StateDir, record: Release, shard: int) -> lance.LanceDataset:
    state = record.shards[shard]
    return open_documents(home.path(state.uri), state.version, record.bits)


def _read(dataset: lance.LanceDataset, columns: list[str]) -> Iterator[pa.RecordBatch]:
    yield from dataset.to_batches(columns=columns, batch_size=_ROWS)
