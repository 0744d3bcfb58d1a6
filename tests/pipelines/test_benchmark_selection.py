"""The benchmark of choosing without labels: a run on a small corpus, and what its table says."""

from __future__ import annotations

from tests.pipelines.benchmark import rows_of


def test_the_chosen_epoch_lies_between_worst_and_best(small_rows, tmp_path):
    arguments = ["--path", small_rows, "--method", "vdsh", "--epochs", "3", "--bits", "16"]
    (row,) = rows_of("selection", *arguments, TEXTHASH_HOME=tmp_path)
    assert (row["corpus"], row["method"], row["epochs"]) == ("small", "vdsh", 3)
    assert 0 < row["chosen"] <= row["best"] < 1
    assert row["last"] <= row["best"]
    assert {row["best_epoch"], row["chosen_epoch"]} <= {1, 2, 3}
