"""Layout of the state directory (TEXTHASH_HOME): prepared corpora, models, indexes, runs and the tracking store.

Prepared corpora and indexes, which are large, may be in a separate store (TEXTHASH_STORE): another directory, or a
prefix of an object store, which several nodes can share without a shared file system.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from texthash.arguments import shown
from texthash.errors import UsageError

HOME_VARIABLE = "TEXTHASH_HOME"
STORE_VARIABLE = "TEXTHASH_STORE"
DATA_VARIABLE = "TEXTHASH_DATA"
CACHE_VARIABLE = "TEXTHASH_CACHE"
HUB_SCHEME = "hf://"
COLLECTION_SCHEME = "ir_datasets:"
# What clients of a store read as something else: patterns, escapes, ends of a path, or parts that they leave out.
_AMBIGUOUS = re.compile(r"[%?#*\[\]\\\x00-\x1f]|//|(?<=/)\.{1,2}(?=/|$)")
_COLLAPSED = re.compile(r"[a-z][a-z0-9+.-]+:/")  # what a Path makes of an address


@dataclass(frozen=True)
class StateDir:
    """Paths in the state directory.

    All attributes are always absolute, so that a job on another node, whose working directory is a temporary copy,
    finds the same files.

    Attributes:
        root: Path of the state directory; the scratch directory of this node if the state is in an object store.
        store_name: Separate store of prepared corpora and indexes, a directory or a URI such as
            ``s3://bucket/prefix``; None keeps them in the state directory.
        state_name: URI of the state in an object store: models, checkpoints and releases. Nodes then share no
            directory. None keeps the state in ``root``.
    """

    root: Path
    store_name: str | None = None
    state_name: str | None = None

    def make(self) -> None:
        """Create the state directory, accessible by its user only. An existing one keeps its mode."""
        self.root.parent.mkdir(parents=True, exist_ok=True)
        self.root.mkdir(mode=0o700, exist_ok=True)

    @property
    def name(self) -> str:
        """Path or URI by which :func:`resolve_home` finds this state on every node."""
        return self.state_name or str(self.root)

    @property
    def state(self) -> Path:
        """Directory or object-store path of what nodes share: models, checkpoints, releases, snapshots, leases."""
        return as_path(self.state_name) if self.state_name else self.root

    def shared(self, path: Path) -> Path:
        """Return the path below :attr:`state` that corresponds to one below ``root``."""
        return self.state / path.relative_to(self.root).as_posix() if self.state_name else path

    @property
    def store(self) -> Path:
        """Directory or object-store path of prepared corpora and indexes, see :func:`as_path`."""
        return as_path(self.store_name) if self.store_name else self.root

    def path(self, name: str) -> Path:
        """Return the path for a name in a record: a URI, an absolute path, or one relative to the state.

        Raises:
            UsageError: The name contains ``..``.
        """
        if ".." in Path(name).parts:
            raise UsageError(f"{name} leads out of the directory in which it has to be.", "name a path inside it.")
        if is_address(name):
            return as_path(name)
        return Path(name) if Path(name).is_absolute() else self.state / name

    @property
    def downloads(self) -> Path:
        return self.root / "downloads"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def index(self) -> Path:
        """Directory of the indexes."""
        return self.store / "index"

    @property
    def tracking_uri(self) -> str:
        return f"sqlite:///{self.root / 'mlflow.db'}"

    @property
    def artifacts(self) -> Path:
        return self.root / "mlartifacts"

    def corpus(self, name: str, edition: str) -> Path:
        """Return the directory of one prepared corpus."""
        return self.store / "corpora" / name / edition


def resolve_home(root: str | Path | None = None) -> StateDir:
    """Find the state directory: the argument, TEXTHASH_HOME, or ``.texthash`` in the working directory, in this order.

    TEXTHASH_STORE names a separate store. With an object-store URI as state directory, state and store are both there;
    copies of this node, and a tracking database, are in a scratch directory under ``~/.texthash/stores``.

    Raises:
        UsageError: A path is not a directory, lies below a file or is a broken link, or a URI cannot be used.
    """
    chosen = root or os.environ.get(HOME_VARIABLE) or ".texthash"
    store = os.environ.get(STORE_VARIABLE)
    for address in (chosen, store):
        if address and is_address(address):
            check_prefix(address)
    if is_address(chosen):
        address = str(as_path(chosen))
        if store and str(as_path(store)) != address:
            raise UsageError(
                f"{HOME_VARIABLE}={chosen} and {STORE_VARIABLE}={store} are two stores.",
                f"name the store in {STORE_VARIABLE} alone, and a directory in {HOME_VARIABLE}.",
            )
        return StateDir(_copies_of(address), address, address)
    return StateDir(_directory(chosen, HOME_VARIABLE), str(_directory(store, STORE_VARIABLE)) if store else None)


def keeps_copies(directory: Path) -> bool:
    """Return whether a directory is what this node keeps of a state directory in an object store."""
    return directory.parent == _copies()


def _copies() -> Path:
    return Path.home() / ".texthash" / "stores"


def node_cache() -> Path:
    """Return the cache directory of this node, TEXTHASH_CACHE or ``~/.cache/texthash``. Its files can be recreated."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return local_path(chosen).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "texthash"


