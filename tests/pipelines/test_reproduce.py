"""Tables of methods, run cell by cell: a row each, never twice, and which codes collapsed; no method is left out."""

from __future__ import annotations

import csv
import importlib.util
import sys
from pathlib import Path

import pytest
import yaml

from texthash.methods.registry import methods, resolve

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "configs" / "reproductions" / "methods.yaml"


@pytest.fixture
def reproduce(monkeypatch, tmp_path):
    """The program as a module, its results in a place of its own."""
    monkeypatch.syspath_prepend(str(ROOT / "pipelines"))
    spec = importlib.util.spec_from_file_location("reproduce", ROOT / "pipelines" / "reproduce.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "reproduce", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "RESULTS", tmp_path / "results.csv")
    monkeypatch.setenv("TEXTHASH_HOME", str(tmp_path / "home"))
    return module


def test_the_table_names_every_method_with_parameters_that_it_has():
    table = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
    assert set(table["methods"]) == set(methods())
    for name, own in table["methods"].items():
        resolve(name, own.get("params", {}))


def test_each_cell_is_a_row_that_is_not_run_again_and_tells_collapse(reproduce, small_config, tmp_path, monkeypatch):
    corpus, table = tmp_path / "corpus.yaml", tmp_path / "table.yaml"
    training = {"epochs": 2, "batch_size": 64}
    corpus.write_text(yaml.safe_dump({"corpus": small_config.model_dump(mode="json"), "training": training}))
    heavy = {"hidden": 32, "kl_weight": 1e4}
    named = {"nash": {"params": heavy}, "itq": {}}
    once = {"corpus": str(corpus), "bits": [16], "seeds": [0]}
    cells = {"rounds": [once, once], "methods": named}
    table.write_text(yaml.safe_dump(cells, sort_keys=False))
    monkeypatch.setattr(sys, "argv", ["reproduce.py", str(table)])
    assert reproduce.main() == 0
    rows = list(csv.DictReader(reproduce.RESULTS.open(encoding="utf-8")))
    assert [(row["method"], row["bits"], row["collapsed"]) for row in rows] == [
        ("tfidf_cosine", "", ""),
        ("nash", "16", "yes"),
        ("itq", "16", "no"),
    ]
    assert [(row["epochs"], bool(row["seconds_per_epoch"])) for row in rows] == [("", False), ("2", True), ("", False)]
    assert float(rows[1]["p_at_100"]) < float(rows[2]["p_at_100"])
    before = reproduce.RESULTS.read_bytes()
    assert reproduce.main() == 0
    assert reproduce.RESULTS.read_bytes() == before
