"""Shards of an index, opened by its one writer in the state of a release.

They are changed in parallel, and checked before a release names their new versions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pyarrow as pa

from texthash.errors import TexthashError
from texthash.index.releases.release import Release, ShardState
from texthash.index.storage.free_space import DiskFullError
from texthash.index.storage.lance_errors import reading
from texthash.index.storage.mutations import Change, rewind
from texthash.index.storage.shard_format import open_documents
from texthash.io.fsync import FsyncTracker

if TYPE_CHECKING:
    import lance

    from texthash.paths import StateDir

_T = TypeVar("_T")
# Fragment ids of a shard, each with its number of deleted rows.
Pieces = set[tuple[int, int]]


class WritableShards:
    """Shards of a release, opened for writing. Commits that no release names are undone first.

    After a change, the caller either publishes a release with the new versions or opens the shards again.

    Args:
        home: State directory.
        release: Release in whose state the shards are opened.

    Raises:
        TexthashError: A shard is broken, or its content differs from the record of the release.

    Attributes:
        datasets: Newest version of each shard.
    """

    def __init__(self, home: StateDir, release: Release) -> None:
        self._paths = [home.path(state.uri) for state in release.shards]
        self._synced = [FsyncTracker(path, known=True) for path in self._paths]
        self.datasets = [rewind(home.path(s.uri), s.version, release.bits) for s in release.shards]
        for state, dataset in zip(release.shards, self.datasets, strict=True):
            _check_rows(state, dataset, "release " + release.name)
        self._pool = ThreadPoolExecutor(len(release.shards), thread_name_prefix="texthash-write")

    def __len__(self) -> int:
        return len(self.datasets)

    def close(self) -> None:
        """Stop the threads after their running calls."""
        self._pool.shutdown()

    def each(self, call: Callable[[int, lance.LanceDataset], _T]) -> list[_T]:
        """Call a function for every shard in parallel. All calls have ended before the first error is raised."""
        calls = [self._pool.submit(call, shard, dataset) for shard, dataset in enumerate(self.datasets)]
        for error in [done.exception() for done in calls]:
            if error is not None:
                raise error
        return [done.result() for done in calls]

    def change(self, changes: Sequence[Change], release: Release, next_number: int) -> list[ShardState]:
        """Apply a change to every shard, durably.

        Args:
            changes: One change per shard.
            release: Release whose state the shards are in.
            next_number: Number of the next inserted document after the change.

        Returns:
            New state of each shard, checked against the stored rows.
        """
        _check_numbers(changes, release.next_number, next_number)
        before = self._pieces()
        self.datasets = self.each(lambda shard, data: changes[shard].apply(data))
        return self._durable([change.follow(s) for change, s in zip(changes, release.shards, strict=True)], before)

    def rearrange(self, how: Callable[[lance.LanceDataset], lance.LanceDataset], release: Release) -> list[ShardState]:
        """Change the storage layout of the same rows, durably. Returns the same as :meth:`change`."""
        before = self._pieces()
        self.datasets = self.each(lambda _, data: how(data))
        return self._durable(release.shards, before)

    def restore(self, home: StateDir, release: Release) -> list[ShardState]:
        """Restore the rows of an earlier release, durably. Returns the same as :meth:`change`."""
        states, before = release.shards, self._pieces()
        self.datasets = self.each(
            lambda shard, _: rewind(home.path(states[shard].uri), states[shard].version, release.bits)
        )
        return self._durable(states, before)

    def _pieces(self) -> list[Pieces]:
        return [_pieces(dataset) for dataset in self.datasets]

    def _durable(self, states: Sequence[ShardState], before: Sequence[Pieces]) -> list[ShardState]:
        """Write everything to disk, read back what is new, and return the states with the new versions."""
        self.each(lambda shard, _: self._synced[shard].sync())
        self.each(lambda shard, data: _read_back(self._paths[shard], data, before[shard]))
        now = [replace(state, version=data.version) for state, data in zip(states, self.datasets, strict=True)]
        for state, dataset in zip(now, self.datasets, strict=True):
            _check_rows(state, dataset, "the release to be published")
            if dataset.latest_version != state.version:
                raise TexthashError(
                    f"{dataset.uri} has version {dataset.latest_version}, but this writer made {state.version}.",
                    "nothing was published: an index has one writer; open it again to continue.",
                )
        return now


def _pieces(dataset: lance.LanceDataset) -> Pieces:
    return {(fragment.fragment_id, fragment.num_deletions) for fragment in dataset.get_fragments()}


def _read_back(path: Path, dataset: lance.LanceDataset, before: Pieces) -> None:
    """Read the new parts of a shard.

    Lance reports no error if a full disk truncates a list of deleted rows, and the shard would be unreadable once a
    release named it.

    Raises:
        DiskFullError: The new parts cannot be read.
    """
    if _pieces(dataset) <= before:
        return
    bits = 8 * dataset.schema.field("code").type.byte_width
    # The dataset that wrote has its writes in memory, so a second one is opened to read them from disk.
    found = open_documents(path, dataset.version, bits)
    new = [piece for piece in found.get_fragments() if (piece.fragment_id, piece.num_deletions) not in before]
    known = {fragment for fragment, _ in before}
    added = [piece for piece in new if piece.fragment_id not in known]
    thinned = [piece for piece in new if piece.fragment_id in known]
    try:
        rows = sum(
            found.scanner(columns=columns, fragments=pieces, with_row_address=True).to_table().num_rows
            for columns, pieces in ((["number", "id", "code"], added), ([], thinned))
            if pieces
        )
    except (OSError, pa.ArrowException) as error:
        problem = f"the data written to {dataset.uri} cannot be read back: {error}"
        raise DiskFullError(problem, "make room on the disk, or replace it if it had room.") from error
    if rows != sum(piece.count_rows() for piece in new):
        raise DiskFullError(f"the data written to {dataset.uri} is incomplete.", "make room on the disk.")


def _check_rows(state: ShardState, dataset: lance.LanceDataset, what: str) -> None:
    with reading(dataset.uri):
        found = dataset.count_rows()
    if found != state.documents:
        raise TexthashError(
            f"{dataset.uri} holds {found} documents in version {dataset.version}, but {what} has {state.documents}.",
            "`texthash index rollback` returns to the newest release that can be opened.",
        )


def _check_numbers(changes: Sequence[Change], first: int, following: int) -> None:
    """Check that each added row has the number of a row that it replaces, or a number that was never assigned."""
    kept = {int(number) for change in changes for number in change.removed.numbers}
    given = [int(number) for change in changes for number in change.added["number"].to_pylist()]
    wrong = {number for number in given if number not in kept and not first <= number < following}
    if wrong or len(set(given)) != len(given):
        raise TexthashError(
            f"{len(given) - len(set(given))} document numbers would be assigned twice, {len(wrong)} belong to other "
            f"documents.",
            "nothing was written; `texthash index verify` shows what is wrong with the index.",
        )
