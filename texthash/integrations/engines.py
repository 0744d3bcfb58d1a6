"""Codes in other search engines, each with the query that gives the answers of texthash.

======================  ===========================================================================================
``.usearch``            index of usearch; keys are row numbers, ids in ``<file>.ids.parquet`` (``texthash[usearch]``)
``.multihash.faiss``    ``IndexBinaryMultiHash`` of faiss, ids beside it too (``texthash[faiss]``)
``.duckdb``             database with a table ``codes`` of number, id and code (``texthash[duckdb]``)
``.qdrant``             folder of Qdrant's local mode with a collection ``codes`` (``texthash[qdrant]``)
======================  ===========================================================================================

Flat indexes of faiss, Parquet and pgvector's COPY are written by :mod:`texthash.hamming.interop`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from texthash.errors import TexthashError, UsageError
from texthash.hamming.codes import check_bits, check_codes, to_bitstring
from texthash.hamming.interop import write_with_ids
from texthash.index.rescoring import signs_of
from texthash.io.atomic import whole, whole_directory

Codes = NDArray[np.uint8]
TABLE = "codes"
DUCKDB_QUERY = (
    f"SELECT id, bit_count(xor(code::BIT, ?::BLOB::BIT)) AS distance FROM {TABLE} ORDER BY distance, number LIMIT ?"
)
"""Query of a code, as bytes, and a limit; over a Parquet file of codes replace the table by ``read_parquet``."""
_BATCH = 1_000


def to_usearch(codes: Codes) -> Any:
    """Return an index of usearch by Hamming distance, whose keys are row numbers.

    ``index.search(code, k, exact=True)`` compares with all codes; without ``exact`` its graph may miss some.
    """
    usearch = _library("usearch.index", "usearch")
    index = usearch.Index(ndim=check_codes(codes), metric="hamming", dtype="b1")
    index.add(np.arange(len(codes), dtype=np.uint64), np.ascontiguousarray(codes))
    return index


def to_faiss_multi_hash(codes: Codes, hashes: int | None = None, flips: int = 1) -> Any:
    """Return an ``IndexBinaryMultiHash`` of faiss, which looks codes up by parts of them.

    A code is found if a part of it differs in at most ``flips`` bits, which is certain below ``certain_radius``:
    a search is exact as far as its hits are nearer than that, and may miss farther ones.

    Args:
        codes: Codes, uint8 [N, bits / 8].
        hashes: Number of parts; None for parts of 16 bits.
        flips: Number of bits that may differ in a part.
    """
    bits = check_codes(codes)
    parts = max(1, bits // 16) if hashes is None else hashes
    if not 0 < parts <= bits:
        raise UsageError(f"hashes={parts} parts cannot be made of {bits} bits.", f"give a number from 1 to {bits}.")
    index = _library("faiss", "faiss").IndexBinaryMultiHash(bits, parts, min(bits // parts, 32))
    index.nflip = flips
    index.add(np.ascontiguousarray(codes))
    return index


def certain_radius(index: Any) -> int:
    """Return the distance below which a multi-hash index of faiss finds every code.

    Of ``nhash`` parts, one differs in at most ``nflip`` bits if fewer than ``nhash * (nflip + 1)`` bits differ in all.
    """
    return index.nhash * (index.nflip + 1)


def to_duckdb(connection: Any, codes: Codes, ids: Sequence[str]) -> None:
    """Write codes into a new table ``codes`` of a DuckDB connection, for :data:`DUCKDB_QUERY`."""
    check_codes(codes)
    rows = pa.table(
        {
            "number": np.arange(len(codes), dtype=np.int64),
            "id": pa.array(_as_ids(codes, ids), pa.string()),
            "code": pa.array([code.tobytes() for code in codes], pa.binary()),
        }
    )
    connection.register("_rows", rows)
    connection.execute(f"CREATE TABLE {TABLE} AS SELECT number, id, code FROM _rows")
    connection.unregister("_rows")


def to_qdrant(client: Any, codes: Codes, ids: Sequence[str], collection: str = TABLE) -> None:
    """Write codes into a new collection of a Qdrant client, as vectors of -1 and 1 under their row numbers.

    The product of two such vectors is bits - 2 * distance. A server compares one bit a number, as the collection asks
    for binary quantization, and the original vectors are kept on disk.
    """
    models = _library("qdrant_client.models", "qdrant")
    names = _as_ids(codes, ids)
    client.create_collection(
        collection,
        vectors_config=models.VectorParams(
            size=check_codes(codes), distance=models.Distance.DOT, datatype=models.Datatype.FLOAT16, on_disk=True
        ),
        quantization_config=models.BinaryQuantization(binary=models.BinaryQuantizationConfig(always_ram=True)),
    )
    for first in range(0, len(codes), _BATCH):
        some = range(first, min(first + _BATCH, len(codes)))
        client.upsert(
            collection,
            models.Batch(
                ids=list(some),
                vectors=signs_of(codes[first : first + _BATCH]).tolist(),
                payloads=[{"id": names[row]} for row in some],
            ),
        )


def search_qdrant(client: Any, code: Codes, k: int, collection: str = TABLE) -> list[tuple[str, int]]:
    """Return id and Hamming distance of the nearest codes of a collection of :func:`to_qdrant`.

    Args:
        client: Client of Qdrant.
        code: Code of the query, uint8 [bits / 8].
        k: Largest number of hits.
        collection: Name of the collection.
    """
    models = _library("qdrant_client.models", "qdrant")
    exact = models.SearchParams(exact=True)
    found = client.query_points(collection, query=signs_of(code[None])[0].tolist(), limit=k, search_params=exact).points
    return [(point.payload["id"], round((8 * len(code) - point.score) / 2)) for point in found]


def pgvector_sql(bits: int, file: str = "codes.tsv") -> str:
    """Return the statements of psql that load a ``.tsv`` of codes, and index it for :func:`pgvector_query`.

    Args:
        bits: Length of the codes.
        file: Path of the file, as psql finds it.

    Raises:
        UsageError: The path has a line break, which ends a command of psql, or a width is no width of codes.
    """
    check_bits(bits)
    if file.splitlines() != [file] or "\0" in file:
        raise UsageError(f"the path {file!r} cannot be written into a command of psql.", "rename the file.")
    file = file.replace("'", "''")
    return (
        f"CREATE EXTENSION IF NOT EXISTS vector;\n"
        f"CREATE TABLE {TABLE} (number bigserial PRIMARY KEY, id text NOT NULL, code bit({bits}) NOT NULL);\n"
        f"\\copy {TABLE} (id, code) FROM '{file}'\n"
        f"CREATE INDEX ON {TABLE} USING hnsw (code bit_hamming_ops);\n"
    )


def pgvector_query(code: Codes) -> str:
    """Return the statement of PostgreSQL that finds the 10 codes nearest to one, uint8 [bits / 8]."""
    (bits,) = to_bitstring(code[None])
    return f"SELECT id, code <~> B'{bits}' AS distance FROM {TABLE} ORDER BY distance, number LIMIT 10;"


def write_engine(path: Path, codes: Codes, ids: Sequence[str]) -> None:
    """Write codes for another engine, whole or not at all; the suffix of the path selects it.

    Raises:
        UsageError: The suffix is unknown, the path exists, or there is another number of ids.
        TexthashError: The library of the engine is not installed.
    """
    suffix = engine_suffix(path)
    if suffix is None:
        raise UsageError(f"{path} has no suffix of an engine.", f"use one of {', '.join(_WRITERS)}.")
    if path.exists():
        raise UsageError(f"{path} exists already.", "name another file, or remove it.")
    _WRITERS[suffix](path, codes, _as_ids(codes, ids))


def engine_suffix(path: Path) -> str | None:
    """Return the suffix by which :func:`write_engine` knows the engine of a path; None for another path."""
    return next((suffix for suffix in _WRITERS if path.name.endswith(suffix)), None)


def _write_usearch(path: Path, codes: Codes, ids: Sequence[str]) -> None:
    index = to_usearch(codes)
    write_with_ids(path, codes, ids, lambda partial: index.save(str(partial)), replace=False)


def _write_multi_hash(path: Path, codes: Codes, ids: Sequence[str]) -> None:
    index = to_faiss_multi_hash(codes)
    write = _library("faiss", "faiss").write_index_binary
    write_with_ids(path, codes, ids, lambda partial: write(index, str(partial)), replace=False)


def _write_duckdb(path: Path, codes: Codes, ids: Sequence[str]) -> None:
    duckdb = _library("duckdb", "duckdb")
    with whole(path) as partial:
        partial.unlink(missing_ok=True)  # DuckDB takes an empty file for a damaged one
        with duckdb.connect(str(partial)) as connection:
            to_duckdb(connection, codes, ids)


def _write_qdrant(path: Path, codes: Codes, ids: Sequence[str]) -> None:
    qdrant = _library("qdrant_client", "qdrant")
    with whole_directory(path) as partial:
        client = qdrant.QdrantClient(path=str(partial))
        try:
            to_qdrant(client, codes, ids)
        finally:
            client.close()


_WRITERS: dict[str, Callable[[Path, Codes, Sequence[str]], None]] = {
    ".usearch": _write_usearch,
    ".multihash.faiss": _write_multi_hash,
    ".duckdb": _write_duckdb,
    ".qdrant": _write_qdrant,
}
ENGINE_SUFFIXES = tuple(_WRITERS)
"""Suffixes of the files that :func:`write_engine` writes."""


def _as_ids(codes: Codes, ids: Sequence[str]) -> list[str]:
    if len(ids) != len(codes):
        raise UsageError(f"{len(ids)} ids came with {len(codes)} codes.", "give one id per code.")
    return [str(id_) for id_ in ids]


def _library(module: str, extra: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise TexthashError(
            f"{module.partition('.')[0]} is not installed.",
            f'pip install "texthash[{extra}]", or choose another format.',
        ) from error
