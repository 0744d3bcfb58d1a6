"""Backups: a release with all that it needs, in a directory or object store of its own.

<target>/
  shard-0000/ ...   the shards, written anew: without deleted rows and older versions
  model/            the model's files
  backup.json       the release; sent last, so a backup with one is whole
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from texthash.errors import TexthashError
from texthash.index.releases.publish import publish
from texthash.index.releases.release import Release, read_release
from texthash.index.storage.arrow_schema import schema
from texthash.index.storage.shard_format import (
    is_written,
    open_documents,
    read_index,
    read_manifest,
    shard_path,
    width_of,
    write_shard,
)
from texthash.io.atomic import whole, write_text
from texthash.paths import place
from texthash.progress import track

if TYPE_CHECKING:
    from texthash.paths import Home

_RECORD, _MODEL = "backup.json", "model"
_ROWS = 8_192


def back_up(home: Home, target: str, release: str = "current") -> Release:
    """Copy a release to an empty directory or prefix. One that was interrupted goes on with the next shard.

    Args:
        home: State directory.
        target: Directory, or an address such as ``s3://bucket/backups/monday``.
        release: Name of a release, or ``"current"``.

    Raises:
        TexthashError: the target holds another backup, or a part of the release is missing.
    """
    record = read_release(home, release)
    record.check(home)
    root = place(target)
    if (root / _RECORD).exists():
        raise TexthashError(f"{target} holds a backup already.", "name another place for this one.")
    for number, state in track(list(enumerate(record.shards)), "backing up shards"):
        source = home.path(state.uri)
        _copy_shard(source, state.version, shard_path(root, number), record.next_number)
    for file in home.path(record.model_uri).iterdir():
        _copy_file(file, root / _MODEL / file.name)
    write_text(root / _RECORD, json.dumps(asdict(record), indent=2))
    return record


def restore_backup(home: Home, source: str) -> Release:
    """Bring a backup into this state directory, and make it the release that is served.

    Raises:
        TexthashError: there is no whole backup.
    """
    home.make()
    root = place(source)
    if not (root / _RECORD).exists():
        raise TexthashError(f"there is no whole backup in {source}.", f"name the place that holds {_RECORD}.")
    record = json.loads((root / _RECORD).read_text(encoding="utf-8"))
    manifests = read_index(root)
    fingerprint = "".join(manifest.checksum[:4] for manifest in manifests)[:12]
    index = home.index / f"{record['model']}-restored-{fingerprint}-{len(manifests)}"
    for manifest in track(manifests, "restoring shards"):
        target = shard_path(index, manifest.shard)
        if not is_written(target):
            _copy_shard(shard_path(root, manifest.shard), manifest.lance_version, target, manifest.next_number)
    model = home.root / "models" / f"{record['model']}-{record['model_digest'][:12]}"
    for file in (root / _MODEL).iterdir():
        _copy_file(file, model / file.name)
    facts = {name: record[name] for name in ("model", "model_version", "run", "commit")}
    return publish(home, model, index, **facts)


def _copy_shard(source: Path, version: int, target: Path, next_number: int) -> None:
    """Write a version of a shard anew, in the order of its numbers; what is there already stays."""
    if is_written(target):
        return
    manifest = read_manifest(source)
    dataset = open_documents(source, version, manifest.bits)
    columns = schema(manifest.bits, width_of(manifest.vectors))

    def rows() -> Iterator[pa.RecordBatch]:
        numbers = dataset.to_table(columns=["number"])["number"].to_numpy()
        order = numbers.argsort(kind="stable")
        for first in range(0, len(order), _ROWS):
            table = dataset.take(order[first : first + _ROWS], columns=columns.names)
            yield from table.cast(columns).combine_chunks().to_batches()

    write_shard(target, rows(), manifest, next_number)


def _copy_file(source: Path, target: Path) -> None:
    with whole(target) as partial:
        partial.write_bytes(source.read_bytes())
