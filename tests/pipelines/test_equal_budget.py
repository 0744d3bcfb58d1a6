"""Searches of equal budget: as many trials for each method, resumable, chosen on validation, once on test."""

from __future__ import annotations

import json
import sys

import pytest
import yaml

from tests.pipelines.programs import rows_of
from texthash.config import load_config

SPACE = {
    "weighting": {"choice": ["tfidf", "bm25"]},
    "learning_rate": {"log": [0.001, 0.01]},
    "kl_weight": {"log": [0.03, 3]},
}
BUDGET = {"bits": [16], "seeds": [0, 1], "trials": 3, "seed": 0, "epochs": 2, "space": SPACE}


@pytest.fixture
def table(small_config, tmp_path, monkeypatch):
    corpus = tmp_path / "corpus.yaml"
    corpus.write_text(yaml.safe_dump({"corpus": small_config.model_dump(mode="json")}))
    named = {"nash": {"params": {"hidden": 32, "epochs": 3}}, "itq": {}}
    budget = {**BUDGET, "corpus": str(corpus), "methods": {"itq": {"seeds": [0]}, "nash": {}}}
    path = tmp_path / "table.yaml"
    path.write_text(yaml.safe_dump({"rounds": [], "methods": named, "budget": budget}, sort_keys=False))
    monkeypatch.setattr(sys, "argv", ["reproduce.py", str(path), "--tuned"])
    return path


def test_each_method_has_as_many_trials_and_the_best_on_validation_is_evaluated(reproduce, table, tmp_path):
    assert reproduce.main() == 0
    trials = rows_of(tmp_path / "trials.csv")
    assert [row["origin"] for row in trials if row["method"] == "itq"] == ["default", "sampled", "sampled"]
    assert [row["origin"] for row in trials if row["method"] == "nash"] == ["default", "hand", "sampled"]
    assert {row["epochs"] for row in trials if row["method"] == "nash"} == {"2"}, "no more than the budget's epochs"
    tuned = yaml.safe_load((tmp_path / "tuned.yaml").read_text(encoding="utf-8"))
    assert [(key, record["trials"]) for key, record in tuned.items()] == [
        ("small/random60/itq/16", 3),
        ("small/random60/nash/16", 3),
    ]
    for key, record in tuned.items():
        own = [row for row in trials if row["method"] == key.split("/")[2]]
        best = max(own, key=lambda row: float(row["validation"]))
        assert json.loads(best["params"]) == record["params"]
        assert record["validation"] == pytest.approx(float(best["validation"]), abs=1e-4)
    rows = rows_of(tmp_path / "results.csv")
    cells = [(row["method"], row["seed"], row["settings"]) for row in rows]
    assert cells == [("itq", "0", "tuned"), ("nash", "0", "tuned"), ("nash", "1", "tuned")]
    first = next(row for row in rows if row["method"] == "nash")
    assert float(first["val_p_at_100"]) == pytest.approx(tuned["small/random60/nash/16"]["validation"], abs=1e-4)

    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.csv")}
    assert reproduce.main() == 0
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.csv")} == before


def test_an_interrupted_search_repeats_no_trial_that_has_ended(reproduce, table, tmp_path, monkeypatch):
    budget = sys.modules["equal_budget"]
    advance, calls = budget.HalvingSetting.advance, []

    def interrupted(setting, trial, rung):
        if len(calls) == 4:
            calls.append(None)
            raise KeyboardInterrupt
        calls.append((setting.method, trial.number, rung))
        return advance(setting, trial, rung)

    monkeypatch.setattr(budget.HalvingSetting, "advance", interrupted)
    assert reproduce.main() == 130
    assert reproduce.main() == 0
    done = [call for call in calls if call]
    assert len(done) == len(set(done)), "a trial was trained twice"
    assert {number for method, number, _ in done if method == "nash"} == {0, 1, 2}


def test_the_space_of_a_method_is_its_own_widened_to_the_ranges_of_the_table(reproduce):
    search_space = sys.modules["equal_budget"].search_space

    def of(name):
        return search_space(load_config(None, [f"method.name={name}"]), SPACE)

    nash = of("nash")
    assert (nash["learning_rate"].low, nash["learning_rate"].high) == (0.001, 0.01)
    assert (nash["kl_weight"].low, nash["kl_weight"].high) == (0.03, 3)
    assert nash["weighting"].options == ("tfidf", "bm25")
    assert "dropout" in nash, "its own ranges stay"
    texthash = of("texthash")
    assert (texthash["learning_rate"].low, texthash["learning_rate"].high) == (0.001, 0.03)
    assert "kl_weight" not in texthash, "it has no such parameter"
    assert set(of("itq")) == {"iterations", "weighting"}


def test_a_dry_run_prints_the_cells_and_trains_nothing(reproduce, table, tmp_path, monkeypatch, capsys):
    before = sorted(tmp_path.iterdir())
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--dry-run"])
    assert reproduce.main() == 0
    assert capsys.readouterr().out.splitlines() == [
        "small random60 itq 16 0 tuned",
        "small random60 nash 16 0 tuned",
        "small random60 nash 16 1 tuned",
    ]
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--only", "itq"])
    assert reproduce.main() == 0
    assert capsys.readouterr().out.splitlines() == ["small random60 itq 16 0 tuned"]
    assert sorted(tmp_path.iterdir()) == before


def test_found_settings_are_trained_elsewhere_as_in_the_search(reproduce, table):
    content = yaml.safe_load(table.read_text(encoding="utf-8"))
    corpus = content["budget"]["corpus"]
    rounds = [
        {"corpus": corpus, "bits": [16], "seeds": [0]},
        {"corpus": corpus, "bits": [16], "seeds": [0, 1], "preset": "tuned", "methods": ["nash", "itq"],
         "overrides": ["corpus.edition.name=other"]},
    ]  # fmt: skip
    content = {**content, "rounds": rounds, "methods": {**content["methods"], "lsh": {}}}
    table.write_text(yaml.safe_dump(content, sort_keys=False))
    by_hand, found = (list(reproduce.cells(reproduce.read_table(table), rounds=[number])) for number in (1, 2))
    assert [cell.key[2:] for cell in by_hand] == [
        ("tfidf_cosine", "", "", ""),
        ("nash", "16", "0", "hand"),
        ("itq", "16", "0", "default"),
        ("lsh", "16", "0", "default"),
    ]
    assert [cell.key[1:] for cell in found] == [
        ("other", "tfidf_cosine", "", "", ""),
        ("other", "nash", "16", "0", "tuned"),
        ("other", "nash", "16", "1", "tuned"),
        ("other", "itq", "16", "0", "tuned"),
    ]
    nash = found[1].config
    assert (nash.method.preset, nash.training.epochs, nash.training.patience) == ("tuned", 2, 10)
    assert by_hand[1].config.training.patience is None


def test_a_method_that_the_table_lacks_is_refused_with_those_it_has(reproduce, table, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--only", "itq", "snuhh"])
    assert reproduce.main() == 2
    assert "--only snuhh: not in the table" in (told := capsys.readouterr().err)
    assert "itq, nash" in told


def test_a_table_without_a_budget_says_so(reproduce, table, capsys):
    content = yaml.safe_load(table.read_text(encoding="utf-8"))
    table.write_text(yaml.safe_dump({key: value for key, value in content.items() if key != "budget"}))
    assert reproduce.main() == 2
    assert "has no budget" in capsys.readouterr().err
