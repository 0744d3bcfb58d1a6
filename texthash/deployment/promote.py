"""Another model under a running service: its index is built beside the live one, catches up with what is written
meanwhile, and takes over between two requests; and the way back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from texthash.errors import ModelMismatchError, TexthashError
from texthash.index.releases.release import Release, list_releases, read_pointer, read_release
from texthash.index.storage.shard_format import kind_of
from texthash.progress import log_line

if TYPE_CHECKING:
    from texthash.index.writing.reencode import IndexMigration
    from texthash.models.hasher import Hasher
    from texthash.paths import StateDir
    from texthash.tracking.registry import Registry

# Rounds of catching up before the last one, for which writers wait; it is short when the one before had so few.
_ROUNDS = 8
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
    """Serve another model over the documents that are live now: all that were put in are kept, none that was taken out
    comes back, and what is written meanwhile is taken over. Searches and writes go on all the while.

    An interrupted promotion goes on with the shards that it has when it is called again.

    Args:
        home: State directory.
        hasher_dir: The saved model; it has to compete with the one that is served: same corpus, edition and bits.
        version: In the registry; the alias ``champion`` is moved to it at the end.
        run: Tracking run that made the model.
        commit: Git commit of the program that did.
        registry: Where the alias is.
        sample: Documents that are coded again to verify the new index, before it takes over.

    Returns:
        The release that is current now.

    Raises:
        ModelMismatchError: the model does not compete with the one that is served, or lacks what the index keeps as
            vectors.
        TexthashError: nothing is released; a document has no text; or the new index is not what it should be. Then
            what is served has not changed.
    """
    from texthash.index.releases.publish import publish, withdraw
    from texthash.index.releases.verify import verify
    from texthash.index.writing.reencode import Encode, IndexMigration, recode_index
    from texthash.models.hasher import Hasher, digest

    current, hasher, fingerprint = read_release(home), Hasher.load(hasher_dir), digest(hasher_dir)
    _check(hasher, current)
    if fingerprint == current.model_digest:
        log_line(f"promote: release {current.name} serves this model already")
        _move_alias(registry, current)
        return current
    start = f"promote-{fingerprint[:12]}"
    source = _begun(home, start, current)
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
        switch=False,
    )
    try:
        wrong = [finding for finding in verify(home, built.name, sample) if not finding.ok]
        if wrong:
            raise TexthashError(
                f"the index {index} is not fit to be served: {wrong[0].check}: {wrong[0].found}.",
                "delete its directory and promote again.",
            )
        with IndexMigration(home, source, built, coder) as transfer:
            release = _take_over(home, transfer, start)
    finally:
        withdraw(home, built)
    _let_go(home, start)
    log_line(
        f"promote: release {release.name}, {release.documents} documents, by {release.method} {version or ''}".rstrip()
    )
    _move_alias(registry, release)
    return release


def roll_back(home: StateDir, registry: Registry | None = None) -> Release:
    """Go back to the model that was served before, with the documents that are live now: what was written since is
    taken over into its index. A second call comes back.

    Args:
        home: State directory.
        registry: Where the alias ``champion`` is, which is moved back too.

    Raises:
        ModelMismatchError: what was served before has other shards, or a model of another corpus, edition or width.
        TexthashError: there is no earlier release of another index.
        IndexLockedError: somebody writes to the earlier index.
    """
    from texthash.index.writing.reencode import Encode, IndexMigration

    current, earlier = read_release(home), read_pointer(home)["previous"]
    if earlier is None:
        raise TexthashError("no model was served before.", "`texthash index info` lists the releases.")
    target = read_release(home, earlier)
    if target.index_uri == current.index_uri:
        raise TexthashError(
            f"release {target.name}, which was served before, is of the index that is served now.",
            "`texthash index restore` brings back documents of a snapshot.",
        )
    target.check(home)
    hasher = target.open_hasher(home)
    _check(hasher, current)
    if len(target.shards) != len(current.shards):
        raise ModelMismatchError(
            f"release {target.name} has {len(target.shards)} shards, what is served has {len(current.shards)}.",
            "`texthash index rollback` goes back to it without what was written since; then start the service again.",
        )
    # The two indexes were alike when the current one took over, or was built.
    alike = [r for r in list_releases(home) if r.index_uri == current.index_uri and r.parent is None]
    coder = Encode(hasher, home, kind_of(target.vectors))
    with IndexMigration(home, alike[-1], target, coder) as transfer:
        release = _take_over(home, transfer, f"rollback-{target.model_digest[:12]}")
    log_line(f"rollback: release {release.name}, {release.documents} documents, by {release.method}")
    _move_alias(registry, release)
    return release


def _check(hasher: Hasher, current: Release) -> None:
    served = f"texthash-{current.corpus}-{current.edition}-{current.bits}"
    if hasher.name != served:
        raise ModelMismatchError(
            f"the model is one of {hasher.name}, what is served is {served}.",
            "train a model on the same corpus, edition and bits; or build an index of its own: `texthash index build`.",
        )


def _begun(home: StateDir, name: str, current: Release) -> Release:
    """The release from which the new index is made: held by a snapshot, so that it can be gone on with."""
    from texthash.index.releases.snapshots import list_snapshots

    for snapshot in list_snapshots(home):
        if snapshot.name == name:
            begun = read_release(home, snapshot.release)
            if begun.index_uri == current.index_uri:
                return begun
    return _hold(home, name)


def _hold(home: StateDir, name: str) -> Release:
    """Keep what is current readable until it is let go."""
    from texthash.index.releases.snapshots import take_snapshot

    _let_go(home, name)
    return read_release(home, take_snapshot(home, name).release)


def _let_go(home: StateDir, name: str) -> None:
    from texthash.index.releases.snapshots import drop_snapshot, list_snapshots

    if name in {snapshot.name for snapshot in list_snapshots(home)}:
        drop_snapshot(home, name)


def _take_over(home: StateDir, transfer: IndexMigration, name: str) -> Release:
    from texthash.index.releases.publish import hand_over

    held = [f"{name}-{turn}" for turn in range(_ROUNDS)]
    try:
        for turn, snapshot in enumerate(held):
            few = transfer.catch_up(_hold(home, snapshot)) <= _FEW
            if turn:
                _let_go(home, held[turn - 1])
            if few:
                break
        return hand_over(home, transfer.finish)
    finally:
        for snapshot in held:
            _let_go(home, snapshot)


def _move_alias(registry: Registry | None, release: Release) -> None:
    if registry is not None and release.model_version is not None:
        registry.promote(release.model, release.model_version)
        log_line(f"promote: {release.model} version {release.model_version} is the champion")
