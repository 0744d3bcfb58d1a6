"""What is called published was printed: cards hold it with its source, and a run as published is one word."""

import json

import pytest
import yaml

from texthash.config import load_config
from texthash.config.shipped import find_config
from texthash.errors import UsageError
from texthash.methods.found_settings import found_settings
from texthash.methods.registry import as_printed, decisive, describe, hyperparameters, methods, resolve, resolved

PRINTED = [name for name, cls in methods().items() if cls.card.paper]
# Recalled figures of NASH's card, and those that the code of other authors has.
KNOWN = {
    "nash": {"learning_rate": 5e-4, "hidden": 500},
    "vdsh": {"learning_rate": 1e-3, "batch_size": 1, "epochs": 25, "decoder_std": 1.0, "dropout": 0.1},
    "vdsh_s": {"hidden": 1000, "epochs": 15, "label_weight": 150.0},
    "doc2hash": {"learning_rate": 5e-4, "epochs": 100, "kl_weight": 2.0},
    "doc2hash_s": {"learning_rate": 1e-4, "dropout": 0.0, "temperature": 0.2},
    "ammi": {"batch_size": 16, "learning_rate": 0.01},
    "wish": {"batch_size": 100, "learning_rate": 1e-3},
}


@pytest.mark.parametrize("name", PRINTED)
def test_a_printed_value_names_its_source_and_is_one_that_the_method_takes(name):
    paper = methods()[name].card.paper
    assert paper.source
    assert None not in paper.values.values(), "what is not known is left out"
    assert resolve(name, {}, "paper") == {**hyperparameters(name), **paper.values}


@pytest.mark.parametrize("name", KNOWN)
def test_cards_hold_what_was_printed_and_not_the_defaults(name):
    assert methods()[name].card.paper.values.items() >= KNOWN[name].items()


@pytest.mark.parametrize("name", ["bvae", "dwae", "daba", "gmsh", "bmsh", "hierhash", "dgm_sph", "wish_s", "smash_s"])
def test_a_method_of_which_nothing_is_known_to_be_printed_has_no_such_run(name):
    assert name not in PRINTED
    with pytest.raises(UsageError, match=f"no printed hyper-parameters of {name} are known"):
        resolved(load_config(None, [f"method.name={name}", "method.preset=paper"]))


def test_a_run_as_published_is_one_word_and_params_go_before_it():
    config = resolved(load_config(None, ["method.name=vdsh", "method.preset=paper", "method.params.epochs=3"]))
    assert config.method.params["learning_rate"] == 1e-3
    assert config.method.params["batch_size"] == 1
    assert config.method.params["epochs"] == 3
    assert config.method.params["kl_ramp"] == hyperparameters("vdsh")["kl_ramp"], "not known: the default"
    said = as_printed(config.method)
    assert "unsuthee" in said
    assert "other than printed: epochs=3" in said
    assert "not known to be printed: kl_ramp=0.5" in said
    with pytest.raises(UsageError, match=r"method\.preset='published'"):
        load_config(None, ["method.preset=published"])


def test_found_settings_are_those_of_the_record_and_params_go_before_them():
    record = yaml.safe_load(find_config("reproductions/tuned.yaml").read_text(encoding="utf-8"))
    assert {key.split("/")[2] for key in record} == set(found_settings()) <= set(methods())
    for name, own in found_settings().items():
        assert resolve(name, {}, "tuned") == {**hyperparameters(name), **own.values}
        assert own.values == record[f"{own.corpus}/{name}/{own.bits}"]["params"]
    config = resolved(load_config(None, ["method.name=nash", "method.preset=tuned", "method.params.dropout=0.1"]))
    assert (config.method.params["weighting"], config.method.params["dropout"]) == ("sublinear_tfidf", 0.1)


def test_found_settings_are_those_that_were_shipped_wherever_a_command_runs(tmp_path, monkeypatch):
    (tmp_path / "reproductions").mkdir()
    (tmp_path / "reproductions" / "tuned.yaml").write_text(
        "own/e/nash/16: {trials: 1, validation: 0.5, params: {dropout: 0.9}}", encoding="utf-8"
    )
    shipped = found_settings()
    found_settings.cache_clear()
    monkeypatch.chdir(tmp_path)
    assert found_settings() == shipped


def test_a_method_that_was_not_searched_has_no_found_settings():
    with pytest.raises(UsageError, match="no search has found settings of daba") as caught:
        resolved(load_config(None, ["method.name=daba", "method.preset=tuned"]))
    assert "texthash tune daba" in caught.value.remedy


def test_resolving_names_every_hyper_parameter_and_changes_nothing_twice():
    config = load_config(None, ["method.params.kl_weight=1"])
    once = resolved(config)
    assert once.method.params == hyperparameters("nash")
    assert resolved(once) == once
    assert decisive(config.method) == decisive(once.method), "one digest, however much is written out"
    assert json.dumps(decisive(config.method)) == json.dumps(decisive(load_config().method)), "1 is 1.0"
    assert once.flat()["method.params.learning_rate"] == 3e-3


def test_the_command_line_prints_default_printed_value_range_and_meaning(run_cli):
    status, out, _ = run_cli("methods", "show", "nash", "--json")
    assert status == 0
    facts = json.loads(out)
    assert facts["hyperparameters"] == describe("nash")
    rate = next(row for row in facts["hyperparameters"] if row["name"] == "learning_rate")
    assert rate == {
        "name": "learning_rate",
        "default": 0.003,
        "paper": 0.0005,
        "tuned": 0.005,
        "range": "a number above 0",
        "search": "0.001 .. 0.008 (log)",
        "meaning": "Learning rate of Adam.",
    }
    assert "recalled" in facts["paper"]
    assert "12 trials on 20newsgroups/random60, 32 bits" in facts["tuned"]
    _, table, _ = run_cli("methods", "show", "vdsh")
    assert "decoder_std" in table
    assert "the authors' code" in table
    status, _, err = run_cli("methods", "show", "nahs")
    assert (status, "did you mean 'nash'?" in err) == (2, True)
