"""Arrays in one file, which every process that maps it shares with the others.

    8 bytes    mark of the format
    8 bytes    length of the head, little-endian
    head       JSON: the facts of the writer, and type, shape and place of each array
    arrays     each begins on a cache line
    32 bytes   SHA-256 of everything before

Arrays have the byte order of the machine: such a file is scratch of one node.
"""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_MARK = b"THarray1"
_ALIGNMENT = 64
_DIGEST = hashlib.sha256().digest_size
_BLOCK = 1 << 24


@dataclass(frozen=True, eq=False)
class ArrayFile:
    """Content of a file of arrays.

    Attributes:
        facts: What JSON can hold; :func:`holds` finds a file by it.
        arrays: Arrays by name, of numbers or booleans.
    """

    facts: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    @classmethod
    def map(cls, path: Path) -> ArrayFile:
        """Map a file, whose arrays cannot be written. Only its head is read.

        Raises:
            ValueError: It is no such file, or it is truncated.
        """
        with path.open("rb") as file:
            head, begin, size = _read_head(file)
            if file.seek(0, 2) != size:
                raise ValueError(f"{path} has another size than its head says")
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        arrays = {}
        for name, (kind, shape, place) in head["arrays"].items():
            count = int(np.prod(shape, dtype=np.int64))
            arrays[name] = np.frombuffer(mapped, kind, count, begin + place).reshape(shape)
        return cls(head["facts"], arrays)

    @property
    def size_bytes(self) -> int:
        """Bytes of the file."""
        head, places = self._head()
        return len(head) + _end(places, self.arrays) + _DIGEST

    def write(self, file: IO[bytes]) -> None:
        """Write the file."""
        total = hashlib.sha256()
        for piece in self._pieces():
            total.update(piece)
            file.write(piece)
        file.write(total.digest())

    def _pieces(self) -> Iterator[bytes | memoryview]:
        head, places = self._head()
        yield head
        end = 0
        for name, array in self.arrays.items():
            yield bytes(places[name] - end)
            yield np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
            end = places[name] + array.nbytes

    def _head(self) -> tuple[bytes, dict[str, int]]:
        """Return the begin of the file up to the arrays, and the place of each array after it."""
        places, end = {}, 0
        for name, array in self.arrays.items():
            places[name] = -(-end // _ALIGNMENT) * _ALIGNMENT
            end = places[name] + array.nbytes
        described = {name: [array.dtype.str, array.shape, places[name]] for name, array in self.arrays.items()}
        text = json.dumps({"facts": self.facts, "arrays": described}).encode()
        text += b" " * (-(len(_MARK) + 8 + len(text)) % _ALIGNMENT)
        return _MARK + len(text).to_bytes(8, "little") + text, places


def _end(places: Mapping[str, int], arrays: Mapping[str, NDArray[Any]]) -> int:
    return max((places[name] + array.nbytes for name, array in arrays.items()), default=0)


def _read_head(file: IO[bytes]) -> tuple[dict[str, Any], int, int]:
    """Return the head of a file, the place after it, and the size that the file has to have."""
    mark, length = file.read(len(_MARK)), file.read(8)
    size = int.from_bytes(length, "little")
    text = file.read(size) if mark == _MARK and size < _BLOCK else b""
    if not text or len(text) < size:
        raise ValueError(f"{file.name} is no file of arrays")
    head = json.loads(text)
    begin = len(_MARK) + 8 + size
    ends = [
        place + np.dtype(kind).itemsize * int(np.prod(shape, dtype=np.int64))
        for kind, shape, place in head["arrays"].values()
    ]
    return head, begin, begin + max(ends, default=0) + _DIGEST


def holds(path: Path, facts: Mapping[str, Any]) -> bool:
    """Return whether a file is whole, and the members of its facts are those given, as far as given. Reads it all."""
    total = hashlib.sha256()
    try:
        with path.open("rb") as file:
            head, _, size = _read_head(file)
            if any(head["facts"].get(name) != value for name, value in facts.items()):
                return False
            file.seek(0)
            left = size - _DIGEST
            while left and (block := file.read(min(left, _BLOCK))):
                total.update(block)
                left -= len(block)
            return not left and file.read() == total.digest()
    except (ValueError, TypeError, KeyError, AttributeError):  # a head that is no JSON, or other JSON
        return False


def packed(strings: pa.Array) -> NDArray[np.uint8]:
    """Return strings as an array of bytes, which a file can hold."""
    sink = pa.BufferOutputStream()
    batch = pa.record_batch([strings], names=["strings"])
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    return np.frombuffer(sink.getvalue(), np.uint8)


def unpacked(content: NDArray[np.uint8]) -> pa.Array:
    """Return the strings of the result of :func:`packed`, in its memory."""
    with pa.ipc.open_stream(pa.py_buffer(content)) as stream:
        return stream.read_next_batch().column(0)
