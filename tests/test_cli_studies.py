"""Studies and comparisons from the command line."""

from __future__ import annotations

import json
import shutil

import pytest
import yaml


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def cli(home, monkeypatch, run_cli):
    """Runs one command; gives its exit status, stdout and stderr."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("TEXTHASH_HOME", str(home))
    monkeypatch.chdir(home)
    return run_cli


@pytest.fixture(scope="module")
def file(small_rows, home):
    corpus = {"name": "small", "path": str(small_rows), "limit": 400, "edition": {"vocabulary_size": 500}}
    (home / "small.yaml").write_text(yaml.safe_dump({"corpus": corpus, "evaluation": {"k": 20, "curve": [1, 20]}}))
    values = {"name": "pair", "corpora": ["small.yaml"], "bits": [8], "methods": {"lsh": {"seeds": [0, 1]}}}
    path = home / "pair.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def test_a_study_from_file_to_page(cli, file, home):
    status, out, err = cli("study", "run", str(file), "--dry-run")
    assert status == 0, err
    assert out.splitlines() == [
        "tfidf cosine on small-random60-first400",
        "lsh 8 seed 0 on small-random60-first400",
        "lsh 8 seed 1 on small-random60-first400",
    ]
    assert not (home / "runs").exists(), "nothing is made"

    status, out, err = cli("study", "run", str(file))
    assert status == 0, err
    assert (json.loads(out)["done"], json.loads(out)["skipped"]) == (3, 0)
    figures = [cell[split] for cell in json.loads(out)["cells"] for split in ("validation", "test") if split in cell]
    assert len(figures) == 3
    assert all(0 < figure < 1 for figure in figures)
    _, out, _ = cli("study", "list", "--json")
    assert [(row["study"], row["cells"], row["done"]) for row in json.loads(out)] == [("pair", 3, 3)]
    _, out, _ = cli("study", "show", "pair", "--json")
    assert [row["state"] for row in json.loads(out)] == ["done"] * 3

    _, out, _ = cli("evaluate", "--rescore", "pair", "--k", "5")
    assert json.loads(out) == {"study": "pair", "evaluations": 2}
    status, out, _ = cli("report", "pair", "--output", "page")
    assert (status, out.strip()) == (0, "page/report.html")
    page = (home / "page" / "report.md").read_text()
    assert "P@5" in page
    assert "tfidf cosine" not in page.partition("## small")[2], "it is known at the study's own cut only"

    status, out, err = cli("report", "pair", "--output", ".")
    assert (status, out.strip()) == (0, "report.html"), err
    sent = {path.name for path in home.glob("mlartifacts/*/*/artifacts/report/*")}
    assert sent == {"metrics.csv", "plots", "report.html", "report.md"}, "nothing else of the folder is sent"
    own = home / "runs/studies/pair/report"
    shutil.rmtree(own, ignore_errors=True)
    own.symlink_to(home / "page")
    assert cli("report", "pair")[0] == 0
    assert "P@5" in (own / "report.md").read_text()
    own.unlink()
    own.write_text("of somebody")
    status, _, err = cli("report", "pair")
    assert (status, f"{own} is not a folder" in err, own.read_text()) == (2, True, "of somebody")

    models = [json.loads(path.read_text())["directory"] for path in home.glob("runs/studies/pair/cells/*/model.json")]
    status, out, err = cli("compare", *models, "--json")
    assert status == 0, err
    assert {change["metric"] for change in json.loads(out)["metrics"]} >= {"p_at_20", "map"}
    status, out, _ = cli("compare", *models)
    assert "training.seed" in out
    status, _, err = cli("compare", models[0], models[0])
    assert status == 0, err
    assert "their configurations are equal" in err
    assert "none found" not in err

    weighted = ("train", "lsh", "--bits", "8", "--config", "small.yaml", "method.params.weighting=binary")
    status, out, err = cli(*weighted)
    assert status == 0, err
    status, out, err = cli("compare", models[0], json.loads(out)["model"], "--json")
    assert status == 0, err
    differing = {key: values for key, values in json.loads(out)["config"].items() if key.startswith("method.params")}
    assert differing == {"method.params.weighting": ["tfidf", "binary"]}, "values at their defaults are named too"

    other = home / "other.yaml"
    settings = yaml.safe_load((home / "small.yaml").read_text())
    other.write_text(yaml.safe_dump({**settings, "corpus": {**settings["corpus"], "name": "other"}}))
    status, out, err = cli("evaluate", models[0], "--on", str(other), "--json")
    assert status == 0, err
    assert list(json.loads(out)) == ["validation"], "test stays closed until it is asked for"
    assert "share of documents without a known word: 0.0%" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("study", "run", "none.yaml"), "there is no study file none.yaml"),
        (("study", "show", "none"), "there is no study 'none'"),
        (("evaluate", "latest", "--k", "5"), "--k 5 needs --rescore"),
    ],
)
def test_wrong_use_ends_with_2(cli, arguments, said):
    status, out, err = cli(*arguments)
    assert (status, out) == (2, "")
    assert said in err


def test_a_sweep_that_cannot_be_is_refused_before_anything_is_made(cli, tmp_path, monkeypatch):
    monkeypatch.setenv("TEXTHASH_HOME", str(tmp_path / "none"))
    sweep = ("tune", "nash", "--trials", "3", "--dry-run")
    for words, message in (
        (("tuning.space.learning_rate.log=[0.1,0.01]",), "tuning.space.learning_rate"),
        (("evaluation.selection_metric=mapp",), "did you mean 'map'?"),
        (("evaluation.selection_metric=ndcg_at_7",), "ndcg_at_100"),
        (("tuning.trials=0",), "searches nothing"),
        (("tuning.scheduler=ashah",), "tuning.scheduler"),
    ):
        status, _, err = cli(*sweep, *words)
        assert (status, message in err) == (2, True), err
    assert cli("tune", "lsh", "--trials", "3")[0] == 2
    assert not (tmp_path / "none").exists()
    status, out, _ = cli(*sweep, "--json", "tuning.scheduler=pbt", "tuning.space.hidden.choice=[50,100]")
    found = json.loads(out)
    assert status == 0
    assert {"parameter": "hidden", "range": "50 | 100", "default": "500", "paper": "500"} in found["space"]
    assert found["cost"]["epochs_at_least"] == found["cost"]["epochs_at_most"], "no trial of a population is ended"


def test_a_study_cannot_choose_by_a_metric_that_does_not_exist(cli, file):
    values = yaml.safe_load(file.read_text())
    other = file.with_name("metric.yaml")
    other.write_text(yaml.safe_dump({**values, "settings": {"evaluation": {"selection_metric": "presicion"}}}))
    status, _, err = cli("study", "run", str(other))
    assert status == 2
    assert "evaluation.selection_metric=presicion: there is no such metric" in err
