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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from texthash.errors import TexthashError, UsageError
from texthash.hamming.codes import check_bits, check_codes, to_bitstring
from texthash.io.atomic import whole

Codes = NDArray[np.uint8]
Ids = Sequence[str]
SUFFIXES = (".npy", ".parquet", ".faiss", ".tsv", ".tsv.gz")
_ROWS = 65_536
# Characters with a special meaning in COPY's text format.
_ESCAPES = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}


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
    target = Path(path)
    check_codes(codes)
    if ids is not None and len(ids) != len(codes):
        raise UsageError(f"{len(ids)} ids came with {len(codes)} codes.", "give one id per code.")
    names = ids if ids is not None else [str(row) for row in range(len(codes))]
    with whole(target) as partial:
        _WRITERS[_format(target)](partial, codes, names)


def read_codes(path: str | Path) -> tuple[Codes, list[str] | None]:
    """Read codes from a file of :func:`write_codes` or of another system.

    Returns:
        Codes, uint8 [N, bits / 8], and their ids if the format stores them, otherwise None.

    Raises:
        TexthashError: The file does not exist, or holds no codes.
    """
    source = Path(path)
    if not source.is_file():
        raise TexthashError(f"there is no file {source}.", f"name a file that ends in {', '.join(SUFFIXES)}.")
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
    except (OSError, ValueError, KeyError, EOFError, RuntimeError) as error:
        raise TexthashError(f"{path} holds no codes that can be read: {error}", "write it again.") from error


def _write_npy(path: Path, codes: Codes, ids: Ids) -> None:
    with path.open("wb") as file:  # NumPy would change the suffix of a path.
        np.save(file, codes)


def _read_npy(path: Path) -> tuple[Codes, None]:
    return np.load(path), None


def _write_parquet(path: Path, codes: Codes, ids: Ids) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema({"id": pa.string(), "code": pa.binary(codes.shape[1])})
    with pq.ParquetWriter(path, schema) as writer:
        for first in range(0, len(codes), _ROWS):
            rows = [code.tobytes() for code in codes[first : first + _ROWS]]
            writer.write_table(pa.table({"id": ids[first : first + _ROWS], "code": rows}, schema=schema))


def _read_parquet(path: Path) -> tuple[Codes, list[str]]:
    import pyarrow.parquet as pq

    table = pq.read_table(path, columns=["id", "code"])
    rows = table["code"].to_pylist()
    return _stacked(rows), [str(id_) for id_ in table["id"].to_pylist()]


def _write_faiss(path: Path, codes: Codes, ids: Ids) -> None:
    _faiss().write_index_binary(to_faiss(codes), str(path))


def _read_faiss(path: Path) -> tuple[Codes, None]:
    return from_faiss(_faiss().read_index_binary(str(path))), None


def _write_tsv(path: Path, codes: Codes, ids: Ids) -> None:
    table = str.maketrans(_ESCAPES)
    compressed = ".tsv.gz" in path.name
    with gzip.open(path, "wt", encoding="utf-8") if compressed else path.open("w", encoding="utf-8") as file:
        for first in range(0, len(codes), _ROWS):
            batch = to_bitstring(codes[first : first + _ROWS])
            file.writelines(
                f"{id_.translate(table)}\t{bits}\n" for id_, bits in zip(ids[first : first + _ROWS], batch, strict=True)
            )


def _read_tsv(path: Path) -> tuple[Codes, list[str]]:
    unescaped = {escaped: character for character, escaped in _ESCAPES.items()}
    ids, rows = [], []
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            id_, tab, bits = line.rstrip("\n").partition("\t")
            if not tab or not bits or set(bits) - {"0", "1"} or len(bits) % 8:
                raise TexthashError(f"{path}:{number}: the line is not id, tab and bits.", "write the file again.")
            ids.append(re.sub(r"\\.", lambda found: unescaped.get(found[0], found[0]), id_))
            rows.append(int(bits, 2).to_bytes(len(bits) // 8, "big"))
    return _stacked(rows), ids


def _stacked(rows: list[bytes]) -> Codes:
    widths = {len(row) for row in rows}
    if len(widths) != 1:
        found = "no codes" if not rows else f"codes of {', '.join(str(8 * width) for width in sorted(widths))} bits"
        raise TexthashError(f"there are {found}.", "give codes of one width.")
    check_bits(8 * widths.pop())
    return np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), -1).copy()


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise TexthashError("faiss is not installed.", "pip install faiss-cpu, or choose another format.") from error
    return faiss


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
