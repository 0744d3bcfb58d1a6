"""Releases: immutable records of a model and a state of its index, behind one atomic pointer.

    releases/
      r000001.json   record of a release; never changed once written
      current        {"release": "r000002", "previous": "r000001"}; replaced atomically

Both are sealed (:mod:`texthash.io.records`).

A reader can serve from a release for any length of time: the record names the files of the model, the shards and the
Lance version of each. Publishing writes a record, switching moves the pointer, and a rollback moves it to the previous
release. Each write to an index also makes a release, whose ``parent`` is the one that it changed. Unused records of
writes are deleted after a while, unless a snapshot names them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from annotated_types import MinLen
from pydantic import StringConstraints

from texthash.api.attributes import AttributeType
from texthash.api.requests import GainKind
from texthash.config import KeywordAnalysis
from texthash.errors import ModelMismatchError, TexthashError, nearest_name
from texthash.index.fusion import Fusion
from texthash.index.storage.shard_format import Content, Vectors, described, read_manifest
from texthash.io.atomic import is_local
from texthash.io.listing import matching
from texthash.io.records import FileName, Location, RowChecksum, Sha256, read_all, read_record, sealed, typed
from texthash.paths import STORE_VARIABLE

if TYPE_CHECKING:
    from texthash.index.mapped_contents import MappedFiles
    from texthash.index.shard import Shard
    from texthash.index.storage.shard_format import ShardManifest
    from texthash.io.local_copies import LocalCopies
    from texthash.models.hasher import Hasher
    from texthash.models.query_encoder import QueryEncoder
    from texthash.paths import StateDir

FORMAT_VERSION = 7
# Format 2 has no vectors; records are sealed from format 4 on; indexes have words from 5 on, attributes from 6 on.
READABLE = (2, 3, 4, 5, 6, FORMAT_VERSION)
# In the names of indexes that were made of a live one and of a backup, by which they differ from those of a corpus.
RECODED, RESTORED = "-live", "-restored-"
CURRENT = "current"
_REMEDY = "restore it from a copy, or publish again."
_REPOINT = 'write {"release": "<name>", "previous": null} into it, with the name of a release.'
RELEASE_NAME = re.compile(r"r\d{6,}")


@dataclass(frozen=True)
class ShardState:
    """State of one shard in a release.

    Attributes:
        uri: Directory of the shard, relative to the state directory if it lies inside.
        version: Lance version of its documents.
        documents: Number of documents in that version.
        checksum: Checksum of their numbers and codes, see :class:`texthash.index.storage.checksum.Checksum`.
    """

    uri: Location
    version: int
    documents: int
    checksum: RowChecksum


@dataclass(frozen=True, kw_only=True)
class SearchDefaults:
    """Order of search results that was chosen on validation documents (:mod:`texthash.deployment.known_items`).

    Attributes:
        weight: Weight of the meaning in a hybrid search.
        rescoring: Whether hits by meaning are rescored: none or asymmetric.
        queries: Number of queries of the choice.
        semantic: Their mean reciprocal rank at 10 by meaning.
        keyword: The same by words.
        hybrid: The same by both.
        fusion: Kind of the gains that the weight was chosen for; releases that do not say so fuse ranks.
    """

    weight: float
    rescoring: Literal["none", "asymmetric"]
    queries: int
    semantic: float
    keyword: float
    hybrid: float
    fusion: GainKind = "ranks"


@dataclass(frozen=True)
class Release:
    """Record of a release. Paths (``*_uri``) are relative to the state directory if they lie inside.

    Attributes:
        name: ``r`` and the version.
        version: Number of the release, from 1; the ``index_version`` of every answer.
        created: Time of publication, ISO 8601, UTC.
        model: Name in the model registry.
        model_version: Version in the model registry, if the model is registered.
        model_uri: Directory of the saved model.
        model_digest: Digest of the model's files.
        run: Tracking run that trained the model, if known.
        method: Registry name of the hashing method.
        bits: Width of the codes.
        corpus: Name of the corpus.
        edition: Edition of the prepared corpus.
        vocabulary_hash: Hash of the model's vocabulary.
        index_uri: Directory of the index.
        shards: State of every shard, in order.
        next_number: Document number of the next insert.
        parent: Name of the release that a write changed into this one; None for a built index.
        commit: Git commit of the program that published the release, if known.
        vectors: Kind and width of the stored vectors; None if the index stores none.
        keywords: Analysis of the words that are stored for keyword search; None if the index stores none.
        defaults: Order of search results; None if none was chosen.
        attributes: Type of each attribute that a document of the index has had, by name.
        written: Whether documents were written or deleted since the index was built from a corpus; None in records of
            earlier versions.
        format: Format version of this record.
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
    keywords: KeywordAnalysis | None = None
    defaults: SearchDefaults | None = None
    attributes: dict[str, AttributeType] = field(default_factory=dict)
    written: bool | None = None
    format: int = FORMAT_VERSION

    @property
    def content(self) -> Content:
        """Width of the codes, stored vectors, and digest of the model that made both."""
        return self.bits, self.vectors, self.model_digest

    @property
    def rescoring(self) -> Literal["none", "asymmetric"]:
        """Kind of rescoring of a search that names none."""
        return "none" if self.defaults is None else self.defaults.rescoring

    @property
    def fusion(self) -> Fusion:
        """How a hybrid search that does not say so fuses its lists."""
        return Fusion() if self.defaults is None else Fusion(self.defaults.weight, self.defaults.fusion)

    @property
    def was_written(self) -> bool:
        """Whether the release may hold other documents than the corpus that its index was built from.

        Of releases that do not say so, these are all that were made of an earlier one.
        """
        if self.written is not None:
            return self.written
        return self.parent is not None or made_of_a_live_one(self.index_uri)

    @property
    def documents(self) -> int:
        """Number of documents in all shards."""
        return sum(shard.documents for shard in self.shards)

    def check(self, home: StateDir) -> None:
        """Check that model and shards exist and belong together, without opening them.

        Raises:
            TexthashError: The model or a shard is missing or broken.
            ModelMismatchError: The model or a shard is not the one that was released.
        """
        self.check_model(home)
        for number in range(len(self.shards)):
            self.check_shard(home, number)

    def open_hasher(self, home: StateDir) -> Hasher:
        """Load the model of this release. Raises the same errors as :meth:`check`."""
        from texthash.models.hasher import Hasher

        self.check_model(home)
        return Hasher.load(home.path(self.model_uri))

    def open_encoder(self, home: StateDir) -> QueryEncoder:
        """Open the encoder of queries of this release. Raises the same errors as :meth:`check`."""
        from texthash.models.query_encoder import QueryEncoder

        self.check_model(home)
        return QueryEncoder.open(home.path(self.model_uri))

    def check_model(self, home: StateDir) -> None:
        """Check that the saved model exists and is the released one. Raises the same errors as :meth:`check`."""
        from texthash.models.files import digest

        directory = home.path(self.model_uri)
        try:
            found = digest(directory)
        except FileNotFoundError as error:
            raise TexthashError(
                f"the model of release {self.name} is incomplete: {error}", "restore it, or publish a new release."
            ) from None
        if found != self.model_digest:
            raise ModelMismatchError(
                f"the model in {directory} has digest {found[:12]}, but release {self.name} was made with "
                f"{self.model_digest[:12]}.",
                "restore the model's directory, or publish a new release.",
            )

    def check_shard(self, home: StateDir, number: int) -> None:
        """Check that one shard was built by the model of this release. Raises the same errors as :meth:`check`."""
        path = home.path(self.shards[number].uri)
        self._check_content(path, read_manifest(path))

    def _check_content(self, path: Path, manifest: ShardManifest) -> None:
        if manifest.content != self.content:
            raise ModelMismatchError(
                f"{path} holds {described(*manifest.content)}, release {self.name} serves {described(*self.content)}.",
                "restore the shard, or publish a release whose model made the index.",
            )

    def open_shard(
        self,
        home: StateDir,
        number: int,
        opened: Shard | None = None,
        copies: LocalCopies | None = None,
        files: MappedFiles | None = None,
    ) -> Shard:
        """Open one shard in the version of this release. Raises the same errors as :meth:`check`.

        Args:
            home: State directory.
            number: Position of the shard.
            opened: Opened shard; if it is another version of the same shard, only the differences are read.
            copies: Local copies of documents in an object store, as for :meth:`texthash.index.shard.Shard.open`.
            files: Files of this node that are mapped, as for the same.
        """
        from texthash.index.shard import Shard  # This imports the kernels, which a reader of records does not need.

        state = self.shards[number]
        path = home.path(state.uri)
        if opened is not None and opened.uri == str(path):
            self._check_content(path, opened.manifest)
            shard = opened.advanced(state.version, state.checksum)
        else:
            self.check_shard(home, number)
            shard = Shard.open(path, state.version, checksum=state.checksum, copies=copies, files=files)
        if len(shard) != state.documents:
            raise TexthashError(
                f"{path} holds {len(shard)} documents in version {state.version}, but release {self.name} has "
                f"{state.documents}.",
                "restore the shard, or publish a new release.",
            )
        return shard

    def open_shards(self, home: StateDir, copies: LocalCopies | None = None) -> list[Shard]:
        """Open all shards in the versions of this release; arguments and errors as of :meth:`open_shard`."""
        return [self.open_shard(home, number, copies=copies) for number in range(len(self.shards))]

    def try_out(self, home: StateDir) -> None:
        """Open model and shards one after the other, then discard them.

        Raises the same errors as :meth:`check`, and TexthashError if a document number occurs twice or is not below
        ``next_number``.
        """
        self.open_hasher(home)
        numbers = np.concatenate([self.open_shard(home, number).numbers for number in range(len(self.shards))])
        twice, beyond = len(numbers) - len(np.unique(numbers)), int((numbers >= self.next_number).sum())
        if twice or beyond:
            raise TexthashError(
                f"release {self.name} has {twice} document numbers twice, and {beyond} that are not below "
                f"{self.next_number}.",
                "`texthash index rollback` returns to the newest release that can be opened.",
            )