def as_path(name: str | Path) -> Path:
    """Return the absolute path of a file or directory, or the ``UPath`` of a URI.

    ``UPath`` (of universal_pathlib) is not a :class:`pathlib.Path`, but has the same methods: ``path / "name"``,
    ``exists()``, ``open()``, ``glob()``. Operations that only files have are in :mod:`texthash.io.atomic`. Credentials
    and endpoint come from the standard variables and files of the store's client (``AWS_*``).

    Raises:
        UsageError: The name is empty, the client of the object store is not installed, or the URI is invalid.
    """
    if not str(name):
        raise UsageError("a path is empty.", "name a file or a directory; . is the present one.")
    if is_dataset(name):
        raise UsageError(
            f"{name} is a dataset, and only a corpus can be one.",
            f"prepare it: texthash prepare corpus.name=mine corpus.path={name}; then name mine/random60.",
        )
    if not is_address(name):
        return Path(name).expanduser().absolute()
    try:
        from upath import UPath

        # A cached listing would hide later writes of other processes.
        path = UPath(str(name), use_listings_cache=False)
        _ = path.fs
    except ImportError as error:
        raise UsageError(
            f"{name} is in an object store, whose client is not installed: {error}.",
            "pip install 'texthash[s3]', or the fsspec client of that store.",
        ) from error
    except ValueError as error:
        problem = f"{name} is not the address of an object store: {error}."
        raise UsageError(problem, "write it as s3://bucket/prefix.") from error
    if not path.drive.strip("/"):
        raise UsageError(f"{name} names no bucket.", "write it as s3://bucket/prefix.")
    return cast("Path", path)


def check_prefix(address: str | Path) -> None:
    """Raise :class:`UsageError` for an address in which an index cannot be kept; paths are not looked at."""
    if is_address(address) and (found := _AMBIGUOUS.search(str(address).partition("://")[2].rstrip("/"))):
        raise UsageError(
            f"{address} has {found[0]!r} in its prefix, which clients of object stores read differently.",
            "name a prefix without % ? # * [ ] \\, empty parts, and parts that are dots.",
        )


def is_address(name: str | Path) -> bool:
    """Return whether a name is a URI such as ``s3://bucket/prefix`` rather than a path."""
    return not isinstance(name, Path) and "://" in str(name)


def check_path(name: str, value: Any) -> None:
    """Raise :class:`UsageError` unless an argument can be the path or the name of a file."""
    try:
        usable = isinstance(value, str | os.PathLike) and bool(os.fsencode(value)) and "\0" not in str(value)
    except UnicodeEncodeError:  # half of a surrogate pair
        usable = False
    if not usable:
        raise UsageError(f"{name}={shown(value)} is no path.", "name a file or a directory.")


def local_path(name: str | Path) -> Path:
    """Return a path; raises :class:`UsageError` for an address, from which ``Path`` makes a folder such as ``s3:``."""
    check_path("path", name)
    if is_address(name) or _COLLAPSED.match(str(name)):
        raise UsageError(f"{name} is an address, not a path of this machine.", "name a file or a directory.")
    return Path(name)


def is_dataset(name: str | Path | None) -> bool:
    """Return whether a library reads a corpus by this name: ``hf://owner/name``, ``ir_datasets:beir/scifact``."""
    return isinstance(name, str) and name.startswith((HUB_SCHEME, COLLECTION_SCHEME))


def _directory(chosen: str | Path, variable: str) -> Path:
    path = as_path(chosen)
    for place in (path, *path.parents) if isinstance(path, Path) else ():
        try:
            is_directory = stat.S_ISDIR(place.stat().st_mode)
        except (FileNotFoundError, NotADirectoryError):
            if place.is_symlink():
                raise UsageError(f"{place} is a link to nothing.", f"set {variable} to a directory.") from None
            continue
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            raise UsageError(f"{place} leads through a link to itself.", f"set {variable} to a directory.") from None
        if not is_directory:
            below = "" if place == path else f", so {path} cannot be one"
            raise UsageError(f"{place} is a file, not a directory{below}.", f"set {variable} to a directory.")
        break
    return path


def _copies_of(address: str) -> Path:
    """Return the scratch directory for the state at an address, in its words and distinct from that of every other.

    One of an earlier version, which had the words alone, is kept.
    """
    words = re.sub(r"[^A-Za-z0-9.-]+", "-", address.partition("://")[2]).strip("-.")
    before = _copies() / words
    return before if before.is_dir() else _copies() / f"{words}-{hashlib.sha256(address.encode()).hexdigest()[:8]}"
