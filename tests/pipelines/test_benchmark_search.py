"""The search benchmark as a program: the form of its output, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "pipelines" / "benchmark.py"
FIELDS = {"engine", "bits", "documents", "queries", "threads", "k", "ms_per_query", "exact", "bytes_per_document"}


def run(*arguments):
    return subprocess.run([sys.executable, PROGRAM, *arguments], capture_output=True, text=True, check=False)


def test_rows_of_every_engine_and_batch(tmp_path):
    pytest.importorskip("faiss")
    sizes = ["--documents", "3000", "--bits", "64", "--bits", "128", "--k", "10", "--rounds", "1"]
    done = run("search", *sizes, "--json", str(tmp_path / "new" / "search.json"))
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    written = json.loads((tmp_path / "new" / "search.json").read_text())
    assert written["machine"]["cores"] >= 1
    assert "commit" in written
    engines = [row for row in written["rows"] if row["engine"] != "read_once"]
    assert {(row["engine"], row["bits"], row["queries"]) for row in engines} == {
        (engine, bits, queries)
        for engine in ("texthash_flat", "texthash_flat_half_allowed", "faiss_flat")
        for bits in (64, 128)
        for queries in (1, 64)
    }
    assert all(row.keys() >= FIELDS and row["exact"] and row["ms_per_query"] > 0 for row in engines)
    assert all(row["gb_per_s"] > 0 for row in written["rows"] if row["engine"] == "read_once")


@pytest.mark.parametrize(
    "arguments", [["search"], ["search", "--json", "-", "--documents", "0"], ["search", "--json", "-", "--engine", "x"]]
)
def test_wrong_use(arguments):
    done = run(*arguments)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
