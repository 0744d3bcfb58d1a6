"""Test collections by their names in ir_datasets, from a collection that the test registers there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("ir_datasets", reason="the extra irdatasets is not installed")

import ir_datasets

import texthash
from texthash.config import Edition, SplitRule
from texthash.corpora.qrels import read_qrels
from texthash.corpora.readers import beir
from texthash.errors import CorpusError

EDITION = Edition(name="small", split=SplitRule(kind="random", train=0.6, validation=0.2), stop_words=None)
TEXTS = {f"d{n}": f"text {n} about {'arrays to sort' if n % 2 else 'files to open'}" for n in range(20)}
QUERIES = {"q1": "sort an array", "q2": "open a file", "q3": "nothing at all"}


def _registered(folder: Path, name: str, qrels: str | None) -> None:
    tables = {"docs": TEXTS, "queries": QUERIES}
    for kind, texts in tables.items():
        (folder / f"{kind}.tsv").write_text("".join(f"{id_}\t{text}\n" for id_, text in texts.items()))
    judged = {}
    if qrels is not None:
        judged["qrels_trec"] = folder / f"{name.replace('/', '-')}.qrels"
        judged["qrels_trec"].write_text(qrels)
    made = ir_datasets.create_dataset(
        docs_tsv=str(folder / "docs.tsv"),
        queries_tsv=str(folder / "queries.tsv"),
        **{key: str(path) for key, path in judged.items()},
    )
    ir_datasets.registry.register(name, made)


@pytest.fixture(scope="module")
def name(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("collection")
    _registered(folder, "made/small", None)
    _registered(folder, "made/small/train", "q3 0 d5 1\n")
    _registered(folder, "made/small/test", "q1 0 d1 2\nq1 0 d2 -1\nq2 0 d4 1\nq2 0 d99 1\n")
    return "ir_datasets:made/small"


def test_a_collection_is_prepared_with_the_judgements_of_its_parts(name, tmp_path, monkeypatch):
    monkeypatch.setenv("TEXTHASH_HOME", str(tmp_path / "home"))
    corpus = texthash.prepare("small", name, edition=EDITION)
    assert sum(corpus.manifest.documents.values()) == len(TEXTS)
    queries = map(json.loads, (corpus.path / "judged" / "queries.jsonl").read_text().splitlines())
    assert {row["_id"]: row["text"] for row in queries} == QUERIES
    qrels = beir.qrels_files(corpus.path / "judged")
    assert {split: read_qrels(path) for split, path in qrels.items()} == {
        "train": {"q3": {"d5": 1}},
        "test": {"q1": {"d1": 2, "d2": 0}, "q2": {"d4": 1}},
    }
    manifest = json.loads((corpus.path / "manifest.json").read_text())
    assert manifest["config"]["path"] == name
    assert manifest["judged"] == {"train": 1, "test": 2}
    assert texthash.prepare("small", name, edition=EDITION).path == corpus.path


def test_an_unknown_name_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("TEXTHASH_HOME", str(tmp_path / "home"))
    with pytest.raises(CorpusError, match="has no collection 'made/nothing'"):
        texthash.prepare("small", "ir_datasets:made/nothing", edition=EDITION)
