"""Backups: a release with its shards and its model, in a separate directory or object store.

<target>/
  shard-0000/ ...   the shards, rewritten without deleted rows and older versions
  model/            files of the model
  started.json      the same record while the backup is incomplete
  backup.json       sealed record of the release; written last, so it marks a complete backup

Copies are compared with their digests and checksums, both when the backup is taken and when it is restored. The content
of a backup cannot choose where files are written: names have a form that is no path, and links are not followed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from texthash.errors import ModelMismatchError, TexthashError, UsageError
from texthash.index.releases.publish import publish
from texthash.index.releases.release import RESTORED, Release, ShardState, read_release, record_of, release_of
from texthash.index.storage.arrow_schema import (
    DEFAULT_WEIGHTS,
    KNOWN,
    analysis_of,
    attribute_columns,
    schema,
    weights_of,
)
from texthash.index.storage.file_digests import recorded
from texthash.index.storage.lance_errors import reading
from texthash.index.storage.shard_format import (
    MANIFEST,
    ShardManifest,
    check_version,
    is_written,
    read_index,
    read_manifest,
    shard_path,
    width_of,
    write_shard,
)
from texthash.io.atomic import exclusive, is_local, whole, write_text
from texthash.io.listing import matching
from texthash.io.outputs import output_folder
from texthash.io.records import read_record
from texthash.models.files import MODEL_FILES, digest
from texthash.paths import as_path, check_prefix
from texthash.progress import track

if TYPE_CHECKING:
    import lance

    from texthash.paths import StateDir

_RECORD, _STARTED, _MODEL = "backup.json", "started.json", "model"
_LOCK = ".lock"
_ROWS = 8_192
_OWN = re.compile(r"\.lock|\.?(shard-\d+|model|started\.json|backup\.json)(\..*)?")  # with unfinished ones
_REMEDY = "take another backup; this one cannot be used."


def back_up(home: StateDir, target: str, release: str = "current") -> Release:
    """Copy a release to an empty directory or prefix. An interrupted backup of it continues with the next shard.

    Another process that copies to the same directory is waited for.

    Args:
        home: State directory.
        target: Directory, or a URI such as ``s3://bucket/backups/monday``.
        release: Name of a release, or ``"current"``.

    Raises:
        TexthashError: The target holds another backup, or a part of one; or a part of the release is missing or
            damaged.
    """
    record = read_release(home, release)
    record.check(home)
    root = _target(target)
    with exclusive(root / _LOCK):
        if (root / _RECORD).exists():
            raise TexthashError(f"{target} holds a backup already.", "choose another target.")
        _check_own(root)
        content = json.dumps(record_of(record), indent=2)
        _begin(root, content)
        for number, state in track(list(enumerate(record.shards)), "backing up shards"):
            source = home.path(state.uri)
            _copy_shard(source, state, shard_path(root, number), record)
        _copy_model(home.path(record.model_uri), root / _MODEL, record.model_digest)
        write_text(root / _RECORD, content)
        (root / _STARTED).unlink(missing_ok=True)
    return record


def _target(target: str) -> Path:
    check_prefix(target)
    root = as_path(target)
    if not target.isprintable():  # Lance takes no such path.
        raise UsageError(f"the target {target!r} has characters that cannot be printed.", "choose another target.")
    return output_folder(root) if is_local(root) else root


def _check_own(root: Path) -> None:
    """Raise :class:`UsageError` for a directory or prefix that holds something else than an unfinished backup."""
    others = [path.name for path in matching(root, "*") if not _OWN.fullmatch(path.name)]
    if others:
        raise UsageError(
            f"{root} holds other files, such as {others[0]}.", "a backup needs a directory or prefix of its own."
        )


def _begin(root: Path, content: str) -> None:
    """Record which release is copied, since shards of equal codes may differ in everything else.

    Raises:
        TexthashError: The target holds a part of a backup of another release.
    """
    started = root / _STARTED
    if started.exists():
        same = started.read_text(encoding="utf-8") == content
    else:
        same = not is_written(shard_path(root, 0))
    if not same:
        raise TexthashError(
            f"{root} holds a part of a backup of another release.", "choose another target, or delete what is there."
        )
    write_text(started, content)


def restore_backup(home: StateDir, source: str) -> Release:
    """Restore a backup into this state directory, and make it the current release.

    The whole backup is checked before anything is written. Another process that restores it is waited for.

    Raises:
        TexthashError: The backup is missing, incomplete or damaged, or a name in it would lead out of its directory.
    """
    check_prefix(source)
    root = as_path(source)
    file = root / _RECORD
    if not file.exists():
        raise TexthashError(f"there is no complete backup in {source}.", f"name the directory that holds {_RECORD}.")
    record = release_of(read_record(file, _REMEDY), file)
    _check_no_links(root)
    manifests = _checked_shards(root, record, file)
    _check_model(root / _MODEL, record.model_digest)
    fingerprint = _fingerprint(root, file, len(manifests))
    index = home.index / f"{record.model}{RESTORED}{fingerprint}-{len(manifests)}"
    model = home.root / "models" / f"{record.model}-{record.model_digest[:12]}"
    targets = [shard_path(index, number) for number in range(len(manifests))]
    for target in (index, model, *targets, *(model / name for name in MODEL_FILES)):
        _check_inside(target, home.index if target in (index, *targets) else home.root / "models")
    states = [
        replace(state, version=manifest.lance_version) for state, manifest in zip(record.shards, manifests, strict=True)
    ]
    home.make()
    with exclusive(index / _LOCK):
        for number, state in track(list(enumerate(states)), "restoring shards"):
            _copy_shard(shard_path(root, number), state, targets[number], record)
        _copy_model(root / _MODEL, model, record.model_digest)
    return publish(
        home,
        model,
        index,
        model=record.model,
        model_version=record.model_version,
        run=record.run,
        commit=record.commit,
        defaults=record.defaults,
        written=record.was_written,
    )


def _fingerprint(root: Path, file: Path, shards: int) -> str:
    """Return a digest of everything in a backup, which names the index that is restored from it."""
    total = hashlib.sha256(file.read_bytes())
    for number in range(shards):
        path = shard_path(root, number)
        total.update((path / MANIFEST).read_bytes())
        total.update(json.dumps(sorted(recorded(path).items())).encode())
    return total.hexdigest()[:12]


def _checked_shards(root: Path, record: Release, file: Path) -> list[ShardManifest]:
    """Check that the shards of a backup are complete and those of the release, and return their manifests."""
    manifests = read_index(root)
    found = [(manifest.documents, manifest.checksum) for manifest in manifests]
    if found != [(state.documents, state.checksum) for state in record.shards] or any(
        manifest.content != record.content for manifest in manifests
    ):
        raise ModelMismatchError(f"the shards in {root} are not those of release {record.name} in {file}.", _REMEDY)
    for number, manifest in enumerate(manifests):
        check_version(shard_path(root, number), manifest.lance_version, manifest.bits)
    return manifests


def _copy_shard(source: Path, state: ShardState, target: Path, release: Release) -> None:
    """Write a copy of a version of a shard, by ascending document number. An existing copy is checked and reused."""
    manifest = read_manifest(source)
    if not is_written(target):
        dataset = check_version(source, state.version, manifest.bits)
        # Words and attributes may be added after the build.
        identity = replace(
            manifest,
            keywords=analysis_of(dataset.schema),
            weights=weights_of(dataset.schema) or DEFAULT_WEIGHTS,
            attributes=dict(release.attributes),
        )
        written = write_shard(target, _rows(dataset, manifest), identity, release.next_number)
    else:
        written = read_manifest(target)
        check_version(target, written.lance_version, manifest.bits)
    if (written.documents, written.checksum, written.content) != (state.documents, state.checksum, manifest.content):
        raise TexthashError(
            f"{target} holds {written.documents} documents with checksum {written.checksum}, but the release has "
            f"{state.documents} with {state.checksum}.",
            f"`texthash index verify` shows whether the release is intact; delete {target.parent} and start again.",
        )


def _rows(dataset: lance.LanceDataset, manifest: ShardManifest) -> Iterator[pa.RecordBatch]:
    columns = schema(manifest.bits, width_of(manifest.vectors))
    for name in attribute_columns(dataset.schema):
        columns = columns.append(dataset.schema.field(name))
    names = [name for name in columns.names if name in dataset.schema.names]
    with reading(f"version {dataset.version} of {dataset.uri}"):
        numbers = dataset.to_table(columns=["number"])["number"].to_numpy()
        order = numbers.argsort(kind="stable")
        for first in range(0, len(order), _ROWS):
            table = dataset.take(order[first : first + _ROWS], columns=names)
            if KNOWN not in names:
                table = table.append_column(KNOWN, pa.nulls(len(table), pa.bool_()))
            yield from table.select(columns.names).cast(columns).combine_chunks().to_batches()


def _copy_model(source: Path, target: Path, expected: str) -> None:
    for name in MODEL_FILES:
        with whole(target / name) as partial:
            partial.write_bytes((source / name).read_bytes())
    _check_model(target, expected)


def _check_model(directory: Path, expected: str) -> None:
    try:
        found = digest(directory)
    except FileNotFoundError as error:
        raise TexthashError(f"the model in {directory} is incomplete: {error}", _REMEDY) from None
    if found != expected:
        raise TexthashError(
            f"the model in {directory} is damaged: it has digest {found[:12]}, not {expected[:12]}.", _REMEDY
        )


def _check_no_links(root: Path) -> None:
    """Reject links in a backup, which would bring in files from outside it."""
    if not is_local(root):
        return
    for parent, folders, files in os.walk(root, onerror=_refused):
        for name in (*folders, *files):
            path = Path(parent, name)
            if path.is_symlink():
                raise TexthashError(f"{path} is a link; a backup contains no links.", _REMEDY)


def _refused(error: OSError) -> None:
    raise error


def _check_inside(target: Path, directory: Path) -> None:
    """Reject a target that a link leads out of its directory. The directory itself may be a link of its owner's."""
    if is_local(target) and not target.resolve().is_relative_to(directory.resolve()):
        raise TexthashError(
            f"{target} leads to {target.resolve()}, which is not in {directory}.",
            "remove the link, then restore again.",
        )
