"""Where state lives: prepared corpora, models, indexes, runs and the tracking store, all under TEXTHASH_HOME.

What is large, prepared corpora and indexes, may lie apart from it in the store: another directory, or an address in an
object store (TEXTHASH_STORE), which several nodes can share without a file system.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from texthash.errors import UsageError

HOME_VARIABLE = "TEXTHASH_HOME"
STORE_VARIABLE = "TEXTHASH_STORE"
DATA_VARIABLE = "TEXTHASH_DATA"
CACHE_VARIABLE = "TEXTHASH_CACHE"


@dataclass(frozen=True)
class StateDir:
    """The layout of the state.

    Both places are always absolute, so that a job on another node, whose working directory is a throw-away copy, finds
    the same ones.

    Attributes:
        root: The state directory.
        store_name: Where prepared corpora and indexes are, if not there: a directory or an address such as ``s3://bucket/prefix``.
    """

    root: Path
    store_name: str | None = None

    def make(self) -> None:
        """Make the state directory, for its user alone; one that is there keeps its mode."""
        self.root.parent.mkdir(parents=True, exist_ok=True)
        self.root.mkdir(mode=0o700, exist_ok=True)

    @property
    def store(self) -> Path:
        """Where prepared corpora and indexes are; see :func:`as_path`."""
        return as_path(self.store_name) if self.store_name else self.root

    def path(self, name: str) -> Path:
        """The place that a record names: an address, an absolute path, or one relative to the state directory.

        Raises:
            UsageError: a name that leads upwards.
        """
        if ".." in Path(name).parts:
            raise UsageError(f"{name} leads out of the directory in which it has to be.", "name a place below it.")
        return as_path(name) if is_address(name) else self.root / name

    @property
    def downloads(self) -> Path:
        return self.root / "downloads"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def index(self) -> Path:
        """Where indexes are."""
        return self.store / "index"

    @property
    def tracking_uri(self) -> str:
        return f"sqlite:///{self.root / 'mlflow.db'}"

    @property
    def artifacts(self) -> Path:
        return self.root / "mlartifacts"

    def corpus(self, name: str, edition: str) -> Path:
        """Directory of one prepared corpus."""
        return self.store / "corpora" / name / edition


def resolve_home(root: str | Path | None = None) -> StateDir:
    """Find the state directory: the argument, else TEXTHASH_HOME, else ``.texthash`` where the person started.

    TEXTHASH_STORE names the store, if it is apart. An object-store address as state directory stands for the store;
    what has to be files (the tracking database, checkpoints, models) then goes to a directory of its own under
    ``~/.texthash/stores``.

    Raises:
        UsageError: if a place exists but is not a directory, or an address cannot be used.
    """
    chosen = root or os.environ.get(HOME_VARIABLE) or ".texthash"
    store = os.environ.get(STORE_VARIABLE)
    if is_address(chosen):
        address = str(as_path(chosen))
        if store and str(as_path(store)) != address:
            raise UsageError(
                f"{HOME_VARIABLE}={chosen} and {STORE_VARIABLE}={store} are two stores.",
                f"name the store in {STORE_VARIABLE} alone, and a directory in {HOME_VARIABLE}.",
            )
        return StateDir(Path.home() / ".texthash" / "stores" / _as_name(address), address)
    return StateDir(_directory(chosen, HOME_VARIABLE), str(_directory(store, STORE_VARIABLE)) if store else None)


def node_cache() -> Path:
    """Directory of this node for what can be made again from the store: TEXTHASH_CACHE, else the system's own place."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "texthash"


def as_path(name: str | Path) -> Path:
    """A directory or file, made absolute; or, for an address, its ``UPath``.

    ``UPath`` (of universal_pathlib) is no :class:`pathlib.Path`, but has the same methods: ``path / "name"``,
    ``exists()``, ``open()``, ``glob()``. What is about files alone goes through :mod:`texthash.io.atomic`.
    Credentials and endpoint are those of the standard variables and files of the store's own client (``AWS_*``).

    Raises:
        UsageError: the client of the object store is not installed, or the address is not one.
    """
    if not is_address(name):
        return Path(name).expanduser().absolute()
    try:
        from upath import UPath

        # A listing that is remembered would hide what other processes have written since.
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


def is_address(name: str | Path) -> bool:
    """Whether a name is an address such as ``s3://bucket/prefix`` rather than a path."""
    return not isinstance(name, Path) and "://" in str(name)


def _directory(chosen: str | Path, variable: str) -> Path:
    path = as_path(chosen)
    if isinstance(path, Path) and path.exists() and not path.is_dir():
        raise UsageError(f"{path} is a file, not a directory.", f"set {variable} to a directory.")
    return path


def _as_name(address: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]+", "-", address.partition("://")[2]).strip("-.")
