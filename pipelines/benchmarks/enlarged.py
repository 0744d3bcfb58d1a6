"""Larger index for measurements: repeated copies of a release's documents, with some bits of their codes flipped."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from texthash.index.releases.publish import publish
from texthash.index.releases.release import Release, open_release
from texthash.index.storage.arrow_schema import Coded, with_codes
from texthash.index.storage.shard_format import ShardIdentity, deal, shard_path, write_shard
from texthash.paths import StateDir
from texthash.progress import log_line

_FLIPPED = 0.05
_ROWS = 8192


def enlarge(home: StateDir, release: Release, documents: int, place: Path, characters: int | None = None) -> StateDir:
    """Create a state directory with a release of ``documents`` documents, by the same model and in as many shards.

    The first ones are the documents of the release, unchanged. Each further round repeats them under new ids, with one
    in twenty bits of each code flipped, so that the codes are as spread out and as clustered as those of that many
    documents.

    Args:
        home: State directory of the release.
        release: Release to enlarge.
        documents: Number of documents of the new release.
        place: Path of the new state directory.
        characters: Length of the texts that are kept, of an index without words; None keeps both whole.
    """
    made, shards = StateDir(place), len(release.shards)
    model = Path(shutil.copytree(home.path(release.model_uri), made.root / "models" / "enlarged"))
    rows = _rows(home, release)
    if characters is not None:
        rows = rows.set_column(
            rows.schema.get_field_index("text"), "text", pc.utf8_slice_codeunits(rows["text"], 0, characters)
        )
    log_line(f"enlarge: {rows.num_rows:,} documents to {documents:,}")
    index = made.index / f"enlarged-{documents}"
    for shard in range(shards):
        identity = ShardIdentity(
            shard=shard,
            shards=shards,
            bits=release.bits,
            model=release.model_digest,
            vocabulary_hash=release.vocabulary_hash,
            keywords=release.keywords if characters is None else None,
        )
        mine = deal(_rounds(rows, release.bits, documents), shard, shards)
        write_shard(shard_path(index, shard), mine, identity, next_number=documents)
    publish(made, model, index, model=release.model, model_version=release.model_version)
    return made


def _rows(home: StateDir, release: Release) -> pa.Table:
    """Return all documents of a release with their codes, without numbers."""
    found = []
    for shard in open_release(home, release.name).shards:
        found += shard.documents(shard.numbers, ["title", "text", "labels", "code"])
    return pa.Table.from_pylist(found)


def _rounds(rows: pa.Table, bits: int, documents: int) -> Iterator[pa.RecordBatch]:
    """Yield the rows of the index in the order of their numbers; every call yields the same rows."""
    generator = np.random.default_rng(0)
    plain = np.frombuffer(b"".join(rows["code"].to_pylist()), np.uint8).reshape(rows.num_rows, bits // 8)
    for start in range(0, documents, rows.num_rows):
        turn, table, codes = start // rows.num_rows, rows.slice(0, documents - start), plain[: documents - start]
        ids = table["id"]
        if turn:
            flips = np.packbits(generator.random((len(codes), bits), np.float32) < _FLIPPED, axis=1)
            codes = codes ^ flips
            ids = pa.array([f"{name}#{turn}" for name in table["id"].to_pylist()])
        columns = {name: table[name] for name in ("title", "text", "labels")}
        columns |= {"number": np.arange(start, start + len(codes)), "id": ids}
        yield from with_codes(pa.table(columns), Coded(codes)).to_batches(_ROWS)