@dataclass(frozen=True)
class _Pointer:
    release: str | None
    previous: str | None


@dataclass(frozen=True)
class OpenRelease:
    """Release with its model and all of its shards in memory."""

    release: Release
    hasher: Hasher
    shards: Sequence[Shard]


def made_of_a_live_one(index_uri: str) -> bool:
    """Return whether an index was made of the documents of another one, by its name."""
    name = index_uri.rstrip("/").rpartition("/")[2]
    return name.endswith(RECODED) or RESTORED in name


def list_releases(home: StateDir) -> list[Release]:
    """Return all releases, oldest first.

    Raises:
        TexthashError: A record is broken.
    """
    return _releases(home, broken="raise")


def readable_releases(home: StateDir) -> list[Release]:
    """Return the releases with a readable record, oldest first. Broken records are logged."""
    return _releases(home, broken="log")


def _releases(home: StateDir, broken: Literal["raise", "log"]) -> list[Release]:
    paths = [path for path in matching(releases_path(home), "r*.json") if RELEASE_NAME.fullmatch(path.stem)]
    found = read_all(paths, lambda path: read_release(home, path.stem), broken=broken)
    return sorted(found, key=lambda release: release.version)


def current_name(home: StateDir) -> str | None:
    """Return the name of the current release; None before the first."""
    return read_pointer(home)["release"]


