"""The search benchmark: the form of its output, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from tests.pipelines.benchmark import PROGRAM, run

FIELDS = {
    *("engine", "codes", "bits", "documents", "queries", "threads", "k", "ms_per_query", "exact", "recall"),
    *("bytes_per_document", "bandwidth_share", "plan", "candidates"),
}


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
        for engine in (
            "texthash_flat",
            "texthash_flat_half_allowed",
            "texthash_flat_percent_allowed",
            "texthash_mih",
            "texthash_auto",
            "faiss_flat",
        )
        for bits in (64, 128)
        for queries in (1, 64)
    }
    assert all(row.keys() >= FIELDS and row["exact"] and row["ms_per_query"] > 0 for row in engines)
    assert all(row["recall"] == 1 for row in engines)
    assert {row["plan"] for row in engines if row["engine"] == "texthash_flat"} == {"flat"}
    assert all(row["gb_per_s"] > 0 for row in written["rows"] if row["engine"] == "read_once")


def test_the_table_alone_by_the_program_itself():
    options = ["--documents", "1000", "--bits", "64", "--k", "10", "--queries", "1", "--rounds", "1"]
    command = [sys.executable, PROGRAM, "search", *options, "--engine", "texthash_flat"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "texthash_flat" in done.stderr
    assert "ms_per_query" in done.stderr


def test_codes_of_a_file_clustered_with_peers_that_are_not_exact_and_a_picture(tmp_path):
    pytest.importorskip("faiss")
    random = np.random.default_rng(0)
    codes = random.integers(0, 256, (300, 8), dtype=np.uint8)
    np.save(tmp_path / "codes.npy", np.repeat(codes, 5, axis=0))
    engines = [word for name in ("texthash_mih", "faiss_mih", "faiss_hnsw") for word in ("--engine", name)]
    picture = tmp_path / "search.png"
    options = [
        "--codes",
        str(tmp_path / "codes.npy"),
        "--clustered",
        "--k",
        "5",
        "--rounds",
        "1",
        "--plot",
        str(picture),
    ]
    done = run("search", *options, *engines, "--threads", "1", "--threads", "2", "--json", "-")
    assert done.returncode == 0, done.stderr
    rows = [row for row in json.loads(done.stdout)["rows"] if row["engine"] != "read_once"]
    assert len(rows) == 3 * 2 * 2
    assert all(row["codes"] == "clustered" and row["documents"] == 14 * 1500 for row in rows)
    assert all(0 < row["recall"] <= 1 for row in rows)
    assert all(row["exact"] and row["candidates"] for row in rows if row["engine"] == "texthash_mih")
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_codes_of_a_corpus(small_corpus, small_hasher, tmp_path):
    target = tmp_path / "new" / "codes.npy"
    done = run("codes", "--corpus", small_corpus.path, "--model", small_hasher, "--out", target)
    assert done.returncode == 0, done.stderr
    codes = np.load(target)
    documents = sum(len(small_corpus.split(name)) for name in ("train", "validation", "test"))
    assert codes.shape == (documents, 4)
    assert list(target.parent.iterdir()) == [target]


def test_codes_are_learned_from_a_file(small_rows, tmp_path, monkeypatch):
    monkeypatch.setenv("TEXTHASH_HOME", str(tmp_path / "home"))
    out = tmp_path / "small-{bits}.npy"
    how = ["--method", "itq", "--bits", "16", "--bits", "32", "--limit", "500", "--out", out]
    done = run("codes", "--source", small_rows, *how)
    assert done.returncode == 0, done.stderr
    for bits in (16, 32):
        codes = np.load(tmp_path / f"small-{bits}.npy")
        assert codes.shape[1] == bits // 8
        assert 450 < len(codes) <= 500
        # A learned bit is 1 in some documents and 0 in others.
        assert np.all(np.ptp(np.unpackbits(codes, axis=1), axis=0) == 1)


@pytest.mark.parametrize(
    "arguments",
    [
        ["codes"],
        ["codes", "--out", "x.npy"],
        ["codes", "--out", "x.npy", "--source", "x.jsonl", "--model", "y"],
        ["codes", "--out", "x.npy", "--source", "x.jsonl", "--bits", "16", "--bits", "32"],
        ["search", "--documents", "0"],
        ["search", "--engine", "x"],
        ["search", "--clustered"],
        ["search", "--k", "0"],
        ["search", "--codes", "no-such.npy"],
    ],
)
def test_wrong_use(arguments):
    done = run(*arguments)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("error: ") == done.stderr.count("  remedy: ") == 1
