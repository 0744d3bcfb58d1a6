"""Tables of rows: means, the baseline, and what is left out."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.evaluation.retrieval.small import write_collection
from texthash.errors import UsageError
from texthash.evaluation.retrieval.collection import Collection
from texthash.evaluation.retrieval.ranked import Cuts, Ranked
from texthash.evaluation.retrieval.runs import read_run
from texthash.evaluation.retrieval.table import Row, averaged, measured
from texthash.evaluation.significance import paired


@pytest.fixture
def collection(tmp_path):
    return Collection.read(write_collection(tmp_path / "small"))


def row(name, *lists):
    """Row whose lists are given, as document number to score."""
    ranked = [Ranked(np.array(list(of), np.int64), np.array(list(of.values()), np.float64)) for of in lists]
    return Row(name, lambda queries: ranked[: len(queries)], bytes_per_document=16)


GOOD = row("good", {0: 3.0, 1: 2.0}, {3: 2.0, 2: 1.0}, {})
WORSE = row("bm25", {1: 3.0, 0: 2.0}, {0: 1.0}, {})
TIED = row("tied", dict.fromkeys(range(5), 0.0), dict.fromkeys(range(5), 0.0), {})


def test_a_table_has_the_means_and_the_paired_difference_to_the_baseline(collection):
    table = measured([WORSE, GOOD, TIED], collection)
    assert (table.queries, table.left_out, table.documents) == (2, 1, 5)
    assert table["good"]["ndcg_at_10"] == 1
    expected, best, worst = table["tied"].metrics["recall_at_10"]
    assert expected == best == worst == 1
    assert table["tied"].metrics["mrr_at_10"][1:] == pytest.approx((1, 1 / 4))
    values = [table[name].by_query["ndcg_at_10"].expected for name in ("good", "bm25")]
    assert table["good"].versus.difference == pytest.approx(paired(*values).difference)
    assert table["good"].versus.p == pytest.approx(min(1, 2 * paired(*values).p))  # Holm over two rows
    assert table["bm25"].versus is None
    assert table.ceilings == {"p_at_10_ceiling": pytest.approx(0.2)}
    assert "2 queries over 5 documents, 1 without a relevant document left out" in repr(table)
    assert "P@10 at most 0.200" in repr(table)


def test_a_table_is_plain_json(collection):
    record = json.loads(json.dumps(measured([WORSE, GOOD], collection, Cuts(gain="exponential")).to_dict()))
    assert (record["collection"], record["split"], record["gain"]) == ("small", "test", "exponential")
    assert [one["row"] for one in record["rows"]] == ["bm25", "good"]
    assert record["rows"][1]["metrics"]["ndcg_at_10"]["expected"] == 1
    assert record["rows"][1]["versus_baseline"]["queries"] == 2


def test_runs_of_the_rows_are_written(collection, tmp_path):
    measured([GOOD], collection, save_runs=lambda row: tmp_path / f"{row.name}.txt")
    assert read_run(tmp_path / "good.txt") == {"q1": {"d1": 3.0, "d2": 2.0}, "q2": {"d4": 2.0, "d3": 1.0}}


def test_rows_of_several_seeds_are_averaged_by_query(collection):
    table = measured([GOOD, WORSE], collection, baseline=None)
    both = averaged(table.rows)
    means = [table[name].by_query["map"].expected for name in ("good", "bm25")]
    assert both.by_query["map"].expected[:2].tolist() == pytest.approx(np.mean(means, axis=0)[:2].tolist())
    assert both.name == "good"
    assert table["good"].versus is None


def test_a_collection_without_a_relevant_document_is_an_error(tmp_path):
    folder = write_collection(tmp_path / "none", test={"q1": {"d1": 0}})
    with pytest.raises(UsageError, match="none of 1 judged queries has a relevant document"):
        measured([GOOD], Collection.read(folder))
