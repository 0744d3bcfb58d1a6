"""The command line as a person uses it: what goes to stdout, what the exit status is, what an error says."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from texthash.cli.output import print_table
from texthash.config import Config
from texthash.doctor import examine
from texthash.experiments.trained_models import EpochLogger
from texthash.paths import StateDir


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def cli(home, monkeypatch, run_cli):
    """Runs one command; gives its exit status, stdout and stderr."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("TEXTHASH_HOME", str(home))
    return run_cli


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


def test_no_value_of_a_table_moves_the_cursor_or_hides_a_line(capsys):
    title = "\x1b]0;mine\x07sort \x9b31m \u202earray \u0915\u094d\u200d\u0937 [bold]x[/bold]"
    print_table([{"id": "a\x1b[2J", "title": title, "text": "one\r\ntwo\x00"}], as_json=False)
    _, row = capsys.readouterr().out.splitlines()
    assert row.split() == [
        *("a\\x1b[2J", "\\x1b]0;mine\\x07sort", "\\x9b31m", "\\u202earray"),
        *("\u0915\u094d\u200d\u0937", "[bold]x[/bold]", "one", "two\\x00"),
    ]


def test_a_table_gives_counts_whole_and_marks_what_it_cuts(capsys):
    print_table([{"figure": "documents", "count": 26856.0, "share": 0.123456, "text": "words " * 40}], as_json=False)
    print_table([{"check": "corpora", "found": "name " * 200}], as_json=False)
    _, row, _, finding = capsys.readouterr().out.splitlines()
    assert row.split()[:3] == ["documents", "26856", "0.1235"]
    assert row.rstrip().endswith("words words…")
    assert finding.count("name") == 200


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

    for shards, releases in ((3, [(3, True)]), (2, [(3, False), (2, True)])):
        status, _, err = cli("index", "build", "latest", f"index.shards={shards}")
        assert status == 0
        assert "is the champion already" in err
        _, out, _ = cli("index", "info", "--json")
        assert [(row["shards"], row["current"]) for row in json.loads(out)] == releases
        assert {row["model_version"] for row in json.loads(out)} == {"1"}

    status, out, _ = cli(
        "search", "fit a linear model to data", "--mode", "semantic", "--rescore", "none", "--limit", "4", "--json"
    )
    answer = json.loads(out)
    hits = answer["hits"]
    assert status == 0
    assert (answer["index_version"], answer["known_words"], len(bytes.fromhex(answer["code"]))) == (2, True, 2)
    assert len(hits) == 4
    assert [hit["distance"] for hit in hits] == sorted(hit["distance"] for hit in hits)
    assert all(set(hit) == {"id", "distance", "document"} for hit in hits)
    assert all(set(hit["document"]) == {"title", "text", "labels", "attributes"} for hit in hits)

    status, out, _ = cli("search", "fit a linear model to data", "--mode", "semantic", "--limit", "100000", "--json")
    assert status == 0
    _, listed, _ = cli("index", "info", "--json")
    assert len(json.loads(out)["hits"]) == json.loads(listed)[1]["documents"]

    answers = []
    rescoring = ("--rescore", "asymmetric", "--oversample", "100")
    for plan in ("flat", "mih"):
        status, out, _ = cli(
            "search", "fit a linear model to data", "--limit", "4", *rescoring, "--plan", plan, "--json"
        )
        again = json.loads(out)
        assert (status, again["candidates"] > 0) == (0, True)
        assert set(again["plan"].split("+")) <= {"flat", plan}
        scores = [hit["score"] for hit in again["hits"]]
        assert len(scores) == 4
        assert scores == sorted(scores, reverse=True)
        answers.append(again["hits"])
    assert answers[0] == answers[1]

    status, out, _ = cli("search", "qqqzzz xqxq", "--json")
    assert status == 0
    assert (json.loads(out)["known_words"], json.loads(out)["hits"]) == (False, [])
    status, out, err = cli("search", "qqqzzz xqxq")
    assert (status, out) == (0, "")
    assert "no word of the query is in the vocabulary" in err

    _, out, _ = cli("encode", "fit a linear model", "plot")
    assert [len(bytes.fromhex(line)) for line in out.split()] == [2, 2]
    _, bits, err = cli("encode", "fit a linear model", "qqqzzz", "--format", "bits")
    assert [len(line) for line in bits.split()] == [16, 16]
    assert "no word of 'qqqzzz'" in err

    status, out, _ = cli("report", "latest", "--output", str(trained["model"]) + "-page")
    assert status == 0
    assert out.strip().endswith("report.html")


