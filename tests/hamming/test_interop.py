"""Codes go to other systems and come back the same; other systems measure the same distances."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from texthash.errors import TexthashError, UsageError
from texthash.hamming.interop import SUFFIXES, from_faiss, read_codes, to_faiss, write_codes
from texthash.hamming.kernels import distances

_PIECES = "\\\t\nnrtbfvN.\b\ufeff"
_NAMES = st.text(st.one_of(st.sampled_from(_PIECES), st.characters(exclude_categories=("Cs",))), max_size=8)


def some_codes(rows: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (rows, width), dtype=np.uint8)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(("rows", "width"), [(1, 1), (7, 4), (70_000, 8), (3, 128)])
def test_what_is_written_is_read(tmp_path: Path, suffix: str, rows: int, width: int) -> None:
    pytest.importorskip("faiss")
    codes = some_codes(rows, width)
    ids = [f"id {row}" for row in range(rows)]
    path = tmp_path / f"codes{suffix}"
    write_codes(path, codes, ids)
    found, names = read_codes(path)
    np.testing.assert_array_equal(found, codes)
    assert names == (ids if suffix in (".parquet", ".tsv", ".tsv.gz") else None)
    assert list(tmp_path.iterdir()) == [path]


@given(names=st.lists(_NAMES, min_size=1, max_size=5))
def test_any_id_survives_the_text_form(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    path = tmp_path_factory.mktemp("ids") / "codes.tsv"
    write_codes(path, some_codes(len(names), 2), names)
    assert read_codes(path)[1] == names


def test_the_text_form_is_that_of_pgvector(tmp_path: Path) -> None:
    write_codes(tmp_path / "codes.tsv.gz", np.array([[0b10000001, 0b00001111]], np.uint8), ["a\tb"])
    assert gzip.decompress((tmp_path / "codes.tsv.gz").read_bytes()) == b"a\\tb\t1000000100001111\n"


@pytest.mark.parametrize("width", [4, 8, 16, 32])
def test_faiss_finds_the_same_distances(width: int) -> None:
    pytest.importorskip("faiss")
    codes, queries = some_codes(500, width), some_codes(9, width, seed=1)
    index = to_faiss(codes)
    near, _ = index.search(queries, 500)
    np.testing.assert_array_equal(near, np.sort(distances(queries, codes), axis=1))
    np.testing.assert_array_equal(from_faiss(index), codes)


def test_usearch_finds_the_same_distances() -> None:
    index_module = pytest.importorskip("usearch.index")
    codes, queries = some_codes(300, 8), some_codes(5, 8, seed=1)
    found = index_module.search(codes, queries, 300, index_module.MetricKind.Hamming, exact=True)
    np.testing.assert_array_equal(np.asarray(found.distances), np.sort(distances(queries, codes), axis=1))


# mtime: names of tests must not differ between processes that collect them at another second.
_NO_BLOCK = gzip.compress(b"", mtime=0)[:10] + b"\xff" * 20  # no kind of block of zlib
_archive = io.BytesIO()
np.savez(_archive, codes=np.zeros((1, 4), np.uint8))
_ARCHIVE = _archive.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.npy", b"no array", "holds no codes"),
        ("x.parquet", b"PAR1", "holds no codes"),
        ("x.faiss", b"IBxF", "holds no codes"),
        ("x.tsv", b"a\t01010101\nb\t0101\n", r"x\.tsv:2"),
        ("x.tsv", b"a\t01010101\nb\t0101010101010101\n", "codes of 8, 16 bits"),
        ("x.tsv", b"", "no codes"),
        ("x.tsv", b"a\t01010101\n\\N\t01010101\n", r"x\.tsv:2: the id is missing"),
        ("x.tsv", b"a\t01010101\nb\t\\N\n", r"x\.tsv:2: the line is not"),
        ("x.tsv", b"\xff\xfea\x00\t\x000\x00", "holds no codes"),
        ("x.tsv.gz", gzip.compress(b"a\t01010101\n" * 100, mtime=0)[:-20], "holds no codes"),
        ("x.tsv.gz", _NO_BLOCK, "holds no codes"),
        ("x.npy", b"PK\x03\x04 no archive", "holds no codes"),
        ("x.npy", _ARCHIVE, "are a NpzFile"),
        ("x.csv", b"", "no suffix of a known format"),
    ],
)
def test_what_holds_no_codes_is_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    pytest.importorskip("faiss")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TexthashError, match=message):
        read_codes(tmp_path / name)


def test_wrong_use_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TexthashError, match="cannot be read: No such file"):
        read_codes(tmp_path / "absent.npy")
    with pytest.raises(UsageError, match="1 ids came with 2 codes"):
        write_codes(tmp_path / "x.npy", some_codes(2, 4), ["a"])
    np.save(tmp_path / "x.npy", np.zeros((2, 4)))
    with pytest.raises(TexthashError, match="not a uint8 array"):
        read_codes(tmp_path / "x.npy")


def test_a_faiss_index_of_another_kind_is_refused() -> None:
    faiss = pytest.importorskip("faiss")
    with pytest.raises(TexthashError, match="IndexBinaryHNSW"):
        from_faiss(faiss.IndexBinaryHNSW(64, 8))


_CODE = pa.array([b"abcd", b"efgh"], pa.binary(4))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"id": ["a", None], "code": _CODE}, r"x\.parquet:2: the id is missing"),
        ({"id": ["a", "b"], "code": pa.array([None, b"efgh"], pa.binary(4))}, r"x\.parquet:1: the code is missing"),
        ({"id": ["a", "b"], "code": [b"abcd", None]}, r"x\.parquet:2: the code is missing"),
        ({"id": ["a", "b"], "code": ["abcd", "efgh"]}, "the column code is of the type string"),
        ({"id": ["a", "b"], "code": [[1, 2], [3, 4]]}, "the column code is of the type list"),
        ({"id": [1.5, 2.0], "code": _CODE}, "the column id is of the type double"),
        ({"id": [True, False], "code": _CODE}, "the column id is of the type bool"),
        ({"id": [["a"], ["b"]], "code": _CODE}, "the column id is of the type list"),
        ({"id": [b"a", b"b"], "code": _CODE}, "the column id is of the type binary"),
        ({"id": pa.nulls(2), "code": _CODE}, "the column id is of the type null"),
        ({"name": ["a", "b"], "code": _CODE}, "has no column 'id', only name, code"),
        ({"id": ["a", "b"]}, "has no column 'code', only id"),
        ({"id": ["a", "b"], "code": [b"abcd", b"ef"]}, r"x\.parquet has codes of 16, 32 bits"),
        ({"id": pa.array([], pa.string()), "code": pa.array([], pa.binary(4))}, r"x\.parquet has no codes"),
    ],
)
def test_a_table_of_other_columns_is_refused(tmp_path: Path, columns: dict, message: str) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table(columns), path)
    with pytest.raises(TexthashError, match=message):
        read_codes(path)


@pytest.mark.parametrize(
    ("ids", "names"),
    [
        ([2**62, -1], [str(2**62), "-1"]),
        (pa.array(["a", "b"], pa.large_string()), ["a", "b"]),
        (pa.array(["a", "a"]).dictionary_encode(), ["a", "a"]),
    ],
)
def test_ids_of_other_types_keep_their_digits(tmp_path: Path, ids: object, names: list[str]) -> None:
    pq.write_table(pa.table({"id": ids, "code": _CODE}), tmp_path / "x.parquet")
    assert read_codes(tmp_path / "x.parquet")[1] == names


def test_a_byte_order_mark_is_no_part_of_the_first_id(tmp_path: Path) -> None:
    (tmp_path / "x.tsv").write_bytes("\ufeffa\t01010101\r\nb\t01010101\r\n".encode())
    assert read_codes(tmp_path / "x.tsv")[1] == ["a", "b"]
    (tmp_path / "x.tsv.gz").write_bytes(gzip.compress("\ufeffa\t01010101\n".encode()))
    assert read_codes(tmp_path / "x.tsv.gz")[1] == ["a"]


def test_escapes_of_postgresql_are_read(tmp_path: Path) -> None:
    (tmp_path / "x.tsv").write_bytes(rb"a\b\f\v\\b\x" + b"\t01010101\n")
    assert read_codes(tmp_path / "x.tsv")[1] == ["a\b\f\v\\bx"]
