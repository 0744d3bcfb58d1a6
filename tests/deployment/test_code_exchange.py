"""What was exported comes back whole, and codes alone change nothing but codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.index.test_unknown_words import UNKNOWN, is_apart, put_in
from tests.index.test_writer import built, home
from tests.small_disk import small_disk
from texthash.deployment.code_exchange import export_codes
from texthash.index.releases.release import open_release
from texthash.index.releases.verify import verify
from texthash.index.writing.writer import IndexWriter
from texthash.paths import StateDir

__all__ = ["built", "home"]  # fixtures


def everything(home: StateDir) -> dict[str, dict[str, Any]]:
    rows = [
        row
        for shard in open_release(home).shards
        for row in shard.rows(["id", "title", "text", "labels", "code"]).to_pylist()
    ]
    return {row["id"]: row for row in rows}


@pytest.mark.parametrize("name", ["c.parquet", "c.tsv", "c.tsv.gz", "c.npy", "c.faiss"])
def test_an_export_comes_back_and_changes_nothing(
    home: StateDir, tmp_path: Path, name: str, run_cli: Callable[..., tuple[int, str, str]]
) -> None:
    put_in(home, odd=UNKNOWN)
    before, file = everything(home), str(tmp_path / name)
    assert run_cli("--home", str(home.root), "index", "export", file)[0] == 0
    status, out, _ = run_cli("--home", str(home.root), "index", "import", file)
    assert (status, json.loads(out)["new"]) == (0, 0)
    assert everything(home) == before
    assert is_apart(home, "odd")
    assert all(finding.ok for finding in verify(home, sample=100))


@pytest.mark.parametrize("before", [False, True])
def test_a_disk_that_becomes_full_leaves_both_files_of_an_export_or_none(
    home: StateDir, tmp_path: Path, before: bool
) -> None:
    with small_disk(tmp_path / "disk", 1) as disk:
        path = disk.path / "c.npy"
        if before:
            export_codes(home, path)
        held = {file.name: file.read_bytes() for file in disk.path.iterdir()}
        failed = 0
        for pages in count():
            disk.fill(pages)
            try:
                export_codes(home, path)
            except OSError:
                failed += 1
            else:
                break
            finally:
                disk.empty()
            assert {file.name: file.read_bytes() for file in disk.path.iterdir()} == held
        assert failed > 2
        assert {file.name for file in disk.path.iterdir()} == {"c.npy", "c.npy.ids.parquet"}


def test_a_parquet_export_brings_back_what_was_deleted(
    home: StateDir, tmp_path: Path, run_cli: Callable[..., tuple[int, str, str]]
) -> None:
    put_in(home, odd=UNKNOWN)
    before, file = everything(home), str(tmp_path / "c.parquet")
    run_cli("--home", str(home.root), "index", "export", file)
    with IndexWriter.open(home) as writer:
        writer.delete(ids=[*list(before)[:50], "odd"])
    assert run_cli("--home", str(home.root), "index", "import", file)[0] == 0
    assert everything(home) == before
    assert is_apart(home, "odd")


def test_replacing_fields_needs_agreement(
    home: StateDir, tmp_path: Path, run_cli: Callable[..., tuple[int, str, str]]
) -> None:
    file = str(tmp_path / "c.parquet")
    run_cli("--home", str(home.root), "index", "export", file)
    table = pq.read_table(file)
    pq.write_table(table.set_column(1, "title", [["other"] * len(table)]), file)
    before = everything(home)
    status, _, said = run_cli("--home", str(home.root), "index", "import", file)
    assert (status, f"the title of {len(table)} documents" in said, "--yes" in said) == (2, True, True)
    assert everything(home) == before
    assert run_cli("--home", str(home.root), "index", "import", file, "--yes")[0] == 0
    assert {row["title"] for row in everything(home).values()} == {"other"}
    assert everything(home) == {id_: {**row, "title": "other"} for id_, row in before.items()}
