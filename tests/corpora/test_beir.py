"""Test collections in the layout of BEIR, from the files to a prepared corpus with its judgements."""

from __future__ import annotations

import gzip
import json

import pytest

import texthash
from tests.evaluation.retrieval.small import QRELS, QUERIES, real_collection, write_collection
from texthash.config import CorpusConfig, Edition, SplitRule
from texthash.corpora.qrels import read_qrels, write_qrels
from texthash.corpora.readers import beir
from texthash.corpora.readers.formats import reader_of
from texthash.errors import CorpusError

EDITION = Edition(name="small", split=SplitRule(kind="random", train=0.6, validation=0.2), stop_words=None)


@pytest.fixture
def folder(tmp_path):
    return write_collection(tmp_path / "small")


def test_a_folder_of_that_layout_is_recognised_and_a_title_at_the_beginning_of_a_text_is_not_repeated(folder):
    assert reader_of(CorpusConfig(name="small", path=str(folder))) is beir
    texts = {document.id: document.text for document in beir.read_documents(folder)}
    assert texts["d1"] == "Sorting\nsort an array of numbers"
    assert texts["d2"] == "sort a list of names"
    assert texts["d3"] == "Open a file and read it"


def test_a_prepared_corpus_keeps_queries_and_judgements_beside_its_documents(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("TEXTHASH_HOME", str(tmp_path / "home"))
    corpus = texthash.prepare("small", folder, edition=EDITION)
    assert sum(corpus.manifest.documents.values()) == 5
    assert corpus.manifest.judged == {"test": 2}  # the third judged query has no relevant document
    assert corpus.manifest.warnings == []
    queries = map(json.loads, (corpus.path / "judged" / "queries.jsonl").read_text().splitlines())
    assert {row["_id"]: row["text"] for row in queries} == QUERIES
    qrels = beir.qrels_files(corpus.path / "judged")
    assert {split: read_qrels(path) for split, path in qrels.items()} == {"test": QRELS}
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\n")
    with pytest.raises(CorpusError, match=r"test\.tsv changed since"):
        texthash.prepare("small", folder, edition=EDITION)


def test_judgements_of_unknown_ids_are_counted_and_named(tmp_path):
    judged = {"q1": {"d1": 1, "d8": 1, "d9": 2}, "q8": {"d1": 1}, "q2": {"d8": 1}}
    found = beir.read_judgements(write_collection(tmp_path / "c", test=judged))
    assert found.qrels == {"test": {"q1": {"d1": 1}, "q2": {}}}
    without_query, without_document = found.notes
    assert "1 judgements of 1 unknown queries are left out: q8." in without_query
    assert "3 judgements of 2 unknown documents are left out: d8, d9." in without_document


def test_splits_are_those_of_the_files_and_gzipped_files_are_read(tmp_path):
    folder = write_collection(tmp_path / "c", train={"q3": {"d5": 1}}, dev={"q2": {"d3": 1}}, test=QRELS)
    for path in (folder / "corpus.jsonl", folder / "qrels" / "test.tsv"):
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    assert list(beir.read_judgements(folder).qrels) == ["train", "validation", "test"]
    assert len(list(beir.read_documents(folder))) == 5
    assert reader_of(CorpusConfig(name="c", path=str(folder))) is beir


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("q1,d1,1\n", r"test\.tsv:1: 1 columns, not TREC's four"),
        ("query-id\tcorpus-id\tscore\nq1\td1\n", r"test\.tsv:2: 2 columns, not BEIR's three"),
        ("query-id\tcorpus-id\tscore\nq1\td1\thigh\n", r"test\.tsv:2: the grade 'high' is no whole number"),
        ("query-id\tcorpus-id\tscore\nq1\td1\t0.5\n", r"test\.tsv:2: the grade '0.5' is no whole number"),
        ("query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td1\t2\n", r"test\.tsv:3: .*'d1' has the grade 2 .* and 1 before"),
    ],
)
def test_judgements_of_another_form_are_errors_with_file_and_line(folder, text, message):
    (folder / "qrels" / "test.tsv").write_text(text)
    with pytest.raises(CorpusError, match=message):
        beir.read_judgements(folder)


def test_judgements_of_no_split_and_repeated_queries_are_named(folder):
    (folder / "qrels" / "other.tsv").write_text("")
    with pytest.raises(CorpusError, match=r"other\.tsv is of no split"):
        beir.read_judgements(folder)
    (folder / "qrels" / "other.tsv").unlink()
    with (folder / "queries.jsonl").open("a") as file:
        file.write('{"_id": "q1", "text": "again"}\n')
    with pytest.raises(CorpusError, match=r"queries\.jsonl:5: the query 'q1' occurs twice"):
        beir.read_judgements(folder)


def test_documents_without_an_id_are_errors_with_file_and_line(folder):
    with (folder / "corpus.jsonl").open("a") as file:
        file.write('{"id": "d6", "text": "no underscore"}\n')
    with pytest.raises(CorpusError, match=r"corpus\.jsonl:6: there is no _id, only id, text"):
        list(beir.read_documents(folder))


def test_judgements_are_the_same_in_either_form(tmp_path):
    write_qrels(tmp_path / "beir.tsv", QRELS)
    rows = [f"{query} 0 {id_} {grade}\n" for query, own in QRELS.items() for id_, grade in own.items()]
    (tmp_path / "trec.txt").write_text("".join(rows))
    assert read_qrels(tmp_path / "beir.tsv") == read_qrels(tmp_path / "trec.txt") == QRELS


@pytest.mark.parametrize(("name", "documents", "queries"), [("cranfield", 1400, 225), ("cacm", 3204, 52)])
def test_real_collections_are_read_whole(name, documents, queries):
    folder = real_collection(name)
    assert sum(1 for _ in beir.read_documents(folder)) == documents
    found = beir.read_judgements(folder)
    assert len(found.qrels["test"]) == queries
    assert found.notes == []
