"""Files that appear whole or not at all, and one preparation at a time, in a directory or in an object store.

A path is a :class:`pathlib.Path`, or a ``UPath`` of an object store (:func:`texthash.paths.as_path`). A store has
no renaming and no locks, and needs neither: an object appears when it has been sent completely, and what consists of
several becomes visible by one of them, which is sent last.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import tempfile
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

from texthash.errors import TexthashError
from texthash.progress import log_line

_REQUESTS = 32

T = TypeVar("T")
R = TypeVar("R")


def is_local(path: Path) -> bool:
    """Whether ``path`` is a file or directory of this node rather than in an object store."""
    return isinstance(path, Path)


def partial_name(path: Path) -> Path:
    """A hidden name beside ``path`` for what is not finished. Unlike one made of a process number, it is that of one
    caller alone among all threads, and among all nodes that share the directory."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}")


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary file to write to; it becomes ``path`` if the block ends well, else it is removed.

    It lies beside ``path``; for one in an object store in the node's temporary directory, from where it is sent.
    """
    if is_local(path):
        partial = partial_name(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
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
    """The file itself, or a copy of the object that lasts as long as the block, for readers of files."""
    if is_local(path):
        yield path
    else:
        with tempfile.TemporaryDirectory(prefix="texthash-") as folder:
            copy = Path(folder) / path.name
            _client(path).get_file(_key(path), str(copy))
            yield copy


def readable(path: Path) -> Path | IO[bytes]:
    """What pyarrow reads a file from: a path, or an open object, of which only what is asked for is fetched."""
    return path if is_local(path) else path.open("rb", cache_type="none")  # type: ignore[call-overload]


def read_parquet(path: Path, columns: list[str], rows: int = 8192) -> Iterator[pa.RecordBatch]:
    """Up to ``rows`` rows of some columns at a time, in order.

    Row groups are read one by one: what reads several holds on to the bytes of each until the last one is read, so that
    its memory grows with the file.
    """
    file = pq.ParquetFile(readable(path))
    for group in range(file.num_row_groups):
        yield from file.iter_batches(rows, row_groups=[group], columns=columns)


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, ensure_ascii=False, sort_keys=True))


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def write_text(path: Path, text: str) -> None:
    with whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_arrow(path: Path, table: pa.Table) -> None:
    """Write one table of working data, compressed for speed."""
    with (
        whole(path) as partial,
        pa.ipc.new_file(partial, table.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer,
    ):
        writer.write_table(table)


def read_arrow(path: Path, columns: list[str] | None = None) -> pa.Table:
    source = path if is_local(path) else pa.py_buffer(path.read_bytes())
    with pa.ipc.open_file(source) as file:
        if columns is None:
            return file.read_all()
        wanted = [file.schema.get_field_index(name) for name in columns]
    with pa.ipc.open_file(source, options=pa.ipc.IpcReadOptions(included_fields=wanted)) as file:
        return file.read_all().select(columns)  # what is not wanted is not uncompressed either


def write_array(path: Path, array: NDArray) -> None:
    with whole(path) as partial, partial.open("wb") as file:
        np.save(file, array)


def read_array(path: Path) -> NDArray:
    """Memory-mapped from a file; from an object store, in memory."""
    if is_local(path):
        return np.load(path, mmap_mode="r")
    with local_copy(path) as copy:
        return np.load(copy)


def side_by_side(function: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
    """Results in order; some calls at a time, on threads: an object store takes longer to begin an answer than to end
    it, and files are read and hashed on as many cores as there are."""
    with ThreadPoolExecutor(_REQUESTS) as pool:
        for start in range(0, len(items), _REQUESTS):
            yield from pool.map(function, items[start : start + _REQUESTS])


class InUseError(TexthashError):
    """Another process does the same at this moment."""


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold a lock file, which is there only meanwhile; wait for another process that holds it.

    The system frees it when a process dies, and the next one takes and removes the file that was left. In an object
    store nothing is locked: writers of the same object have to write the same bytes there.
    """

    def wait(file: IO[str]) -> None:
        log_line(f"waiting for another process that holds {path}")
        fcntl.flock(file, fcntl.LOCK_EX)

    with _locked(path, wait):
        yield


@contextmanager
def claimed(path: Path, what: str, remedy: str) -> Iterator[None]:
    """Hold a lock file as :func:`exclusive` does, but refuse where another process holds it.

    Args:
        path: The lock file.
        what: What is done under it, for the message.
        remedy: What the person can do instead.

    Raises:
        InUseError: another process holds it; says which.
    """

    def refuse(file: IO[str]) -> None:
        file.seek(0)
        holder = file.read() or "another process"  # it has the lock and has not signed yet
        raise InUseError(f"{what} is being done by {holder}.", remedy)

    with _locked(path, refuse) as file:
        if file is not None:
            now = datetime.now(UTC).isoformat(timespec="seconds")
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}, since {now}")
            file.flush()
        yield


@contextmanager
def _locked(path: Path, busy: Callable[[IO[str]], None]) -> Iterator[IO[str] | None]:
    """The lock file, held; ``busy`` waits for it or raises where another process holds it. None in an object store."""
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
            if not _is_still(path, file):  # removed by who held it before: others lock a new file of this name
                continue
            try:
                yield file
            finally:
                path.unlink(missing_ok=True)  # while it is held, so that it is ours
            return


@contextmanager
def whole_directory(target: Path) -> Iterator[Path]:
    """A temporary directory to fill; it becomes ``target`` if the block ends well, else it is removed.

    Of two processes that make the same one the second keeps what the first has made.
    """
    partial = partial_name(target)
    partial.mkdir(parents=True)
    try:
        yield partial
        try:
            partial.rename(target)
        except OSError:
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _is_still(path: Path, file: IO[str]) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def publish_directory(staged: Path, target: Path, last: str) -> None:
    """Give a finished directory its name.

    Args:
        staged: The directory, in the same file system or object store.
        target: Its name. A directory is renamed; the objects of a store are copied there by the store itself.
        last: The file that makes it a whole; without it, ``target`` counts as absent (:func:`is_published`).
    """
    if is_local(staged):
        for partial in staged.rglob(".*"):  # of a process that was killed while it wrote
            partial.unlink()
        staged.rename(target)
        return
    client, root = _client(staged), _key(staged)
    if is_published(target, last):  # by another that prepared the same at the same time
        return
    objects = [key for key in client.find(root) if key != f"{root}/{last}"]
    copies = [_key(target) + key.removeprefix(root) for key in objects]
    for key in set(client.find(_key(target))) - set(copies):  # left by one that was given up
        client.rm_file(key)
    client.copy(objects, copies)
    client.copy(f"{root}/{last}", f"{_key(target)}/{last}")


def is_published(target: Path, last: str) -> bool:
    """Whether a directory is there; in an object store, whether its last file is."""
    return target.exists() if is_local(target) else (target / last).exists()


def remove_directory(path: Path) -> None:
    """Remove a directory with all that is in it, if it is there."""
    if is_local(path):
        shutil.rmtree(path, ignore_errors=True)
        return
    with suppress(FileNotFoundError):
        _client(path).rm(_key(path), recursive=True)


def _client(path: Path) -> Any:
    return path.fs  # type: ignore[attr-defined]


def _key(path: Path) -> str:
    """Bucket and key, as the client of the store takes them."""
    return str(path.path).rstrip("/")  # type: ignore[attr-defined]