def test_a_corpus_is_encoded_into_files_by_the_model_that_is_named(cli, home, corpus_settings, tmp_path):
    for bits in ("16", "8"):
        status, _, err = cli("train", "lsh", "--bits", bits, *corpus_settings)
        assert status == 0, err
    output = tmp_path / "codes.npy"
    status, out, err = cli("encode", "--from", "small/random60", "--output", str(output), "--model", "latest", "--json")
    found = json.loads(out)
    assert status == 0, err
    assert found["documents"] == found["encoded"] == len(np.load(output))
    assert found["bits"] == 8 * np.load(output).shape[1] == 8
    status, out, err = cli("encode", "--from", "small/random60", "--output", str(output), "--model", "latest")
    assert (status, out.strip()) == (0, str(output))
    assert "exists already" in err
    trained = sorted((home / "runs" / "models").glob("lsh*-16b-*"))
    status, out, err = cli("encode", "--from", "small/random60", "--output", str(output), "--model", str(trained[0]))
    assert (status, out) == (1, "")
    assert "is of the model" in err


def test_nothing_to_encode_is_an_error(cli, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    status, out, err = cli("encode")
    assert (status, out) == (1, "")
    assert "no text to encode was given" in err


def test_documents_without_labels_are_measured_by_their_halves_and_say_so(cli, small_rows, tmp_path):
    rows = [json.loads(line) for line in small_rows.read_text(encoding="utf-8").splitlines()]
    path = tmp_path / "plain.jsonl"
    path.write_text("".join(json.dumps({"id": row["id"], "text": row["text"]}) + "\n" for row in rows))
    status, out, err = cli("train", "lsh", "--bits", "16", "corpus.name=plain", f"corpus.path={path}")
    assert status == 0, err
    name = json.loads(out)["model"]
    assert "val/halves_hit_at_10" in err
    assert "No document has a label" in err
    assert {"halves_hit_at_10", "halves_recall_at_100"} < json.loads(out)["validation"].keys()
    assert not {"map", "p_at_100"} & json.loads(out)["validation"].keys()
    status, out, err = cli("evaluate", name)
    assert status == 0, err
    assert "halves_hit_at_10" in out
    status, page, err = cli("report", name, "--output", str(tmp_path / "report"))
    assert status == 0, err
    assert "No label is used" in (Path(page.strip()).parent / "report.md").read_text(encoding="utf-8")


def test_documents_of_one_word_cannot_be_measured_and_are_trained_nevertheless(cli, tmp_path):
    path = tmp_path / "words.jsonl"
    path.write_text("".join(json.dumps({"text": f"word{number % 7}"}) + "\n" for number in range(40)), encoding="utf-8")
    status, out, err = cli("train", "lsh", "--bits", "8", "corpus.name=words", f"corpus.path={path}")
    assert status == 0, err
    status, _, err = cli("report", json.loads(out)["model"])
    assert status == 2
    assert "neither labels nor two known words" in err


def test_what_cannot_work_is_found_before_a_corpus_is_prepared(cli, corpus_settings, tmp_path):
    for wrong, status, says in (
        ("method.params.learning_ratee=1", 2, "did you mean 'learning_rate'?"),
        ("tracking.uri=ftp://127.0.0.1/store", 1, "cannot be used"),
    ):
        code, out, err = cli("--home", str(tmp_path), "train", "nash", *corpus_settings, wrong)
        assert (code, out) == (status, "")
        assert says in err
        assert not (tmp_path / "corpora").exists()


def test_one_model_is_trained_on_each_seed_of_the_configuration(cli, corpus_settings):
    words = ("train", "lsh", "--bits", "16", "tuning.seeds=[0,1]", *corpus_settings)
    status, out, err = cli(*words)
    assert status == 0, err
    trained = json.loads(out)
    assert ["-s0-" in model["directory"] for model in trained["models"]] == [True, False]
    figures = [model["validation"]["p_at_100"] for model in trained["models"]]
    best = trained["models"][figures.index(max(figures))]
    assert (trained["model"], trained["run"]) == (best["directory"], best["run"])
    status, out, err = cli(*words, "--seed", "1")
    assert status == 0, err
    assert "-s1-" in json.loads(out)["model"]
    assert "models" not in json.loads(out), "--seed is that one alone"


def test_ctrl_c_ends_in_one_line_and_the_same_command_goes_on(cli, corpus_settings, monkeypatch):
    command = ("train", "nash", "--bits", "16", "training.epochs=3", *corpus_settings)
    log = EpochLogger.__call__

    def interrupt(notes, report):
        log(notes, report)
        if report.epoch == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(EpochLogger, "__call__", interrupt)
        status, out, err = cli(*command)
    assert (status, out) == (130, "")
    assert err.splitlines()[-1] == "interrupted; run the same command again to resume"
    status, _, err = cli(*command)
    assert status == 0
    assert "train 1/3" not in err
    assert "train 3/3" in err


def test_prepare_says_what_was_prepared(cli, corpus_settings):
    status, out, _ = cli("prepare", *corpus_settings)
    assert status == 0
    assert set(json.loads(out)["documents"]) == {"train", "validation", "test"}


def test_a_dry_run_prints_the_space_and_the_cost(cli):
    status, out, _ = cli("tune", "nash", "--trials", "3", "--promote", "never", "--dry-run", "--json")
    assert status == 0
    found = json.loads(out)
    assert "learning_rate" in {row["parameter"] for row in found["space"]}
    assert found["cost"]["epochs_at_most"] == 3 * found["cost"]["epochs_of_a_trial"]


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["train", "nosh"], 2, "did you mean 'nash'?"),
        (["train", "nash", "method.bitz=8"], 2, "did you mean 'bits'?"),
        (["train", "nash", "--bits", "7"], 2, "multiple of 8"),
        (["train", "nash", "--config", "nowhere.yaml"], 2, "there is no configuration file nowhere.yaml"),
        (["train", "--corpus", "pydok"], 2, "did you mean 'pydoc'?"),
        (["train", "training.workers=0"], 2, "training.workers"),
        (
            ["train", "nash", "method.params.hidden=many"],
            2,
            "method.params.hidden='many': hidden of nash has to be a whole",
        ),
        (["train", "nash", "training.seed=-1"], 2, "training.seed=-1"),
        (["train", "nash", "evaluation.curve=[]"], 2, "evaluation.curve=[]"),
        (["tune", "nash", "--trials", "1", "--dry-run", "method.params.learning_rate=-1"], 2, "a number above 0"),
        (["tune", "nash", "--trials", "1", "--dry-run", "method.params.hidden=0"], 2, "at least 1"),
        (["tune", "nash", "--trials", "1", "--dry-run", "tuning.space.dropout.uniform=[0.1,7]"], 2, "dropout=7.0"),
        (["tune", "nash", "--trials", "1", "--dry-run", "training.seed=-1"], 2, "training.seed=-1"),
        (
            ["tune", "bvae", "--trials", "1", "--dry-run", "method.preset=paper"],
            2,
            "no printed hyper-parameters of bvae",
        ),
        (["train", "nash", "--address", "127.0.0.1:9"], 1, "there is no Ray cluster at 127.0.0.1:9"),
        (["evaluate", "nobody"], 1, "there is no trained model 'nobody'"),
        (["index", "search", "x", "--release", "r999999"], 1, "there is no release 'r999999'"),
        (["encode", "x", "--format", "octal"], 2, "format 'octal' does not exist"),
        (["encode", "--from", "rows.jsonl"], 2, "--from and --output belong together"),
        (["encode", "x", "--role", "answer"], 2, "role 'answer' does not exist"),
        (["tune", "nash", "--promote", "perhaps", "--dry-run"], 2, "perhaps"),
        (["tune", "lsh", "--dry-run"], 2, "nothing to search for lsh"),
        (["trian"], 2, "No such command 'trian'"),
        (["encode", "--fromm", "x"], 2, "No such option: --fromm"),
        (["search", "x", "--mode", "fuzzy"], 2, "'--mode': 'fuzzy' is not one of"),
        (["prepare", "corpus.attributes=[a.b]"], 2, "corpus.attributes=['a.b']: 'a.b' cannot name an attribute"),
        (["search", "x", "--home", "y"], 2, "give it before the command: texthash --home ... search."),
        (["index", "show", "x", "--home", "y"], 2, "texthash --home ... index show."),
        (["index", "export", "codes.xyz"], 2, ".tsv.gz, .usearch, .multihash.faiss, .duckdb, .qdrant."),
        (["serve", "promote"], 2, "serve promote --help"),
    ],
)
def test_errors_are_one_problem_one_remedy_and_the_right_status(cli, arguments, status, says):
    code, out, err = cli(*arguments)
    assert code == status
    assert says in err
    assert err.count("error: ") == err.count("  remedy: ") == 1
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
    wrong = {finding.check: finding for finding in examine(config, StateDir(tmp_path)) if finding.state == "wrong"}
    assert set(wrong) == {"mlflow store", "corpora"}
    assert all(finding.remedy for finding in wrong.values())


def test_nothing_heavy_is_imported_for_help():
    code = "import sys, texthash.cli; print([m for m in ('torch', 'ray', 'mlflow', 'pandas') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_search_does_not_wait_for_what_only_training_needs():
    code = (
        "import sys; from texthash.methods.registry import methods; methods(); import texthash.index.releases.release; "
        "print([m for m in ('sklearn', 'scipy.stats', 'mlflow', 'ray', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_module_runs():
    done = subprocess.run([sys.executable, "-m", "texthash", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("texthash ")
