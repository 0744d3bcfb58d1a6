"""`texthash evaluate` with judged queries and with runs."""

from __future__ import annotations

import json

import pytest

import texthash
from tests.evaluation.retrieval.small import DOCUMENTS, QRELS, write_collection


@pytest.fixture
def cli(tmp_path, monkeypatch, run_cli):
    monkeypatch.setenv("TEXTHASH_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return run_cli


@pytest.fixture
def folder(tmp_path):
    return write_collection(tmp_path / "small", dev={"q2": {"d3": 1}}, test=QRELS)


@pytest.fixture
def model(tmp_path):
    return texthash.train("lsh", [text for _, text in DOCUMENTS.values()], bits=8).save(tmp_path / "model")


def test_a_model_on_a_collection_and_its_runs_give_the_same_figures(cli, folder, model, tmp_path):
    status, out, err = cli("evaluate", str(model), "--judged", "small", "--test", "--save-run", "runs", "--json")
    assert status == 0, err
    table = json.loads(out)
    assert (table["split"], table["queries"], table["left_out"]) == ("test", 2, 1)
    assert [row["row"] for row in table["rows"]] == [
        "random",
        "tf-idf cosine",
        "bm25",
        "lsh 8 hamming",
        "lsh 8 asymmetric",
        "lsh 8 asymmetric + bm25",
    ]
    rows = [f"{query} 0 {id_} {grade}\n" for query, own in QRELS.items() for id_, grade in own.items()]
    (tmp_path / "qrels.txt").write_text("".join(rows))
    files = ["runs/bm25.txt", "runs/lsh_8_hamming.txt"]
    for qrels in ("qrels.txt", "small/qrels/test.tsv"):
        status, out, err = cli("evaluate", "--run", files[0], "--run", files[1], "--qrels", qrels, "--json")
        assert status == 0, err
        runs = json.loads(out)
        for row, name in zip(runs["rows"], ("bm25", "lsh 8 hamming"), strict=True):
            expected = next(one for one in table["rows"] if one["row"] == name)
            assert row["metrics"] == expected["metrics"]
    assert runs["rows"][1]["versus_baseline"]["queries"] == 2


def test_the_table_is_printed_with_its_protocol_and_test_is_not_used_unless_said(cli, folder, model):
    status, out, err = cli("evaluate", str(model), "--judged", "small", "--gain", "exponential")
    assert status == 0, err
    assert "small, validation: 1 queries over 5 documents; exponential gain; P@10 at most 0.100" in err
    assert "nDCG@10" in out.splitlines()[0]
    assert [line.split("  ")[0].strip() for line in out.splitlines()[1:4]] == ["random", "tf-idf cosine", "bm25"]


def test_options_that_do_not_belong_together_are_named(cli, tmp_path):
    (tmp_path / "run.txt").write_text("q1 Q0 d1 1 1 x\n")
    for words, message in (
        (["--run", "run.txt"], "--run needs judgements"),
        (["--qrels", "qrels.txt"], "needs a run"),
        (["--save-run", "runs"], "--save-run runs needs --judged"),
        (["--encoder", "minilm"], "--encoder minilm needs --judged"),
    ):
        status, _, err = cli("evaluate", *words)
        assert status == 2
        assert message in err
    status, _, err = cli("evaluate", "latest", "--judged", str(tmp_path))
    assert status != 0


def test_a_study_of_collections_is_run_from_its_file(cli, folder, tmp_path, monkeypatch):
    (tmp_path / "plan.yaml").write_text("name: one\ncollections: {small: {path: small}, absent: {path: absent}}\n")
    monkeypatch.setenv("TEXTHASH_DATA", str(tmp_path))
    assert cli("study", "run", "plan.yaml", "--dry-run")[1].split() == ["small", "absent"]
    status, out, err = cli("study", "run", "plan.yaml", "--json")
    assert status == 0, err
    found = json.loads(out)
    assert [row["row"] for row in found["tables"][0]["rows"]] == ["random", "tf-idf cosine", "bm25"]
    assert "TEXTHASH_DATA names the folder of data" in found["left_out"]["absent"]
    assert (tmp_path / "home" / "runs" / "retrieval" / "one" / "tables.md").is_file()
