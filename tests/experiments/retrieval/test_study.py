"""Studies of retrieval, from the file to the tables."""

from __future__ import annotations

import json
import shutil

import pytest
import yaml

from tests.evaluation.retrieval.small import write_collection
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.errors import UsageError
from texthash.evaluation.retrieval.collection import Collection
from texthash.experiments.retrieval.plan import is_retrieval, load_retrieval_plan
from texthash.experiments.retrieval.study import run_retrieval
from texthash.local.models import prepare
from texthash.paths import StateDir

EDITION = {"name": "own", "split": {"kind": "random", "train": 0.6, "validation": 0.2}, "stop_words": None}
ROWS = [
    {"id": str(number), "title": f"thing {number}", "text": f"sort the numbers {number} of a list", "queries": [query]}
    for number, query in enumerate(["first of all", "sort numbers", "a list", "the numbers", "all of a list"] * 8)
]


def write_plan(folder, **changes):
    values = {
        "name": "small",
        "collections": {"small": {"path": "small"}, "absent": {"path": "absent"}},
        "settings": {"corpus": {"edition": EDITION}},
        "bits": [8],
        "seeds": [0, 1],
        "methods": {"lsh": None},
        **changes,
    }
    (folder / "plan.yaml").write_text(yaml.safe_dump(values))
    return folder / "plan.yaml"


@pytest.fixture
def pairs(tmp_path, monkeypatch) -> PreparedCorpus:
    monkeypatch.setenv("TEXTHASH_HOME", str(tmp_path / "home"))
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return prepare("pairs", rows)


def test_a_study_writes_the_table_of_each_collection_that_is_there(tmp_path):
    write_collection(tmp_path / "data" / "small")
    plan = load_retrieval_plan(write_plan(tmp_path))
    outcome = run_retrieval(plan, StateDir(tmp_path / "home"), tmp_path, tmp_path / "data")
    table = json.loads((outcome.directory / "small.json").read_text())
    rows = ["random", "tf-idf cosine", "bm25", "lsh 8 hamming", "lsh 8 asymmetric", "lsh 8 asymmetric + bm25"]
    assert [row["row"] for row in table["rows"]] == rows
    assert (table["split"], table["queries"], table["documents"]) == ("test", 2, 5)
    assert table["rows"][-2]["how"] == "float query against the bits, mean of 2 seeds"
    assert table["rows"][-1]["how"].startswith("scores of the first 1,000 of each, weight")
    assert outcome.left_out.keys() == {"absent"}
    page = (outcome.directory / "tables.md").read_text()
    assert page.startswith(
        "### small\n\nsmall, test: 2 queries over 5 documents, 1 without a relevant document left out"
    )
    assert "| row | bytes | nDCG@10 |" in page
    assert "* bm25: k1 1.2, b 0.75, stemmed" in page


def test_questions_and_titles_of_a_prepared_corpus_are_collections(pairs):
    asked = Collection.of_pairs(pairs, "validation")
    assert len(asked.document_ids) == len(ROWS)
    answers = {id_: ROWS[int(id_)]["queries"][0] for id_ in asked.document_ids}
    for query, judged in zip(asked.queries, asked.judged, strict=True):
        found = {answers[asked.document_ids[number]] for number in judged}
        assert found == {query}
    titles = Collection.of_titles(pairs, "test", most=3)
    assert len(titles.queries) == 3
    for query, judged in zip(titles.queries, titles.judged, strict=True):
        (number,) = judged
        assert query == f"thing {titles.document_ids[number]}"
    assert titles.notes[0].startswith("Queries are the titles of 3 of ")


def test_a_method_that_re_ranks_orders_pools_and_the_first_of_other_rows(pair_corpus, tmp_path):
    home = StateDir(tmp_path / "home")
    shutil.copytree(pair_corpus.path, home.corpus("pairs", "random60"))
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"corpus": pair_corpus.manifest.config.model_dump(mode="json")}))
    plan = load_retrieval_plan(
        write_plan(
            tmp_path,
            collections={"mine": {"corpus": "mine.yaml", "queries": "questions"}},
            split="validation",
            most=4,
            precision=[1],
            seeds=[0],
            methods={"lsh": {}, "second": {"method": "has", "params": {"embedding": 4, "filters": 2, "epochs": 1}}},
        )
    )
    table = run_retrieval(plan, home, tmp_path).tables["mine"]
    pools = ["pool: random", "pool: tf-idf cosine", "pool: bm25", "pool: has-8"]
    then = ["bm25, then has-8", "lsh 8 asymmetric + bm25, then has-8"]
    assert [row.name for row in table.rows][6:] == [*pools, *then]
    assert table.queries == 4
    assert table["pool: bm25"]["p_at_1"] == table["bm25"]["p_at_1"]
    assert table["pool: has-8"]["map"] == table["bm25, then has-8"]["map"]


def test_a_corpus_that_is_not_prepared_is_left_out_with_the_command(tmp_path):
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"corpus": {"name": "mine", "path": "rows.jsonl"}}))
    collections = {"mine": {"corpus": "mine.yaml", "queries": "titles"}}
    plan = load_retrieval_plan(write_plan(tmp_path, collections=collections))
    outcome = run_retrieval(plan, StateDir(tmp_path / "home"), tmp_path)
    assert "mine/random60 is not prepared: texthash prepare --config mine.yaml" in outcome.left_out["mine"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"collections": {"a": {"path": "a", "queries": "titles"}}}, "name a path, whose queries are judged"),
        ({"collections": {"a": {"corpus": "a.yaml"}}}, "name a path, whose queries are judged"),
        ({"methods": {"nahs": {}}}, "did you mean 'nash'"),
        ({"methods": {"lsh": {"feature": "minilm"}}}, "unknown key 'methods.lsh.feature'"),
        ({"keyword": {"bm25": {"b": 2}}}, r"keyword\.bm25\.b"),
        ({"collections": {"a": {"corpus": "absent.yaml", "queries": "titles"}}}, "there is no configuration file"),
    ],
)
def test_what_cannot_be_is_named_before_any_work(tmp_path, changes, message):
    path = write_plan(tmp_path, **changes)
    assert is_retrieval(path)
    with pytest.raises(UsageError, match=message):
        load_retrieval_plan(path)


def test_the_study_that_comes_with_the_project_can_be_read():
    plan = load_retrieval_plan("studies/retrieval.yaml")
    assert list(plan.collections) == ["cranfield", "cacm", "pycode", "pydoc"]
