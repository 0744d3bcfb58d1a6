"""Vectors of the user's own on the command line, from training to a search by one of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from texthash.models.hasher import Hasher


@pytest.mark.parametrize("labels", [True, False])
def test_a_corpus_with_a_column_of_vectors_is_trained_released_searched_and_changed(
    vector_rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_cli, labels: bool
) -> None:
    monkeypatch.setenv("TEXTHASH_HOME", str(tmp_path / "home"))
    table = pq.read_table(vector_rows)
    rows = tmp_path / "rows.parquet"
    pq.write_table(table if labels else table.drop_columns(["labels"]), rows)
    settings = ["corpus.name=mine", f"corpus.path={rows}", "corpus.features=column:embedding", "corpus.shards=1"]
    reading = "method.params.input=features"
    status, _, said = run_cli("train", "itq", "--bits", "16", *settings, reading)
    assert status == 0, said
    status, _, said = run_cli("index", "build", "latest", "index.vectors=features", "index.shards=2")
    assert status == 0, said

    vectors, ids = np.array(table["embedding"].to_pylist(), np.float32), table["id"].to_pylist()
    file = tmp_path / "query.npy"
    np.save(file, vectors[7])
    status, out, said = run_cli("search", "--vector-file", str(file), "--rescore", "float", "--json", "--limit", "3")
    assert status == 0, said
    answer = json.loads(out)
    assert (answer["mode"], answer["hits"][0]["id"]) == ("semantic", ids[7])
    assert answer["hits"][0]["score"] == pytest.approx(1, abs=1e-3)
    model = next((tmp_path / "home").rglob("model.safetensors"))
    assert answer["code"] == Hasher.load(model.parent).encode_vectors(vectors[7:8])[0].tobytes().hex()

    more = tmp_path / "more.jsonl"
    new = np.linspace(-3, 3, 24) ** 3
    more.write_text(json.dumps({"id": "new", "text": "a new document", "embedding": new.tolist()}) + "\n")
    status, out, said = run_cli("index", "upsert", str(more), "--vector-column", "embedding")
    assert (status, json.loads(out)["new"]) == (0, 1), said
    np.save(file, new[None])
    found = json.loads(run_cli("search", "--vector-file", str(file), "--rescore", "float", "--json")[1])
    assert found["hits"][0]["id"] == "new"
    assert run_cli("index", "verify")[0] == 0

    for words, message in (
        (["search"], "either a text or a --vector-file"),
        (["search", "a text"], "vectors of your own"),
        (["search", "--vector-file", str(file), "--mode", "keyword"], "needs a text"),
        (["search", "--vector-file", str(more)], "cannot be read as an array"),
        (["index", "upsert", str(more)], "vectors of your own"),
        (
            ["index", "upsert", str(more), "--vector-column", "id"],
            "more.jsonl:1: id is the text 'new', not a list of numbers",
        ),
        (["index", "upsert", str(more), "--vector-column", "v"], "v is absent, not a list of numbers"),
        (["train", "itq", "corpus.name=plain", f"corpus.path={rows}", reading], "the corpus has none"),
    ):
        status, _, said = run_cli(*words)
        assert (status in (1, 2), message in said) == (True, True), said
    np.save(file, vectors[:2])
    assert "holds 2 vectors" in run_cli("search", "--vector-file", str(file))[2]
    more.write_text(json.dumps({"id": "new", "text": "a", "embedding": [0] * 24}) + "\n")
    assert "is zero" in run_cli("index", "upsert", str(more), "--vector-column", "embedding")[2]
