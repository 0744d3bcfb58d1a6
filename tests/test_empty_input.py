"""Files and streams without a document: an error names them, and nothing is written."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.test_cli_index import home as home
from texthash.index.releases.release import read_release
from texthash.paths import StateDir

EMPTY: dict[str, bytes] = {
    "nothing.jsonl": b"",
    "blank.jsonl": b"\n \n",
    "packed.jsonl.gz": gzip.compress(b""),
    "header.csv": b"id,text\n",
    "header.tsv": b"id\ttext\n",
    "list.json": b"[]",
    "nothing.json": b"",
    "nothing.csv": b"",
}


@pytest.fixture
def cli(home: StateDir, monkeypatch: pytest.MonkeyPatch, run_cli: Callable) -> Callable[..., tuple[int, str, str]]:
    monkeypatch.setenv("TEXTHASH_HOME", str(home.root))
    return run_cli


def table(path: Path, **columns: pa.DataType) -> Path:
    pq.write_table(pa.table({name: pa.array([], kind) for name, kind in columns.items()}), path)
    return path


def test_files_without_a_row(cli: Callable, home: StateDir, tmp_path: Path) -> None:
    for name, content in EMPTY.items():
        (tmp_path / name).write_bytes(content)
    table(tmp_path / "rows.parquet", id=pa.string(), text=pa.string())
    table(tmp_path / "codes.parquet", id=pa.string(), code=pa.binary(4))
    np.save(tmp_path / "codes.npy", np.zeros((0, 4), np.uint8))
    table(tmp_path / "codes.npy.ids.parquet", id=pa.string(), code=pa.binary(4))
    output = tmp_path / "codes"
    commands = [("index", "upsert", tmp_path / name) for name in (*EMPTY, "rows.parquet")]
    commands += [("index", "import", tmp_path / name) for name in ("codes.parquet", "codes.npy")]
    commands += [("encode", "--output", output, "--from", tmp_path / name) for name in ("nothing.jsonl", "list.json")]
    for command in commands:
        status, out, said = cli(*map(str, command))
        assert (status, out) == (1, ""), command
        assert str(command[-1]) in said
        assert "remedy: " in said
    assert not [path for path in tmp_path.iterdir() if path.name.startswith((".codes", "codes/"))]
    assert not output.exists()
    assert read_release(home).name == "r000001"
