"""Collections and runs: what is evaluated, and what is left out."""

from __future__ import annotations

import numpy as np
import pytest

from tests.evaluation.retrieval.small import QRELS, write_collection
from texthash.errors import CorpusError, UsageError
from texthash.evaluation.retrieval.collection import Collection
from texthash.evaluation.retrieval.ranked import Ranked, bucketed, by_query
from texthash.evaluation.retrieval.runs import against, read_run, write_run


def test_a_collection_has_the_judged_queries_alone_and_grades_by_document_number(tmp_path):
    found = Collection.read(write_collection(tmp_path / "small"))
    assert (found.name, found.split) == ("small", "test")
    assert list(found.query_ids) == ["q1", "q2", "q4"]
    assert list(found.judged) == [{0: 2, 1: 1, 4: 0}, {2: 1, 3: 2}, {0: 0}]
    assert found.qrels == QRELS


def test_test_is_chosen_only_on_request_where_there_is_another_split(tmp_path):
    folder = write_collection(tmp_path / "c", train={"q3": {"d5": 1}}, dev={"q2": {"d3": 1}}, test=QRELS)
    assert Collection.read(folder).split == "validation"
    assert Collection.read(folder, "test").split == "test"
    (folder / "qrels" / "dev.tsv").unlink()
    assert Collection.read(folder).split == "train"
    with pytest.raises(UsageError, match="no judgements of validation, only of train, test"):
        Collection.read(folder, "validation")
    with pytest.raises(CorpusError, match="no test collection"):
        Collection.read(tmp_path)


def test_a_run_that_was_written_is_read_back_in_the_order_of_scores(tmp_path):
    lists = [Ranked(np.array([0, 2, 1]), np.array([0.1, 0.3, 0.3])), Ranked(np.array([1]), np.array([1 / 3]))]
    write_run(tmp_path / "run.txt", ["q1", "q2"], lists, ["a", "b", "c"], "my run", depth=2)
    lines = (tmp_path / "run.txt").read_text().splitlines()
    assert lines == ["q1 Q0 b 1 0.3 my_run", "q1 Q0 c 2 0.3 my_run", "q2 Q0 b 1 0.3333333333333333 my_run"]
    assert read_run(tmp_path / "run.txt") == {"q1": {"b": 0.3, "c": 0.3}, "q2": {"b": 1 / 3}}
    with pytest.raises(UsageError, match="'a b' is not valid in a file of TREC"):
        write_run(tmp_path / "run.txt", ["a b", "q2"], lists, ["a", "b", "c"], "my run")


def test_a_judged_query_that_a_run_lacks_counts_as_0_and_others_are_named():
    run = {"q1": {"d1": 2.0, "d2": 1.0}, "q9": {"d1": 1.0}}
    queries, lists, judged, notes = against(run, QRELS, "run.txt", "qrels.txt")
    assert queries == ["q1", "q2", "q4"]
    found = by_query([bucketed(*case) for case in zip(lists, judged, strict=True)])
    assert found["ndcg_at_10"].expected.tolist() == pytest.approx([1, 0, np.nan], nan_ok=True)
    assert notes == [
        "1 queries with a relevant document, but not in the run, count as 0: q2.",
        "1 queries of the run, but without judgements, are left out: q9.",
    ]
    with pytest.raises(UsageError, match=r"none of 1 queries of run\.txt is judged, .* 'q9'; qrels\.txt .* 'q1'"):
        against({"q9": {"d1": 1.0}}, QRELS, "run.txt", "qrels.txt")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("q1 Q0 d1 1 0.5\n", "run.txt:1: 5 columns, not 6"),
        ("q1 Q0 d1 1 0.5 x\nq1 Q0 d2 2 high x\n", "run.txt:2: the score 'high' is no finite number"),
        ("q1 Q0 d1 1 nan x\n", "run.txt:1: the score 'nan' is no finite number"),
        ("q1 Q0 d1 1 2 x\nq1 Q0 d1 2 1 x\n", "run.txt:2: the document 'd1' occurs twice"),
        ("", "is empty"),
    ],
)
def test_runs_of_another_form_are_errors_with_file_and_line(tmp_path, text, message):
    (tmp_path / "run.txt").write_text(text)
    with pytest.raises(CorpusError, match=message):
        read_run(tmp_path / "run.txt")
