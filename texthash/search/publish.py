"""Making releases: record a new one, move the pointer to one, go back to the one before."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from texthash.errors import ModelMismatchError, TexthashError
from texthash.search.release import (
    CURRENT,
    RELEASE_NAME,
    Release,
    ShardState,
    read_pointer,
    read_release,
    releases_path,
)
from texthash.search.store import read_index, shard_path

if TYPE_CHECKING:
    from texthash.home import Home


def publish(
    home: Home,
    hasher_dir: Path,
    index: Path,
    *,
    model: str | None = None,
    model_version: str | None = None,
    run: str | None = None,
    commit: str | None = None,
    switch: bool = True,
) -> Release:
    """Record a new release and, unless told otherwise, make it the current one.

    Args:
        home: State directory.
        hasher_dir: The saved model.
        index: An index that this model made.
        model: Name in the model registry; None: the model's own name.
        model_version: Version in the model registry.
        run: Tracking run that made the model.
        commit: Git commit of the program.
        switch: Whether to move the pointer to it.

    Raises:
        ModelMismatchError: the model did not make the index; nothing is written.
    """
    from texthash.methods.hasher import Hasher, digest

    hasher, fingerprint = Hasher.load(hasher_dir), digest(hasher_dir)
    manifests = read_index(index)
    first = manifests[0]
    differing = [
        f"{what} {theirs} of the index is not the model's {ours}"
        for what, theirs, ours in (
            ("width", first.bits, hasher.bits),
            ("vocabulary", first.vocabulary_hash[:12], hasher.vocabulary_hash[:12]),
            ("model", first.model[:12], fingerprint[:12]),
        )
        if theirs != ours
    ]
    if differing:
        raise ModelMismatchError(
            f"the model {hasher_dir} does not fit the index {index}: {'; '.join(differing)}.",
            "build an index with this model.",
        )
    base = {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": model or hasher.name,
        "model_version": model_version,
        "model_uri": _uri(home, hasher_dir),
        "model_digest": fingerprint,
        "run": run,
        "method": hasher.method.card.name,
        "bits": hasher.bits,
        "corpus": hasher.corpus,
        "edition": hasher.edition.name,
        "vocabulary_hash": hasher.vocabulary_hash,
        "index_uri": _uri(home, index),
        "shards": tuple(
            ShardState(_uri(home, shard_path(index, m.shard)), m.lance_version, m.documents) for m in manifests
        ),
        "next_number": first.next_number,
        "commit": commit,
    }
    release = _record(home, base)
    if switch:
        switch_to(home, release.name)
    return release


def switch_to(home: Home, name: str) -> Release:
    """Make a release the current one, in one atomic step that is on disk when this returns."""
    release = read_release(home, name)
    now = read_pointer(home)
    if now["release"] != release.name:
        _write_durably(releases_path(home) / CURRENT, {"release": release.name, "previous": now["release"]})
    return release


def rollback(home: Home) -> Release:
    """Go back to the release that was current before; a second call comes back.

    Raises:
        TexthashError: there was none before.
    """
    previous = read_pointer(home)["previous"]
    if previous is None:
        raise TexthashError("there is no earlier release to go back to.", "`texthash index info` lists the releases.")
    return switch_to(home, previous)


def _uri(home: Home, path: Path) -> str:
    absolute = path.absolute()
    return str(absolute.relative_to(home.root) if absolute.is_relative_to(home.root) else absolute)


def _record(home: Home, base: dict[str, Any]) -> Release:
    """Write the record under the next free version; two publishers at once get two versions."""
    directory = releases_path(home)
    directory.mkdir(parents=True, exist_ok=True)
    version = max((int(p.stem[1:]) for p in directory.glob("r*.json") if RELEASE_NAME.fullmatch(p.stem)), default=0)
    while True:
        version += 1
        release = Release(name=f"r{version:06d}", version=version, **base)
        target = directory / f"{release.name}.json"
        partial = directory / f".{release.name}.{os.getpid()}.partial"
        _write(partial, asdict(release))
        try:
            os.link(partial, target)  # unlike a rename, fails when somebody else took the name
        except FileExistsError:
            continue
        finally:
            partial.unlink()
        _sync(directory)
        return release


def _write_durably(path: Path, record: dict[str, Any]) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    _write(partial, record)
    partial.replace(path)
    _sync(path.parent)


def _write(path: Path, record: dict[str, Any]) -> None:
    with path.open("w") as file:
        json.dump(record, file, indent=2)
        file.flush()
        os.fsync(file.fileno())


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