def read_release(home: StateDir, name: str = CURRENT) -> Release:
    """Read the record of a release.

    Args:
        home: State directory.
        name: Name of the release, or ``"current"``.

    Raises:
        TexthashError: The release does not exist, or its record is broken or of a later version.
    """
    resolved = current_name(home) if name == CURRENT else name
    if resolved is None:
        raise TexthashError(
            f"nothing has been released in {home.name}.",
            "train a model and run `texthash index build`, or run pipelines/full.py.",
        )
    path = releases_path(home) / f"{resolved}.json"
    try:
        members = read_record(path, _REMEDY) if RELEASE_NAME.fullmatch(resolved) else None
    except FileNotFoundError:
        members = None
    if members is None:
        known = [found.stem for found in matching(releases_path(home), "r*.json")]
        hint = nearest_name(resolved, known) if known else "there is none"
        raise TexthashError(f"there is no release {resolved!r} in {home.name} ({hint}).", "name one that exists.")
    release = release_of(members, path)
    if release.name != resolved:
        raise TexthashError(f"{path} is broken: it is the record of release {release.name}.", _REMEDY)
    _check_locations(home, release, path)
    return release


def record_of(release: Release) -> dict[str, Any]:
    """Return the sealed record of a release."""
    return sealed(asdict(release))


def release_of(members: dict[str, Any], path: Path) -> Release:
    """Return the release of a record that :func:`texthash.io.records.read_record` has read from ``path``.

    Raises:
        TexthashError: The record is broken or of a later version.
    """
    found = members.get("format")
    if found in READABLE:
        return typed(Release, members, path, _REMEDY)
    newer = isinstance(found, int) and found > FORMAT_VERSION
    raise TexthashError(
        f"{path} has release format {found!r}, but this version reads {FORMAT_VERSION}.",
        "upgrade texthash." if newer else "build the index again: `texthash index build`.",
    )


def _check_locations(home: StateDir, release: Release, path: Path) -> None:
    """Check that index and shards, which are written to, lie in the state directory or the store, links included."""
    roots = [root.resolve() for root in (home.root, home.store) if is_local(root)]
    for name in (release.index_uri, *(state.uri for state in release.shards)):
        location = home.path(name)
        if is_local(location) and not any(
            location.absolute().is_relative_to(root) or location.resolve().is_relative_to(root)
            for root in (*roots, home.root.absolute())
        ):
            raise TexthashError(
                f"{path} names {name}, which is neither in {home.name} nor in {home.store}.",
                f"move the index there, or set {STORE_VARIABLE} to the directory above it.",
            )


def open_release(home: StateDir, name: str = CURRENT) -> OpenRelease:
    """Open a release with its model and all of its shards.

    Raises:
        TexthashError: The release, its model or a shard is missing or broken.
        ModelMismatchError: Model and shards do not belong together.
    """
    release = read_release(home, name)
    shards = release.open_shards(home)
    return OpenRelease(release, release.open_hasher(home), shards)


def releases_path(home: StateDir) -> Path:
    """Return the directory of the records and of the pointer."""
    return home.state / "releases"


def read_pointer(home: StateDir) -> dict[str, str | None]:
    """Return the names of the current ``release`` and of the ``previous`` one; None if there is none."""
    path = releases_path(home) / CURRENT
    try:
        found = typed(_Pointer, read_record(path, _REPOINT), path, _REPOINT)
    except FileNotFoundError:
        return {"release": None, "previous": None}
    return {"release": found.release, "previous": found.previous}
