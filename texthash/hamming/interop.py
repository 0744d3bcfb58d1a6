"""Exchange of codes with other systems; the suffix of a file selects its format.

=============  =======================================================================================================
``.npy``       uint8 [N, bits / 8]; ids are not stored
``.parquet``   columns ``id`` (string) and ``code`` (fixed-size binary)
``.faiss``     ``IndexBinaryFlat``; ids are not stored, rows are in order (needs ``pip install faiss-cpu``)
``.tsv``       PostgreSQL's COPY text format: id, tab, zeros and ones, for a ``bit(n)`` of pgvector; ``.tsv.gz`` too
=============  =======================================================================================================

The bytes are the same in all of them: most significant bit first.
"""

from __future__ import annotations

import gzip
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from texthash.errors import TexthashError, UsageError
from texthash.hamming.codes import check_bits, check_codes, to_bitstring
from texthash.input_files import require_file
from texthash.io.atomic import whole
from texthash.paths import local_path

Codes = NDArray[np.uint8]
Ids = Sequence[str]
IDS = ".ids.parquet"  # after the name of a file that stores no ids: the file of its codes and ids
SUFFIXES = (".npy", ".parquet", ".faiss", ".tsv", ".tsv.gz")
_ROWS = 65_536
# Characters with a special meaning in COPY's text format, and those that PostgreSQL also writes as escapes.
_ESCAPES = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
_UNESCAPES = {escape[1]: character for character, escape in _ESCAPES.items()} | {"b": "\b", "f": "\f", "v": "\v"}
_NULL = "\\N"
_MARK = "\ufeff"
_DAMAGES = (
    *(OSError, ValueError, KeyError, EOFError, RuntimeError),
    *(pa.ArrowException, zlib.error, zipfile.BadZipFile),
)


def write_codes(path: str | Path, codes: Codes, ids: Ids | None = None) -> None:
    """Write codes to a file, atomically.

    Args:
        path: File name that ends in one of :data:`SUFFIXES`.
        codes: Codes, uint8 [N, bits / 8].
        ids: Ids of the rows; None takes row numbers from 0.

    Raises:
        UsageError: The suffix is unknown, or the number of ids differs from that of the codes.
        TexthashError: The library of the format is not installed.
    """
    target = local_path(path)
    check_codes(codes)
    names = [str(row) for row in range(len(codes))] if ids is None else _one_each(ids, codes)
    with whole(target) as partial:
        _WRITERS[_format(target)](partial, codes, names)


def write_with_ids(
    path: Path, codes: Codes, ids: Ids, write: Callable[[Path], object] | None = None, *, replace: bool = True
) -> None:
    """Write a file that stores no ids, and one beside it that does: both, or neither if one of them cannot be written.

    Args:
        path: File name, to which :data:`IDS` is added for the second file.
        codes: Codes, uint8 [N, bits / 8].
        ids: Ids of the rows.
        write: Function that writes the first file; None writes the codes as :func:`write_codes` does.
        replace: Replace files that exist.

    Raises:
        UsageError: A file exists, or the number of ids differs from that of the codes.
    """
    check_codes(codes)
    beside = path.with_name(path.name + IDS)
    if not replace and beside.exists():
        raise UsageError(f"{beside} exists already.", "name another file, or remove it.")
    names = _one_each(ids, codes)
    # The file that the user has named appears last, so that the ids of a file that is there are there too.
    with whole(path) as partial, whole(beside) as partial_ids:
        _write_parquet(partial_ids, codes, names)
        if write is None:
            _WRITERS[_format(path)](partial, codes, names)
        else:
            write(partial)


def read_codes(path: str | Path) -> tuple[Codes, list[str] | None]:
    """Read codes from a file of :func:`write_codes` or of another system.

    Returns:
        Codes, uint8 [N, bits / 8], and their ids if the format stores them, otherwise None.

    Raises:
        TexthashError: The file does not exist, or holds no codes.
    """
    source = require_file(Path(path), f"name a file that ends in {', '.join(SUFFIXES)}.", TexthashError)
    with _readable(source):
        codes, ids = _READERS[_format(source)](source)
    check_codes(codes, name=f"the codes in {source}")
    return codes, ids


def to_faiss(codes: Codes) -> Any:
    """Return a faiss ``IndexBinaryFlat`` of the codes, in order."""
    index = _faiss().IndexBinaryFlat(check_codes(codes))
    index.add(np.ascontiguousarray(codes))
    return index


