"""Codes go to other systems and come back the same; other systems measure the same distances."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from texthash.errors import TexthashError, UsageError
from texthash.hamming.interop import SUFFIXES, from_faiss, read_codes, to_faiss, write_codes
from texthash.hamming.kernels import distances

_NAMES = st.text(st.one_of(st.sampled_from("\\\t\nnrt"), st.characters(exclude_categories=("Cs",))), max_size=8)


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


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.npy", b"no array", "holds no codes"),
        ("x.parquet", b"PAR1", "holds no codes"),
        ("x.faiss", b"IBxF", "holds no codes"),
        ("x.tsv", b"a\t01010101\nb\t0101\n", r"x\.tsv:2"),
        ("x.tsv", b"a\t01010101\nb\t0101010101010101\n", "codes of 8, 16 bits"),
        ("x.tsv", b"", "no codes"),
        ("x.csv", b"", "no suffix of a known format"),
    ],
)
def test_what_holds_no_codes_is_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    pytest.importorskip("faiss")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TexthashError, match=message):
        read_codes(tmp_path / name)


def test_wrong_use_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TexthashError, match="no file"):
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
