"""Tables of methods, run cell by cell: a row each, never twice, and which codes collapsed; no method is left out."""

from __future__ import annotations

import csv
import sys

import yaml

from tests.pipelines.programs import ROOT, program, rows_of
from texthash.methods.registry import methods, resolve

TABLE = ROOT / "configs" / "reproductions" / "methods.yaml"


def test_the_table_names_every_method_that_needs_no_questions_with_parameters_that_it_has():
    table = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
    assert set(table["methods"]) == {name for name, cls in methods().items() if cls.card.supervision != "pairs"}
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
    rows = rows_of(reproduce.RESULTS)
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


def test_a_missing_validation_figure_is_added_without_a_look_at_test(reproduce, small_config, tmp_path, monkeypatch):
    corpus, table = tmp_path / "corpus.yaml", tmp_path / "table.yaml"
    corpus.write_text(yaml.safe_dump({"corpus": small_config.model_dump(mode="json")}))
    rounds = [{"corpus": str(corpus), "bits": [16], "seeds": [0]}]
    table.write_text(yaml.safe_dump({"rounds": rounds, "methods": {"pcah": {}}}))
    monkeypatch.setattr(sys, "argv", ["reproduce.py", str(table)])
    assert reproduce.main() == 0
    whole = reproduce.RESULTS.read_text(encoding="utf-8")
    rows = list(csv.DictReader(whole.splitlines()))
    assert all(0 < float(row["val_p_at_100"]) <= 1 for row in rows)

    old = [dict(list(row.items())[:-1]) for row in rows]  # as written before there was the column
    with reproduce.RESULTS.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(old[0]))
        writer.writeheader()
        writer.writerows(old)
    monkeypatch.setattr(reproduce.Experiment, "evaluate", validation_only(reproduce.Experiment.evaluate))
    monkeypatch.setattr(sys, "argv", ["reproduce.py", str(table), "--validation"])
    assert reproduce.main() == 0
    assert reproduce.RESULTS.read_text(encoding="utf-8") == whole


def validation_only(evaluate):
    def only(study, model, *, test):
        assert not test
        return evaluate(study, model, test=test)

    return only


def test_orders_hold_or_are_broken_by_the_figures_on_validation(tmp_path, monkeypatch, capsys):
    orders = program("orders", monkeypatch)
    place = {"corpus": "c", "edition": "e", "bits": 32}
    table, results = tmp_path / "table.yaml", tmp_path / "results.csv"
    listed = [
        {**place, "above": ["nash"], "below": ["vdsh"]},
        {**place, "above": ["wish", "bmsh"], "below": ["nash"], "by": -0.02},
        {**place, "above": ["labels"], "below": ["none"], "except": ["dgm_sph"]},
    ]
    table.write_text(yaml.safe_dump({"orders": listed}))
    monkeypatch.setattr(sys, "argv", ["orders.py", str(table), str(results)])

    def told(figures):
        lines = [f"c,e,{method},32,{seed},{value}" for method, seed, value in figures]
        elsewhere = ["c,other,vdsh,32,0,0.9", "c,e,vdsh,64,0,0.9"]
        results.write_text("\n".join(["corpus,edition,method,bits,seed,val_p_at_100", *elsewhere, *lines]) + "\n")
        status = orders.main()
        return status, capsys.readouterr().out

    figures = [("nash", 0, 0.5), ("nash", 1, 0.6), ("vdsh", 0, 0.54), ("wish", 0, 0.531), ("dgm_sph", 0, 0.99)]
    status, said = told(figures)
    assert (status, [line.split()[0] for line in said.splitlines()]) == (0, ["holds", "holds", "open"])
    status, said = told([*figures, ("vdsh_s", 0, 0.8), ("bmsh", 0, "")])
    assert status == 0
    assert [line.split()[0] for line in said.splitlines()] == ["holds"] * 3
    assert "bmsh" in said.splitlines()[1]
    status, said = told([*figures, ("wish_s", 0, 0.545), ("bmsh", 0, 0.529)])
    assert status == 1
    assert [line.split()[0] for line in said.splitlines()] == ["holds", "broken", "bmsh", "broken", "wish_s"]
    assert "bmsh 0.529, nash 0.550" in said
