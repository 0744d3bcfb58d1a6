"""The training benchmark on a small corpus: both engines train the same network, and its rows say what they should."""

from __future__ import annotations

import json

import pytest

from tests.pipelines.benchmark import rows_of, run


def test_rows_of_both_engines(small_corpus, tmp_path):
    target = tmp_path / "train.json"
    options = ["--method", "nash", "--documents", "200", "--hidden", "32", "--rounds", "1", "--threads", "1"]
    done = run("train", "--corpus", small_corpus.path, "--json", target, *options)
    assert done.returncode == 0, done.stderr
    written = json.loads(target.read_text())
    assert {"machine", "commit", "rows"} <= written.keys()
    rows = {row["engine"]: row for row in written["rows"]}
    assert rows.keys() == {"texthash", "dense_adam"}
    assert all(row["method"] == "nash" and row["documents"] == 200 for row in rows.values())
    assert all(row["seconds_per_epoch"] > 0 for row in rows.values())
    assert rows["dense_adam"]["times_dense"] == 1.0


@pytest.mark.slow
def test_a_method_of_neighbours_is_timed_beside_nash(small_corpus):
    options = ["--method", "snuh", "--documents", "200", "--hidden", "32", "--rounds", "1", "--threads", "1"]
    rows = {row["engine"]: row for row in rows_of("train", "--corpus", small_corpus.path, *options)}
    assert rows.keys() == {"texthash", "nash"}
    assert rows["nash"]["times_nash"] == 1.0
    seconds = {engine: row["seconds_per_epoch"] for engine, row in rows.items()}
    assert rows["texthash"]["times_nash"] == seconds["texthash"] / seconds["nash"]


def test_a_method_without_a_dense_twin_is_refused(small_corpus):
    done = run("train", "--corpus", small_corpus.path, "--json", "-", "--method", "sth")
    assert done.returncode == 1
    assert "'sth' has no dense baseline" in done.stderr
