"""The command line as a person uses it: what goes to stdout, what the exit status is, what an error says."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from texthash.cli import main
from texthash.config import Config
from texthash.home import Home
from texthash.workflow.doctor import examine


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def cli(home, monkeypatch, capsys):
    """Runs one command; gives its exit status, stdout and stderr."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("TEXTHASH_HOME", str(home))

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        captured = capsys.readouterr()
        return ended.value.code, captured.out, captured.err

    return run


@pytest.fixture(scope="module")
def corpus_settings(small_rows):
    return ["corpus.name=small", f"corpus.path={small_rows}", "corpus.edition.vocabulary_size=2000"]


def test_methods_as_json_have_the_fields_that_others_rely_on(cli):
    status, out, _ = cli("methods", "--json")
    rows = json.loads(out)
    assert status == 0
    assert {"nash", "vdsh", "lsh", "pcah", "itq", "spectral_hashing", "sth"} <= {row["name"] for row in rows}
    fields = {"name", "title", "venue", "survey_entry", "tags", "supervision", "inputs", "fidelity"}
    assert all(set(row) == fields for row in rows)


def test_corpora_as_json_have_the_fields_that_others_rely_on(cli):
    status, out, _ = cli("corpora", "--json")
    rows = json.loads(out)
    assert status == 0
    assert {"pydoc", "20newsgroups"} <= {row["name"] for row in rows}
    fields = {"name", "documents", "labels", "multi_label", "licence", "at_hand"}
    assert all(set(row) == fields for row in rows)
    assert next(row for row in rows if row["name"] == "pydoc")["at_hand"] is True


def test_a_table_in_a_pipe_has_one_line_a_row(cli):
    _, out, _ = cli("methods")
    _, listed, _ = cli("methods", "--json")
    assert len(out.splitlines()) == len(json.loads(listed)) + 1


def test_from_corpus_to_search_without_a_cluster(cli, corpus_settings):
    status, out, err = cli("train", "itq", "--bits", "16", *corpus_settings)
    assert status == 0, err
    trained = json.loads(out)
    assert 0.13 < trained["validation"]["p_at_100"] < 1

    status, out, _ = cli("evaluate", "latest", "--json")
    assert status == 0
    assert set(json.loads(out)) == {"validation"}, "test stays closed until it is asked for"

    status, out, err = cli("index", "build", "latest", "index.shards=3")
    assert status == 0, err
    assert len(json.loads(out)["shards"]) == 3

    _, out, _ = cli("index", "info", "--json")
    assert [(row["method"], row["shards"], row["current"]) for row in json.loads(out)] == [("itq", 3, True)]

    status, out, _ = cli("search", "fit a linear model to data", "--limit", "4", "--json")
    hits = json.loads(out)
    assert status == 0
    assert len(hits) == 4
    assert [hit["distance"] for hit in hits] == sorted(hit["distance"] for hit in hits)
    assert all({"id", "title", "text", "labels"} <= set(hit) for hit in hits)

    _, out, _ = cli("encode", "fit a linear model", "plot")
    assert [len(bytes.fromhex(line)) for line in out.split()] == [2, 2]
    _, bits, err = cli("encode", "fit a linear model", "qqqzzz", "--format", "bits")
    assert [len(line) for line in bits.split()] == [16, 16]
    assert "no word of 'qqqzzz'" in err

    status, out, _ = cli("report", "latest", "--output", str(trained["model"]) + "-page")
    assert status == 0
    assert out.strip().endswith("report.html")


def test_prepare_says_what_was_prepared(cli, corpus_settings):
    status, out, _ = cli("prepare", *corpus_settings)
    assert status == 0
    assert set(json.loads(out)["documents"]) == {"train", "validation", "test"}


def test_a_dry_run_prints_the_space(cli):
    status, out, _ = cli("tune", "nash", "--dry-run", "--json")
    assert status == 0
    assert "learning_rate" in {row["parameter"] for row in json.loads(out)}


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["train", "nosh"], 2, "did you mean 'nash'?"),
        (["train", "nash", "method.bitz=8"], 2, "did you mean 'bits'?"),
        (["train", "nash", "--bits", "7"], 2, "multiple of 8"),
        (["train", "nash", "--config", "nowhere.yaml"], 2, "there is no configuration file nowhere.yaml"),
        (["train", "--corpus", "pydok"], 2, "did you mean 'pydoc'?"),
        (["train", "training.workers=0"], 2, "training.workers"),
        (["evaluate", "nobody"], 1, "there is no trained model 'nobody'"),
        (["index", "search", "x", "--release", "r999999"], 1, "there is no release 'r999999'"),
        (["encode", "x", "--format", "octal"], 2, "there is no format 'octal'"),
        (["tune", "lsh", "--dry-run"], 2, "nothing to search for lsh"),
        (["trian"], 2, "No such command 'trian'"),
    ],
)
def test_errors_are_one_problem_one_remedy_and_the_right_status(cli, arguments, status, says):
    code, out, err = cli(*arguments)
    assert code == status
    assert says in err
    assert "Traceback" not in err
    assert out == ""


def test_the_traceback_is_there_for_who_asks(cli):
    _, _, err = cli("-v", "evaluate", "nobody")
    assert "Traceback" in err


def test_doctor_finds_this_machine_well(cli):
    status, out, _ = cli("doctor", "--json")
    checks = {row["check"]: row for row in json.loads(out)}
    assert status == 0
    assert {"python", "torch", "ray", "mlflow store", "cpu", "disk", "port 8000", "corpora"} <= set(checks)
    assert all(row["remedy"] for row in checks.values() if row["state"] != "ok")


def test_doctor_names_what_is_wrong_and_the_remedy(tmp_path):
    config = Config.model_validate({"tracking": {"uri": "http://127.0.0.1:9"}, "corpus": {"data_dir": "/nowhere"}})
    wrong = {finding.check: finding for finding in examine(config, Home(tmp_path)) if finding.state == "wrong"}
    assert set(wrong) == {"mlflow store", "corpora"}
    assert all(finding.remedy for finding in wrong.values())


def test_nothing_heavy_is_imported_for_help():
    code = "import sys, texthash.cli; print([m for m in ('torch', 'ray', 'mlflow', 'pandas') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_module_runs():
    done = subprocess.run([sys.executable, "-m", "texthash", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("texthash ")
