"""Releases: which model answers over which state of which index, as an immutable record behind one atomic pointer.

    releases/
      r000001.json   a release; never changed once written
      current        {"release": "r000002", "previous": "r000001"}; replaced in one step

Both are sealed (:mod:`texthash.io.records`).

A reader that holds a release can answer from it for as long as it likes: it names the model's files, the shards and the
Lance version of each. Publishing writes a record, switching moves the pointer, rolling back moves it to the release
that was served before. Each write to an index makes a release too, whose ``parent`` is the one it changed; those that
nobody serves any more are dropped after a while, unless a snapshot names them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from annotated_types import MinLen
from pydantic import StringConstraints

from texthash.errors import ModelMismatchError, TexthashError, nearest_name
from texthash.index.storage.shard_format import Content, Vectors, described, read_manifest
from texthash.io.atomic import is_local
from texthash.io.records import FileName, Location, RowChecksum, Sha256, read_record, sealed, typed
from texthash.paths import STORE_VARIABLE
from texthash.progress import log_line

if TYPE_CHECKING:
    from texthash.index.shard import Shard
    from texthash.models.hasher import Hasher
    from texthash.paths import StateDir

FORMAT_VERSION = 4
# Format 2 is that of releases of indexes without vectors; up to 3 records were not sealed.
READABLE = (2, 3, FORMAT_VERSION)
CURRENT = "current"
_REMEDY = "restore it from a copy, or publish again."
_REPOINT = 'write {"release": "<name>", "previous": null} into it, with the name of a release.'
RELEASE_NAME = re.compile(r"r\d{6,}")


@dataclass(frozen=True)
class ShardState:
    """One shard as a release sees it.

    Attributes:
        uri: Its directory; relative to the state directory where it lies inside.
        version: Lance version of its documents.
        documents: How many there are in that version.
        checksum: Of their numbers and codes: :class:`texthash.index.storage.checksum.Checksum`.
    """

    uri: Location
    version: int
    documents: int
    checksum: RowChecksum


@dataclass(frozen=True)
class Release:
    """What is served. Paths (``*_uri``) are relative to the state directory where they lie inside.

    Attributes:
        name: ``r`` and the version.
        version: Counts releases, from 1; the ``index_version`` of every answer.
        created: Time, ISO 8601, UTC.
        model: Name in the model registry.
        model_version: Version in the model registry, if the model is registered.
        model_uri: Directory of the saved model.
        model_digest: Fingerprint of its files.
        run: Tracking run that made the model, if known.
        method: Registry name of the hashing method.
        bits: Width of the codes.
        corpus: Name of the corpus.
        edition: How it was prepared.
        vocabulary_hash: Of the model's vocabulary.
        index_uri: Directory of the index.
        shards: State of every shard, in order.
        next_number: The document number that the next insert gets.
        parent: Name of the release that a write turned into this one; None for one that was built.
        commit: Git commit of the program that published it, if known.
        vectors: Which vectors the index keeps; None: none.
        format: Version of this record.
    """

    name: Annotated[str, StringConstraints(pattern=r"^r\d{6,}$")]
    version: int
    created: str
    model: FileName
    model_version: str | None
    model_uri: Location
    model_digest: Sha256
    run: str | None
    method: str
    bits: int
    corpus: FileName
    edition: FileName
    vocabulary_hash: str
    index_uri: Location
    shards: Annotated[tuple[ShardState, ...], MinLen(1)]
    next_number: int
    parent: str | None
    commit: str | None
    vectors: Vectors | None = None
    format: int = FORMAT_VERSION

    @property
    def content(self) -> Content:
        """Width of the codes, vectors, and the model that made both."""
        return self.bits, self.vectors, self.model_digest

    @property
    def documents(self) -> int:
        """Number of documents in all shards."""
        return sum(shard.documents for shard in self.shards)

    def check(self, home: StateDir) -> None:
        """Check that model and shards are there and belong together, without opening them.

        Raises:
            TexthashError: a part is missing or broken.
            ModelMismatchError: a part is not the one that was released.
        """
        self.check_model(home)
        for number in range(len(self.shards)):
            self.check_shard(home, number)

    def open_hasher(self, home: StateDir) -> Hasher:
        """Load the model of this release. Errors as :meth:`check`."""
        from texthash.models.hasher import Hasher

        self.check_model(home)
        return Hasher.load(home.path(self.model_uri))

    def check_model(self, home: StateDir) -> None:
        """Check that the saved model is there and is the one that was released. Errors as :meth:`check`."""
        from texthash.models.hasher import digest

        directory = home.path(self.model_uri)
        try:
            found = digest(directory)
        except FileNotFoundError as error:
            raise TexthashError(
                f"the model of release {self.name} is not whole: {error}", "restore it, or publish a new release."
            ) from None
        if found != self.model_digest:
            raise ModelMismatchError(
                f"the model in {directory} has digest {found[:12]}, release {self.name} was made with "
                f"{self.model_digest[:12]}.",
                "restore the model's directory, or publish a new release.",
            )

    def check_shard(self, home: StateDir, number: int) -> None:
        """Check that one shard is of the model of this release. Errors as :meth:`check`."""
        path = home.path(self.shards[number].uri)
        manifest = read_manifest(path)
        if manifest.content != self.content:
            raise ModelMismatchError(
                f"{path} holds {described(*manifest.content)}, release {self.name} serves {described(*self.content)}.",
                "restore the shard, or publish a release whose model made the index.",
            )

    def open_shard(self, home: StateDir, number: int, opened: Shard | None = None) -> Shard:
        """Open one shard in the version of this release. Errors as :meth:`check`.

        Args:
            home: State directory.
            number: Which shard.
            opened: A shard that is open; if it is this one in another version, only what differs is read.
        """
        from texthash.index.shard import Shard  # and with it the kernels, which one who reads a record does not need

        self.check_shard(home, number)
        state = self.shards[number]
        path = home.path(state.uri)
        if opened is not None and opened.uri == str(path):
            shard = opened.advanced(state.version)
        else:
            shard = Shard.open(path, state.version, checksum=state.checksum)
        if len(shard) != state.documents:
            raise TexthashError(
                f"{path} holds {len(shard)} documents in version {state.version}, release {self.name} has "
                f"{state.documents}.",
                "restore the shard, or publish a new release.",
            )
        return shard

    def try_out(self, home: StateDir) -> None:
        """Open model and shards, one after the other, and let them go again. Errors as :meth:`check`; also where a
        document number is given twice, or is still to be given."""
        self.open_hasher(home)
        numbers = np.concatenate([self.open_shard(home, number).numbers for number in range(len(self.shards))])
        twice, beyond = len(numbers) - len(np.unique(numbers)), int((numbers >= self.next_number).sum())
        if twice or beyond:
            raise TexthashError(
                f"release {self.name} has {twice} document numbers twice, and {beyond} that are not below "
                f"{self.next_number}.",
                "`texthash index rollback` goes to the newest release that can be opened.",
            )


@dataclass(frozen=True)
class _Pointer:
    release: str | None
    previous: str | None


@dataclass(frozen=True)
class OpenRelease:
    """A release with its model and all of its shards in memory."""

    release: Release
    hasher: Hasher
    shards: Sequence[Shard]


def list_releases(home: StateDir) -> list[Release]:
    """All releases, oldest first."""
    found = []
    for path in releases_path(home).glob("r*.json"):
        if RELEASE_NAME.fullmatch(path.stem):
            try:
                found.append(read_release(home, path.stem))
            except TexthashError:
                if path.exists():  # else it was dropped a moment ago
                    raise
    return sorted(found, key=lambda release: release.version)


def readable_releases(home: StateDir) -> list[Release]:
    """All releases but those whose record is broken, which are named; oldest first."""
    found = []
    for path in releases_path(home).glob("r*.json"):
        if RELEASE_NAME.fullmatch(path.stem):
            try:
                found.append(read_release(home, path.stem))
            except TexthashError as error:
                if path.exists():
                    log_line(f"warning: {error.problem}")
    return sorted(found, key=lambda release: release.version)


def current_name(home: StateDir) -> str | None:
    """Name of the release that is served; None before the first."""
    return read_pointer(home)["release"]


def read_release(home: StateDir, name: str = CURRENT) -> Release:
    """Read the record of a release.

    Args:
        home: State directory.
        name: Of the release, or ``"current"``.

    Raises:
        TexthashError: no such release, or a record that is broken or of a later version.
    """
    resolved = current_name(home) if name == CURRENT else name
    if resolved is None:
        raise TexthashError(
            f"nothing has been released in {home.root}.",
            "train a model and run `texthash index build`, or run pipelines/full.py.",
        )
    path = releases_path(home) / f"{resolved}.json"
    if not RELEASE_NAME.fullmatch(resolved) or not path.is_file():
        known = [found.stem for found in releases_path(home).glob("r*.json")]
        hint = nearest_name(resolved, known) if known else "there is none"
        raise TexthashError(f"there is no release {resolved!r} in {home.root} ({hint}).", "name one that exists.")
    release = release_of(read_record(path, _REMEDY), path)
    if release.name != resolved:
        raise TexthashError(f"{path} is broken: it is the record of release {release.name}.", _REMEDY)
    _check_places(home, release, path)
    return release


def record_of(release: Release) -> dict[str, Any]:
    """The sealed record of a release."""
    return sealed(asdict(release))


def release_of(members: dict[str, Any], path: Path) -> Release:
    """A release from what :func:`texthash.io.records.read_record` gives of its record in ``path``.

    Raises:
        TexthashError: a record that is broken or of a later version.
    """
    found = members.get("format")
    if found in READABLE:
        return typed(Release, members, path, _REMEDY)
    newer = isinstance(found, int) and found > FORMAT_VERSION
    raise TexthashError(
        f"{path} has release format {found!r}, this version reads {FORMAT_VERSION}.",
        "upgrade texthash." if newer else "build the index again: `texthash index build`.",
    )


def _check_places(home: StateDir, release: Release, path: Path) -> None:
    """Check that what may be written to lies in the state directory or the store, also where links lead elsewhere."""
    roots = [root.resolve() for root in (home.root, home.store) if is_local(root)]
    for name in (release.index_uri, *(state.uri for state in release.shards)):
        place = home.path(name)
        if is_local(place) and not any(
            place.absolute().is_relative_to(root) or place.resolve().is_relative_to(root)
            for root in (*roots, home.root.absolute())
        ):
            raise TexthashError(
                f"{path} names {name}, which is neither in {home.root} nor in {home.store}.",
                f"move the index there, or set {STORE_VARIABLE} to the directory above it.",
            )


def open_release(home: StateDir, name: str = CURRENT) -> OpenRelease:
    """Open a release: its model and all of its shards.

    Raises:
        TexthashError: it, or a part of it, is missing or broken.
        ModelMismatchError: its parts do not belong together.
    """
    release = read_release(home, name)
    shards = [release.open_shard(home, number) for number in range(len(release.shards))]
    return OpenRelease(release, release.open_hasher(home), shards)


def releases_path(home: StateDir) -> Path:
    """Directory of the records and of the pointer."""
    return home.root / "releases"


def read_pointer(home: StateDir) -> dict[str, str | None]:
    """The pointer: names of the current ``release`` and of the ``previous`` one, None where there is none."""
    path = releases_path(home) / CURRENT
    try:
        found = typed(_Pointer, read_record(path, _REPOINT), path, _REPOINT)
    except FileNotFoundError:
        return {"release": None, "previous": None}
    return {"release": found.release, "previous": found.previous}
