"""Looking an index over: is it whole, is it what its release says, does its model still make its codes and vectors?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from texthash.errors import TexthashError
from texthash.index.releases.release import Release, read_release
from texthash.index.storage.arrow_schema import VECTOR, codes_of, vectors_of
from texthash.index.storage.checksum import Checksum
from texthash.index.storage.shard_format import kind_of, open_documents, reading, shard_of
from texthash.progress import track

if TYPE_CHECKING:
    import lance

    from texthash.models.hasher import Hasher
    from texthash.paths import Home

SAMPLE = 1_000
_ROWS = 65_536
# Half precision of components of at most 1, and sums that depend a little on what is encoded with a text.
_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Finding:
    """One check of an index.

    Attributes:
        check: What was looked at.
        ok: Whether it is as it should be.
        found: What was found.
    """

    check: str
    ok: bool
    found: str


def verify(home: Home, release: str = "current", sample: int = SAMPLE, seed: int = 0) -> list[Finding]:
    """Check a release: model, shards, numbers, ids, codes, vectors.

    Reads all ids and codes once; memory grows with the number of documents by 8 bytes each.

    Args:
        home: State directory.
        release: Name, or ``"current"``.
        sample: Documents of the whole index whose text is encoded again and compared with the code kept.
        seed: Which documents these are.

    Returns:
        A finding for each check, all of which were made.

    Raises:
        TexthashError: no such release.
    """
    record = read_release(home, release)
    findings: list[Finding] = []
    share = -(-sample // len(record.shards))

    def check(name: str, look: Callable[[], str]) -> None:
        try:
            with reading("a file"):
                findings.append(Finding(name, True, look()))
        except TexthashError as error:
            findings.append(Finding(name, False, error.problem))

    hashers: list[Hasher] = []
    numbers: list[np.ndarray] = []
    check("model", partial(_model, home, record, hashers))
    for shard in track(range(len(record.shards)), "verifying shards"):
        check(f"shard {shard}: files", partial(_files, home, record, shard))
        check(f"shard {shard}: rows", partial(_rows, home, record, shard, numbers))
        if hashers:
            check(f"shard {shard}: codes", partial(_codes, home, record, shard, hashers[0], share, seed))
            if record.vectors is not None:
                check(f"shard {shard}: vectors", partial(_vectors, home, record, shard, hashers[0], share, seed))
    check("document numbers", partial(_numbers, record, numbers))
    return findings


def _model(home: Home, record: Release, hashers: list[Hasher]) -> str:
    hashers.append(record.open_hasher(home))
    return f"{record.model_uri}: {record.method}, {record.bits} bits, digest {record.model_digest[:12]}"


def _files(home: Home, record: Release, shard: int) -> str:
    record.check_shard(home, shard)
    dataset = _open(home, record, shard)
    return f"version {dataset.version} of {record.shards[shard].uri}, codes of {record.bits} bits"


def _rows(home: Home, record: Release, shard: int, numbers: list[np.ndarray]) -> str:
    state, dataset, checksum = record.shards[shard], _open(home, record, shard), Checksum()
    ids: Counter[int] = Counter()
    found, strange = [], 0
    for batch in _read(dataset, ["number", "id", "code"]):
        found.append(batch.column("number").to_numpy())
        checksum.add(found[-1], codes_of(batch.column("code"), record.bits))
        names = batch.column("id").to_pylist()
        strange += sum(shard_of(name, len(record.shards)) != shard for name in names)
        ids.update(map(hash, names))
    mine = np.concatenate([*found, np.empty(0, np.int64)])
    numbers.append(mine)
    problems = [
        (len(mine) != state.documents, f"{len(mine)} documents, the release says {state.documents}"),
        (str(checksum) != state.checksum, f"checksum {checksum}, the release says {state.checksum}"),
        (strange > 0, f"{strange} ids belong to another shard"),
        (len(ids) != len(mine), f"{len(mine) - len(ids)} ids occur twice"),
    ]
    wrong = [text for is_wrong, text in problems if is_wrong]
    if wrong:
        raise TexthashError("; ".join(wrong))
    return f"{len(mine)} documents, checksum {checksum}"


def _codes(home: Home, record: Release, shard: int, hasher: Hasher, sample: int, seed: int) -> str:
    from texthash.methods.base import HashMethod

    dataset = _open(home, record, shard)
    # A method may give its training documents codes of their own, which no encoding of the text repeats.
    own = type(hasher.method).database_codes is not HashMethod.database_codes
    condition = f"number >= {hasher.method.shape.documents}" if own else None
    table = _sample(dataset, "code", sample, seed, condition)
    if not len(table):
        return "no document whose code its text gives"
    kept, made = codes_of(table["code"], record.bits), hasher.encode(table["text"].to_pylist())
    return _alike(table, (kept != made).any(axis=1), "code")


def _vectors(home: Home, record: Release, shard: int, hasher: Hasher, sample: int, seed: int) -> str:
    table = _sample(_open(home, record, shard), VECTOR, sample, seed)
    if not len(table):
        return "no document"
    kept = vectors_of(table[VECTOR]).astype(np.float32)
    made = hasher.read(table["text"].to_pylist(), vectors=kind_of(record.vectors)).vectors
    assert made is not None  # they were asked for
    if kept.shape != made.shape:
        raise TexthashError(f"vectors of shape {kept.shape[1:]} are kept, the model makes {made.shape[1:]}")
    return _alike(table, np.abs(kept - made).max(axis=1) > _TOLERANCE, "vector")


def _sample(dataset: lance.LanceDataset, column: str, size: int, seed: int, condition: str | None = None) -> pa.Table:
    """Id, text and a column of some documents."""
    numbers = dataset.to_table(columns=["number"], filter=condition)["number"].to_numpy()
    chosen = ", ".join(map(str, np.random.default_rng(seed).permutation(numbers)[:size]))
    columns = ["id", "text", column]
    return dataset.to_table(columns=columns, filter=f"number IN ({chosen})" if chosen else "false")


def _alike(table: pa.Table, differing: np.ndarray, what: str) -> str:
    places = np.flatnonzero(differing)
    if len(places):
        first = table["id"][int(places[0])].as_py()
        raise TexthashError(f"{len(places)} of {len(table)} texts have another {what} now (first: {first!r})")
    return f"{len(table)} texts have the {what} that is kept"


def _numbers(record: Release, numbers: list[np.ndarray]) -> str:
    everything = np.concatenate([*numbers, np.empty(0, np.int64)])
    twice = len(everything) - len(np.unique(everything))
    beyond = int((everything >= record.next_number).sum())
    if twice or beyond:
        raise TexthashError(f"{twice} numbers occur twice, {beyond} are not below {record.next_number}")
    return f"all different, below {record.next_number}"


def _open(home: Home, record: Release, shard: int) -> lance.LanceDataset:
    state = record.shards[shard]
    return open_documents(home.path(state.uri), state.version, record.bits)


def _read(dataset: lance.LanceDataset, columns: list[str]) -> Iterator[pa.RecordBatch]:
    yield from dataset.to_batches(columns=columns, batch_size=_ROWS)
