"""Files of arrays: what was written, and any damage to it is found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from texthash.io.array_file import ArrayFile, holds, packed, unpacked

FACTS = {"shard": "s", "version": 3, "costs": [1.5, float("inf")]}
ARRAYS = {
    "words": np.arange(12, dtype=np.uint64).reshape(2, 6),
    "nothing": np.empty((3, 0), np.uint32),
    "mask": np.array([True, False, True]),
    "figures": np.array([0.5, np.inf]),
    "one": np.array([7], np.uint8),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file.arrays"
    with path.open("wb") as file:
        ArrayFile(FACTS, ARRAYS).write(file)
    return path


def test_a_mapped_file_has_what_was_written(path: Path) -> None:
    found = ArrayFile.map(path)
    assert found.facts == FACTS
    assert list(found.arrays) == list(ARRAYS)
    for name, array in found.arrays.items():
        assert (array.dtype, array.shape) == (ARRAYS[name].dtype, ARRAYS[name].shape)
        np.testing.assert_array_equal(array, ARRAYS[name])
        assert not array.flags.writeable
        assert not array.size or array.ctypes.data % 64 == 0
    assert path.stat().st_size == ArrayFile(FACTS, ARRAYS).size_bytes


def test_facts_alone_make_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file.arrays"
    with path.open("wb") as file:
        ArrayFile(FACTS).write(file)
    assert holds(path, FACTS)
    assert ArrayFile.map(path).arrays == {}


def test_a_file_holds_the_facts_it_was_made_with(path: Path) -> None:
    assert holds(path, FACTS)
    assert holds(path, {"version": 3})
    assert not holds(path, {"version": 4})
    assert not holds(path, {"release": None, "version": 3, "other": 1})


def test_every_cut_and_every_changed_byte_is_found(path: Path) -> None:
    content = path.read_bytes()
    for size in range(len(content)):
        path.write_bytes(content[:size])
        assert not holds(path, {}), size
        with pytest.raises(ValueError, match=r"arrays|size"):
            ArrayFile.map(path)
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        assert not holds(path, {}), place
    path.write_bytes(content + b"more")
    assert not holds(path, {})


@pytest.mark.parametrize("strings", [[], ["a"], ["", "Äpfel", "漢字", "a" * 300]])
def test_packed_strings_are_unpacked(strings: list[str]) -> None:
    assert unpacked(packed(pa.array(strings, pa.string()))).to_pylist() == strings