def from_faiss(index: Any) -> Codes:
    """Return the codes of a faiss ``IndexBinaryFlat``, in order.

    Raises:
        TexthashError: The index is of another type, which may not keep codes in order.
    """
    faiss = _faiss()
    flat = faiss.downcast_IndexBinary(index)
    if not isinstance(flat, faiss.IndexBinaryFlat):
        raise TexthashError(f"codes cannot be read from a faiss {type(flat).__name__}.", "give an IndexBinaryFlat.")
    codes: Codes = faiss.vector_to_array(flat.xb).reshape(flat.ntotal, flat.d // 8)
    return codes


def _one_each(ids: Ids, codes: Codes) -> Ids:
    if len(ids) != len(codes):
        raise UsageError(f"{len(ids)} ids came with {len(codes)} codes.", "give one id per code.")
    return ids


def _format(path: Path) -> str:
    for suffix in SUFFIXES:
        if path.name.endswith(suffix):
            return suffix.removesuffix(".gz")
    raise UsageError(f"{path} has no suffix of a known format.", f"use one of {', '.join(SUFFIXES)}.")


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except TexthashError:
        raise
    except _DAMAGES as error:
        raise TexthashError(f"{path} holds no codes that can be read: {error}", "write it again.") from error


def _write_npy(path: Path, codes: Codes, ids: Ids) -> None:
    with path.open("wb") as file:  # NumPy would change the suffix of a path.
        np.save(file, codes)


def _read_npy(path: Path) -> tuple[Codes, None]:
    return np.load(path), None


def _write_parquet(path: Path, codes: Codes, ids: Ids) -> None:
    import pyarrow.parquet as pq

    schema = pa.schema({"id": pa.string(), "code": pa.binary(codes.shape[1])})
    with pq.ParquetWriter(path, schema) as writer:
        for first in range(0, len(codes), _ROWS):
            rows = [code.tobytes() for code in codes[first : first + _ROWS]]
            writer.write_table(pa.table({"id": ids[first : first + _ROWS], "code": rows}, schema=schema))


def _read_parquet(path: Path) -> tuple[Codes, list[str]]:
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    absent = [name for name in ("id", "code") if name not in file.schema_arrow.names]
    if absent:
        found = ", ".join(file.schema_arrow.names) or "nothing"
        raise TexthashError(f"{path} has no column {absent[0]!r}, only {found}.", "name the columns id and code.")
    table = file.read(columns=["id", "code"])
    for name, (kinds, wanted) in _PARQUET_TYPES.items():
        column = table[name]
        if _types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if not any(is_kind(column.type) for is_kind in kinds):
            raise TexthashError(f"{path}: the column {name} is of the type {column.type}.", f"write {wanted}.")
        if column.null_count:
            row = column.is_null().index(True).as_py()
            raise TexthashError(f"{path}:{row + 1}: the {name} is missing.", "give every row an id and a code.")
    return _stacked(path, table["code"].to_pylist()), [str(id_) for id_ in table["id"].to_pylist()]


def _write_faiss(path: Path, codes: Codes, ids: Ids) -> None:
    _faiss().write_index_binary(to_faiss(codes), str(path))


def _read_faiss(path: Path) -> tuple[Codes, None]:
    return from_faiss(_faiss().read_index_binary(str(path))), None


def _write_tsv(path: Path, codes: Codes, ids: Ids) -> None:
    table = str.maketrans(_ESCAPES)
    compressed = ".tsv.gz" in path.name
    with gzip.open(path, "wt", encoding="utf-8") if compressed else path.open("w", encoding="utf-8") as file:
        if len(ids) and ids[0].startswith(_MARK):
            file.write(_MARK)  # A reader takes one mark for that of the file, and keeps the second one.
        for first in range(0, len(codes), _ROWS):
            batch = to_bitstring(codes[first : first + _ROWS])
            file.writelines(
                f"{id_.translate(table)}\t{bits}\n" for id_, bits in zip(ids[first : first + _ROWS], batch, strict=True)
            )


def _read_tsv(path: Path) -> tuple[Codes, list[str]]:
    ids, rows = [], []
    compressed, encoding = path.suffix == ".gz", "utf-8-sig"
    with gzip.open(path, "rt", encoding=encoding) if compressed else path.open(encoding=encoding) as file:
        for number, line in enumerate(file, 1):
            id_, tab, bits = line.rstrip("\n").partition("\t")
            if not tab or not bits or set(bits) - {"0", "1"} or len(bits) % 8:
                raise TexthashError(f"{path}:{number}: the line is not id, tab and bits.", "write the file again.")
            if id_ == _NULL:
                raise TexthashError(f"{path}:{number}: the id is missing.", "give every row an id and a code.")
            ids.append(re.sub(r"\\(.)", lambda found: _UNESCAPES.get(found[1], found[1]), id_, flags=re.DOTALL))
            rows.append(int(bits, 2).to_bytes(len(bits) // 8, "big"))
    return _stacked(path, rows), ids


def _stacked(path: Path, rows: list[bytes]) -> Codes:
    widths = {len(row) for row in rows}
    if len(widths) != 1:
        found = "no codes" if not rows else f"codes of {', '.join(str(8 * width) for width in sorted(widths))} bits"
        raise TexthashError(f"{path} has {found}.", "give codes of one width.")
    check_bits(8 * widths.pop())
    return np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), -1).copy()


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise TexthashError("faiss is not installed.", "pip install faiss-cpu, or choose another format.") from error
    return faiss


_types = pa.types
# Predicates of the types that a column may have, and what to write in place of another.
_PARQUET_TYPES: dict[str, tuple[tuple[Callable[[pa.DataType], bool], ...], str]] = {
    "id": ((_types.is_string, _types.is_large_string, _types.is_integer), "ids as strings or integers"),
    "code": (
        (_types.is_fixed_size_binary, _types.is_binary, _types.is_large_binary),
        "codes as binary values of bits / 8 bytes",
    ),
}
_WRITERS: dict[str, Callable[[Path, Codes, Ids], None]] = {
    ".npy": _write_npy,
    ".parquet": _write_parquet,
    ".faiss": _write_faiss,
    ".tsv": _write_tsv,
}
_READERS: dict[str, Callable[[Path], tuple[Codes, list[str] | None]]] = {
    ".npy": _read_npy,
    ".parquet": _read_parquet,
    ".faiss": _read_faiss,
    ".tsv": _read_tsv,
}
