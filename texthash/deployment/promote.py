"""Promotion of another model under a running service, and rollback.

The new index is built beside the live one, catches up with later writes, and takes over between two requests.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from texthash.deployment.champion import move_alias, releasing
from texthash.errors import ModelMismatchError, TexthashError
from texthash.index.releases.release import Release, read_pointer, read_release, readable_releases
from texthash.index.storage.shard_format import kind_of
from texthash.io.audit import audited
from texthash.models.files import registered_name
from texthash.progress import log_line

if TYPE_CHECKING:
    from texthash.index.writing.reencode import IndexMigration
    from texthash.models.hasher import Hasher
    from texthash.paths import StateDir
    from texthash.tracking.registry import Registry

# Rounds of catching up before the last one, for which writers wait.
_ROUNDS = 8
# The last round is short once a round has touched at most this many documents.
_FEW = 64


def promote(
    home: StateDir,
    hasher_dir: Path,
    *,
    version: str | None = None,
    run: str | None = None,
    commit: str | None = None,
    registry: Registry | None = None,
    sample: int = 1_000,
) -> Release:
    """Serve another model over the live documents, while searches and writes continue.

    Inserted documents are kept, deleted ones do not return, and writes during the promotion are carried over. An
    interrupted promotion resumes with the shards that it has written when it is called again. One that starts while
    another release is made waits for it.

    Args:
        home: State directory.
        hasher_dir: Directory of the saved model, of the same corpus, edition and bits as the served one.
        version: Version in the registry; the alias ``champion`` is moved to it at the end.
        run: Tracking run that trained the model.
        commit: Git commit of the program that trained it.
        registry: Model registry that holds the alias.
        sample: Number of documents that are encoded again to verify the new index before it takes over.

    Returns:
        New current release.

    Raises:
        ModelMismatchError: The model has another corpus, edition or width than the served one, or does not make the
            vectors that the index stores.
        AliasNotMovedError: The model is served, but the registry failed; the same call again moves only the alias.
        TexthashError: There is no release, a document has no text, or the new index fails verification. The current
            release is unchanged.
    """
    with releasing(home), audited(home, "promote", model_version=version) as facts:
        release = _promote(home, hasher_dir, version=version, run=run, commit=commit, sample=sample)
        facts.update(documents=release.documents, release=release.name)
        if registry is not None:
            move_alias(registry, release)
        return release


def _promote(
    home: StateDir, hasher_dir: Path, *, version: str | None, run: str | None, commit: str | None, sample: int
) -> Release:
    from texthash.deployment.known_items import defaults_of_promoted
    from texthash.index.releases.publish import publish, withdraw
    from texthash.index.releases.verify import verify_release
    from texthash.index.writing.reencode import Encode, IndexMigration, recode_index
    from texthash.models.files import digest
    from texthash.models.hasher import Hasher

    current, hasher, fingerprint = read_release(home), Hasher.load(hasher_dir), digest(hasher_dir)
    _check(hasher, current)
    if fingerprint == current.model_digest:
        log_line(f"promote: release {current.name} serves this model already")
        return current
    start = f"promote-{fingerprint[:12]}"
    source = _source_release(home, start, current)
    coder = Encode(hasher, home, kind_of(current.vectors))
    index = recode_index(home, source, fingerprint, hasher, coder)
    built = publish(
        home,
        hasher_dir,
        index,
        model=current.model,
        model_version=version,
        run=run,
        commit=commit,
        source=source.name,
        defaults=defaults_of_promoted(home, hasher, index),
        written=source.was_written,
        switch=False,
    )
    try:
        failed = [finding for finding in verify_release(home, built.name, sample) if not finding.ok]
        if failed:
            raise TexthashError(
                f"the index {index} is not fit to be served: {failed[0].check}: {failed[0].found}.",
                "delete its directory and promote again.",
            )
        with IndexMigration(home, source, built, coder) as migration:
            release = _take_over(home, migration, start)
    finally:
        withdraw(home, built)
    _drop_snapshot(home, start)
    log_line(
        f"promote: release {release.name}, {release.documents} documents, by {release.method} {version or ''}".rstrip()
    )
    return release


def roll_back(home: StateDir, registry: Registry | None = None) -> Release:
    """Return to the previously served model, with the live documents.

    Later writes are carried over into its index. A second call undoes the first.

    Args:
        home: State directory.
        registry: Model registry whose alias ``champion`` is moved back too.

    Raises:
        ModelMismatchError: The earlier release has another number of shards, or a model of another corpus, edition or
            width.
        TexthashError: There is no earlier release of another index.
        IndexLockedError: Another process writes to the earlier index.
        AliasNotMovedError: The earlier model is served, but the registry failed.
    """
    with releasing(home), audited(home, "rollback") as facts:
        release = _roll_back(home)
        facts.update(documents=release.documents, release=release.name)
        if registry is not None:
            move_alias(registry, release)
        return release


def _roll_back(home: StateDir) -> Release:
    from texthash.index.writing.reencode import Encode, IndexMigration

    current, earlier = read_release(home), read_pointer(home)["previous"]
    if earlier is None:
        raise TexthashError("no model was served before.", "`texthash index info` lists the releases.")
    target = read_release(home, earlier)
    if target.index_uri == current.index_uri:
        raise TexthashError(
            f"the earlier release {target.name} is of the same index as the current one.",
            "`texthash index restore` brings back documents of a snapshot.",
        )
    target.check(home)
    hasher = target.open_hasher(home)
    _check(hasher, current)
    if len(target.shards) != len(current.shards):
        raise ModelMismatchError(
            f"release {target.name} has {len(target.shards)} shards, but the served one has {len(current.shards)}.",
            "`texthash index rollback` returns to it without later writes; then start the service again.",
        )
    # The two indexes held the same documents when the current one took over, or was built.
    common = [r for r in readable_releases(home) if r.index_uri == current.index_uri and r.parent is None]
    if not common:
        raise TexthashError(
            f"the record of the release that began the index {current.index_uri} is missing or broken.",
            "restore it from a backup, or `texthash index rollback`, which returns without later writes.",
        )
    coder = Encode(hasher, home, kind_of(target.vectors))
    with IndexMigration(home, common[-1], target, coder) as migration:
        release = _take_over(home, migration, f"rollback-{target.model_digest[:12]}")
    log_line(f"rollback: release {release.name}, {release.documents} documents, by {release.method}")
    return release


def _check(hasher: Hasher, current: Release) -> None:
    hasher.check_searchable()
    served = registered_name(current.corpus, current.edition, current.bits)
    if hasher.name != served:
        raise ModelMismatchError(
            f"the model is one of {hasher.name}, but the served one is of {served}.",
            "train a model on the same corpus, edition and bits; or index this one in a state directory of its own "
            "(TEXTHASH_HOME, --home): `texthash index build`.",
        )


def _source_release(home: StateDir, name: str, current: Release) -> Release:
    """Return the release that the new index is built from.

    A snapshot keeps it, so that an interrupted promotion can resume.
    """
    from texthash.index.releases.snapshots import readable_snapshots

    for snapshot in readable_snapshots(home):
        if snapshot.name == name:
            source = read_release(home, snapshot.release)
            if source.index_uri == current.index_uri:
                return source
    return _retake_snapshot(home, name)


def _retake_snapshot(home: StateDir, name: str) -> Release:
    """Take a snapshot of the current release, in place of an old one of that name, and return the release."""
    from texthash.index.releases.snapshots import take_snapshot

    _drop_snapshot(home, name)
    return read_release(home, take_snapshot(home, name).release)


def _drop_snapshot(home: StateDir, name: str) -> None:
    from texthash.index.releases.snapshots import drop_snapshot, readable_snapshots

    if name in {snapshot.name for snapshot in readable_snapshots(home)}:
        drop_snapshot(home, name)


def _take_over(home: StateDir, migration: IndexMigration, name: str) -> Release:
    from texthash.index.releases.publish import hand_over

    snapshots = [f"{name}-{turn}" for turn in range(_ROUNDS)]
    try:
        for turn, snapshot in enumerate(snapshots):
            few = migration.catch_up(_retake_snapshot(home, snapshot)) <= _FEW
            if turn:
                _drop_snapshot(home, snapshots[turn - 1])
            if few:
                break
        return hand_over(home, migration.finish)
    finally:
        for snapshot in snapshots:
            _drop_snapshot(home, snapshot)
