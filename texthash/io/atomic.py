"""Atomic files and directories, and locks, in a file system or an object store.

A path is a :class:`pathlib.Path`, or a ``UPath`` of an object store (:func:`texthash.paths.as_path`). A store has
neither renames nor locks, and needs none: an object appears when it has been sent completely, and a group of objects
becomes visible by one of them, which is sent last.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from texthash.errors import TexthashError, UsageError
from texthash.io.outputs import made_folder, naming, replaceable
from texthash.paths import local_path
from texthash.progress import log_line

_REQUESTS = 32
_PATIENCE_S = 5.0  # A wait for a lock is logged once it has lasted this long, since short ones are normal.


T = TypeVar("T")
R = TypeVar("R")


def is_local(path: Path) -> bool:
    """Return whether ``path`` is a file or directory of this node rather than in an object store."""
    return isinstance(path, Path)


def partial_name(path: Path) -> Path:
    """Return a hidden name beside ``path`` for an unfinished file.

    Unlike a name with a process id, it is unique among threads, and among nodes that share the directory.
    """
    if not path.name:
        raise UsageError(f"{path} is a directory, not the name of a file.", "name a file.")
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}")


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield the path of a temporary file, which becomes ``path`` if the block succeeds, and is removed otherwise.

    The file is beside ``path``; for an object store it is in the node's temporary directory and sent at the end. Where
    ``path`` is a link, the file that it names is replaced, not the link.

    Raises:
        UsageError: Something else than a file is there, or a link to nothing.
        PermissionError: The directory cannot be written.
    """
    if is_local(path):
        path = replaceable(path)
        partial = partial_name(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with naming(path):
                yield partial
                partial.replace(path)
        finally:
            with suppress(FileNotFoundError):
                partial.unlink()
    else:
        with tempfile.TemporaryDirectory(prefix="texthash-") as folder:
            partial = Path(folder) / path.name
            yield partial
            _client(path).put_file(str(partial), _key(path))


@contextmanager
def local_copy(path: Path) -> Iterator[Path]:
    """Yield the file itself, or a temporary local copy of an object, for readers that need a file."""
    if is_local(path):
        yield path
    else:
        with tempfile.TemporaryDirectory(prefix="texthash-") as folder:
            copy = Path(folder) / path.name
            _client(path).get_file(_key(path), str(copy))
            yield copy


def readable(path: Path) -> Path | IO[bytes]:
    """Return a source for pyarrow: a path, or an open object of which only the requested ranges are fetched."""
    return path if is_local(path) else path.open("rb", cache_type="none")  # type: ignore[call-overload]


def read_parquet(path: Path, columns: list[str], rows: int = 8192) -> Iterator[pa.RecordBatch]:
    """Yield batches of at most ``rows`` rows of some columns, in order.

    Row groups are read one by one. A reader of several keeps the bytes of each until the last one is read, so its
    memory would grow with the file.
    """
    file = pq.ParquetFile(readable(path))
    for group in range(file.num_row_groups):
        yield from file.iter_batches(rows, row_groups=[group], columns=columns)


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON, atomically."""
    write_text(path, json.dumps(value, ensure_ascii=False, sort_keys=True))


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8, atomically."""
    with whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_arrow(path: Path, table: pa.Table) -> None:
    """Write a table as an Arrow IPC file, compressed with LZ4, atomically."""
    with (
        whole(path) as partial,
        pa.ipc.new_file(partial, table.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer,
    ):
        writer.write_table(table)


def read_arrow(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Read a table, or some of its columns, from an Arrow IPC file."""
    source = path if is_local(path) else pa.py_buffer(path.read_bytes())
    with pa.ipc.open_file(source) as file:
        if columns is None:
            return file.read_all()
        selected = [file.schema.get_field_index(name) for name in columns]
    # Columns that are not selected are not decompressed.
    with pa.ipc.open_file(source, options=pa.ipc.IpcReadOptions(included_fields=selected)) as file:
        return file.read_all().select(columns)


def write_array(path: Path, array: NDArray) -> None:
    """Write an array as ``.npy``, atomically."""
    with whole(path) as partial, partial.open("wb") as file:
        np.save(file, array)


def side_by_side(function: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
    """Yield the results of parallel calls in order.

    Threads hide the latency of an object store, and read and hash files on all cores.
    """
    with ThreadPoolExecutor(_REQUESTS) as pool:
        for start in range(0, len(items), _REQUESTS):
            yield from pool.map(function, items[start : start + _REQUESTS])


class InUseError(TexthashError):
    """Error raised when another process holds a claim."""


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold a lock file during the block; wait for another process that holds it, and log a wait of some seconds.

    The system frees the lock when its holder dies; the next process takes over the file that was left, and removes it.
    An object store has no locks: there, writers of the same object have to write the same bytes.
    """

    def wait(file: IO[str]) -> None:
        notice = threading.Timer(_PATIENCE_S, log_line, [f"waiting for another process that holds {path}"])
        notice.daemon = True
        notice.start()
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        finally:
            notice.cancel()

    with _locked(path, wait):
        yield


@contextmanager
def claimed(path: Path, what: str, remedy: str) -> Iterator[None]:
    """Hold a lock file as :func:`exclusive` does, but raise an error if another process holds it.

    Args:
        path: Path of the lock file.
        what: Name of the work under the lock, for the error.
        remedy: Remedy for the error.

    Raises:
        InUseError: Another process holds the lock; the error names it.
    """

    def refuse(file: IO[str]) -> None:
        file.seek(0)
        holder = file.read() or "another process"  # The holder may not have written its name yet.
        raise InUseError(f"{what} is being done by {holder}.", remedy)

    with _locked(path, refuse) as file:
        if file is not None:
            now = datetime.now(UTC).isoformat(timespec="seconds")
            name = f"process {os.getpid()} on {socket.gethostname()}, since {now}"
            with naming(path):
                os.ftruncate(file.fileno(), 0)
                os.write(file.fileno(), name.encode())  # unbuffered, since closing the file would fail again
        yield


@contextmanager
def _locked(path: Path, busy: Callable[[IO[str]], None]) -> Iterator[IO[str] | None]:
    """Yield the locked file, or None in an object store. If another process holds it, ``busy`` waits or raises."""
    if not is_local(path):
        yield None
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with path.open("a+", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                busy(file)
            if not _is_still(path, file):  # The previous holder has removed it, so others lock a new file.
                continue
            try:
                yield file
            finally:
                path.unlink(missing_ok=True)  # Removed before it is unlocked, so that no other lock is removed.
            return


@contextmanager
def whole_directory(target: Path) -> Iterator[Path]:
    """Yield a temporary directory, which becomes ``target`` if the block succeeds, and is removed otherwise.

    If two processes create the same directory, the first one's is kept.
    """
    partial = partial_name(target)
    partial.mkdir(parents=True)
    try:
        with naming(target):
            yield partial
        try:
            partial.rename(target)
        except OSError:
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def whole_files(folder: Path) -> Iterator[Path]:
    """Yield a temporary directory, whose files appear in ``folder`` if the block succeeds; otherwise none does.

    Files of the same names are replaced, others stay. The folder is made unless it exists.
    """
    with made_folder(local_path(folder)):
        staged = partial_name(folder / "output")
        staged.mkdir()
        try:
            with naming(folder):
                yield staged
                for file in sorted(path for path in staged.rglob("*") if path.is_file()):
                    target = replaceable(folder / file.relative_to(staged))
                    target.parent.mkdir(parents=True, exist_ok=True)
                    file.replace(target)
        finally:
            shutil.rmtree(staged, ignore_errors=True)


def _is_still(path: Path, file: IO[str]) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def publish_directory(staged: Path, target: Path, last: str) -> None:
    """Move a finished directory to its final path.

    Args:
        staged: Finished directory, in the same file system or object store.
        target: Final path. A directory is renamed; objects are copied within the store.
        last: Name of the file that marks ``target`` as complete; see :func:`is_published`.
    """
    if is_local(staged):
        for partial in staged.rglob(".*"):  # Left by a process that was killed during a write.
            partial.unlink()
        staged.rename(target)
        return
    client, root = _client(staged), _key(staged)
    if is_published(target, last):  # Another process has published the same meanwhile.
        return
    objects = [key for key in client.find(root) if key != f"{root}/{last}"]
    copies = [_key(target) + key.removeprefix(root) for key in objects]
    for key in set(client.find(_key(target))) - set(copies):  # Left by an attempt that was abandoned.
        client.rm_file(key)
    client.copy(objects, copies)
    client.copy(f"{root}/{last}", f"{_key(target)}/{last}")


def is_published(target: Path, last: str) -> bool:
    """Return whether a directory exists; in an object store, whether its last file exists."""
    return target.exists() if is_local(target) else (target / last).exists()


def remove_directory(path: Path) -> None:
    """Remove a directory with its content, if it exists."""
    if is_local(path):
        shutil.rmtree(path, ignore_errors=True)
        return
    with suppress(FileNotFoundError):
        _client(path).rm(_key(path), recursive=True)


def _client(path: Path) -> Any:
    return path.fs  # type: ignore[attr-defined]


def _key(path: Path) -> str:
    """Return bucket and key in the form of the store's client."""
    return str(path.path).rstrip("/")  # type: ignore[attr-defined]
