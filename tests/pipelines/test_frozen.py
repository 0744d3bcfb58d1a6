"""A nested method on test: a training a seed, every width, a baseline of the same input, intervals, goals."""

from __future__ import annotations

import sys

import pytest
import yaml

from tests.pipelines.programs import program, rows_of

SETTINGS = {
    "method": "texthash",
    "baseline": "itq",
    "weightings": ["bm25"],
    "supervised": {"method": "vdsh_sp", "bits": 16},
    "bits": 32,
    "widths": [16, 32],
    "seeds": [0, 1],
    "goals": [{"corpus": "small", "edition": "random60", "input": "words", "bits": 16, "at_least": 0.99}],
}


@pytest.fixture
def frozen(monkeypatch, tmp_path, small_config):
    module = program("frozen", monkeypatch)
    monkeypatch.setattr(module, "RESULTS", tmp_path / "frozen.csv")
    monkeypatch.setattr(module, "INTERVALS", tmp_path / "frozen_intervals.csv")
    monkeypatch.setenv("TEXTHASH_HOME", str(tmp_path / "home"))
    corpus, table = tmp_path / "corpus.yaml", tmp_path / "frozen.yaml"
    corpus.write_text(yaml.safe_dump({"corpus": small_config.model_dump(mode="json"), "evaluation": {"k": 100}}))
    cells = [{"corpus": str(corpus), "input": "words", "overrides": ["training.epochs=3"]}]
    table.write_text(yaml.safe_dump({**SETTINGS, "cells": cells}))
    monkeypatch.setattr(sys, "argv", ["frozen.py", str(table)])
    return module


def test_one_training_is_a_row_a_width_and_is_not_repeated(frozen, tmp_path, monkeypatch):
    assert frozen.main() == 0
    rows = rows_of(tmp_path / "frozen.csv")
    assert [(row["method"], row["weighting"], row["bits"], row["seed"]) for row in rows] == [
        ("words", "sublinear_tfidf", "", ""),
        *(("texthash", "sublinear_tfidf", bits, seed) for seed in "01" for bits in ("16", "32")),
        *(("itq", weighting, bits, "0") for bits in ("16", "32") for weighting in ("sublinear_tfidf", "bm25")),
        ("vdsh_sp", "tfidf", "16", "0"),
    ]
    assert all(0 < float(row["p_at_100"]) < 1 and 0 < float(row["val_p_at_100"]) < 1 for row in rows)
    assert [bool(row["cosine"]) for row in rows] == [row["method"] == "texthash" for row in rows]

    intervals = rows_of(tmp_path / "frozen_intervals.csv")
    assert [(row["bits"], row["seeds"]) for row in intervals] == [("16", "2"), ("32", "2")]
    for row in intervals:
        own = [float(r["p_at_100"]) for r in rows if (r["method"], r["bits"]) == ("texthash", row["bits"])]
        of_itq = {r["weighting"]: r for r in rows if (r["method"], r["bits"]) == ("itq", row["bits"])}
        best = max(of_itq.values(), key=lambda r: float(r["val_p_at_100"]))
        assert row["baseline"] == f"itq {best['weighting']}"
        assert float(row["p_at_100"]) == pytest.approx(sum(own) / 2, abs=2e-4)
        assert float(row["above"]) == pytest.approx(sum(own) / 2 - float(best["p_at_100"]), abs=2e-4)
        assert float(row["low"]) < float(row["p_at_100"]) < float(row["high"])

    monkeypatch.setattr(frozen.EvaluationProtocol, "evaluate_test_once", None)  # a second look at test would fail
    before = (tmp_path / "frozen.csv").read_bytes()
    assert frozen.main() == 0
    assert (tmp_path / "frozen.csv").read_bytes() == before

    tables = program("fair_tables", monkeypatch).frozen(tmp_path)
    assert "| small, random60, words, 16 bits | 0.99 |" in tables
    assert tables.rstrip().endswith("| no |")
