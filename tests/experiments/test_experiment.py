"""A study in one process: resumption, its runs, the registry's rule and what is served."""

from __future__ import annotations

import json

import pytest
from mlflow import MlflowClient

from texthash.config import TuningConfig, parse_config
from texthash.corpora.preparation.steps import prepare_corpus
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.deployment.release_model import has_nothing_to_release, make_release, register
from texthash.errors import ModelMismatchError, TexthashError, UsageError
from texthash.experiments.compare import compare
from texthash.experiments.corpora import corpus_of, prepare
from texthash.experiments.experiment import Experiment
from texthash.experiments.trained_models import TrainedModel, find_model, make_report
from texthash.index.releases.release import list_releases, read_release
from texthash.paths import StateDir
from texthash.tuning.sweep_record import close_sweep


def _config(corpus, **changes):
    return parse_config(
        {
            "corpus": corpus.manifest.config.model_dump(mode="json"),
            "method": {"name": "nash", "bits": 16, "params": {"hidden": 32}},
            "training": {"epochs": 3, "batch_size": 64},
            **changes,
        }
    )


def _study(corpus, home, **changes):
    return Experiment(_config(corpus, **changes), home, corpus)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return StateDir(tmp_path_factory.mktemp("study"))


def test_an_interrupted_training_goes_on_in_its_own_run(small_corpus, home, interrupted):
    study = _study(small_corpus, home)
    key = interrupted(study).name
    client = MlflowClient(study.tracker.uri)
    (began,) = client.search_runs([study.tracker.experiment_id], f"tags.`texthash.key` = '{key}'")
    assert began.info.status == "KILLED"

    model = study.train(0)
    assert model.run.run_id == began.info.run_id
    assert model.run.status == "FINISHED"
    assert [report.epoch for report in model.history if report.terms] == [1, 2, 3]
    assert not list((home.runs / "checkpoints").iterdir())


def test_a_model_that_could_not_be_logged_is_not_trained_again(small_corpus, tmp_path, monkeypatch):
    study = _study(small_corpus, StateDir(tmp_path))

    def away(*arguments):
        raise OSError("the store is away")

    with monkeypatch.context() as patch:
        patch.setattr(study.tracker, "log_model", away)
        with pytest.raises(OSError, match="the store is away"):
            study.train(0)
    assert not list((study.home.runs / "models").iterdir()), "half a model is none"
    model = study.train(0)
    (recorded,) = MlflowClient(study.tracker.uri).search_runs([study.tracker.experiment_id])
    assert (recorded.info.run_id, recorded.info.status) == (model.run.run_id, "FINISHED")
    assert [report.epoch for report in model.history if report.terms] == [1, 2, 3]
    assert TrainedModel.read(model.directory) == model


def test_another_configuration_does_not_take_up_a_checkpoint(small_corpus, tmp_path, interrupted):
    one, shorter = _study(small_corpus, StateDir(tmp_path / "one")), {"epochs": 2, "batch_size": 32}
    checkpoint = interrupted(one)
    beside = _study(small_corpus, one.home, training=shorter).train(0)
    alone = _study(small_corpus, StateDir(tmp_path / "alone"), training=shorter).train(0)
    assert [report.terms for report in beside.history] == [report.terms for report in alone.history]
    assert checkpoint.is_dir(), "it waits for its own configuration"


def test_what_was_trained_is_found_again_whole(small_corpus, home):
    model = _study(small_corpus, home).train(1)
    again = TrainedModel.read(model.directory)
    assert again == model
    assert find_model(home, "latest") == model
    assert find_model(home, model.name) == model
    with pytest.raises(UsageError, match="has not been evaluated"):
        make_report([again])
    with pytest.raises(TexthashError, match="there is no trained model 'nothing'"):
        find_model(home, "nothing")


def test_a_run_logs_records_and_saves_the_same_hyper_parameters(small_config, tmp_path, capsys, monkeypatch):
    small_corpus = PreparedCorpus.open(prepare_corpus(small_config, StateDir(tmp_path)))
    study = _study(small_corpus, StateDir(tmp_path), method={"name": "itq", "bits": 16})
    model = study.train(0)
    expected = {"input": "words", "feature_share": 0.4, "iterations": 50, "weighting": "unit_bm25"}
    expected |= {"teacher": "input", "penalty": 0.3}
    logged = MlflowClient(study.tracker.uri).get_run(model.run.run_id).data.params
    prefix = "method.params."
    assert {key.removeprefix(prefix): value for key, value in logged.items() if key.startswith(prefix)} == {
        name: str(value) for name, value in expected.items()
    }
    assert "method.params" not in logged
    saved = json.loads((model.hasher / "hasher.json").read_text())
    assert saved["params"] == model.config.method.params == TrainedModel.read(model.directory).config.method.params
    assert saved["params"] == expected
    small_corpus.manifest.warnings.append("every label is alike.")
    study.evaluate(model, test=True)
    assert capsys.readouterr().err.count("warning: every label is alike.") == 1, "one line for both splits"
    monkeypatch.setattr("texthash.reporting.page.png", lambda figure: b"")
    metrics = make_report([model, model]).metrics.splitlines()
    assert [line.split(",")[2] for line in metrics] == ["split", "test", "validation"], "named twice, reported once"
    written_out = _study(small_corpus, StateDir(tmp_path), method={"name": "itq", "bits": 16, "params": expected})
    assert written_out.run_config(0) == study.run_config(0)
    again = written_out.train(0)
    written_out.evaluate(again, test=False)
    assert compare(StateDir(tmp_path), model.name, again.name).config == {}


def test_a_record_of_an_earlier_version_has_the_hyper_parameters_of_its_saved_model(small_corpus, tmp_path):
    study = _study(small_corpus, StateDir(tmp_path), method={"name": "itq", "bits": 16, "params": {"iterations": 3}})
    model = study.train(0)
    record = json.loads((model.directory / "run.json").read_text())
    assert record["config"]["method"].pop("preset") == "default"
    record["config"]["method"]["params"] = {}  # as one that gave none was written
    (model.directory / "run.json").write_text(json.dumps(record))
    assert TrainedModel.read(model.directory).config == model.config
    assert find_model(StateDir(tmp_path), model.name).config.method.params["iterations"] == 3, "not today's default"


def test_a_run_as_published_is_trained_with_what_was_printed(small_corpus, tmp_path, capsys):
    study = _study(small_corpus, StateDir(tmp_path), method={"name": "sth", "bits": 16, "preset": "paper"})
    model = study.train(0)
    assert model.config.method.params["neighbours"] == 25
    assert model.config.method.preset == "paper"
    told = capsys.readouterr().err
    assert "neighbours=25" in told
    assert "not known to be printed: penalty=1.0" in told


def test_a_damaged_record_is_named(small_corpus, tmp_path):
    model = _study(small_corpus, StateDir(tmp_path)).train(0)
    record = model.directory / "run.json"
    for content in (record.read_text()[:100], "[]", "{}"):
        record.write_text(content)
        with pytest.raises(TexthashError, match=r"run\.json is broken"):
            find_model(StateDir(tmp_path), "latest")


def test_test_is_looked_at_once_for_a_model(small_corpus, home):
    study = _study(small_corpus, home)
    model = study.train(2)
    first = study.evaluate(model, test=True)
    second = _study(small_corpus, home).evaluate(model, test=True)
    assert first["test"].metrics == second["test"].metrics
    history = MlflowClient(study.tracker.uri).get_metric_history(model.run.run_id, "test/p_at_100")
    assert len(history) == 1
    assert study.report([model], model.run).is_file()


def test_a_run_whose_codes_collapse_says_so(small_corpus, home, capsys):
    heavy = {"name": "nash", "bits": 16, "params": {"hidden": 32, "kl_weight": 1e4}}
    for method, collapsed in ((heavy, "true"), ({**heavy, "params": {"hidden": 32}}, "false")):
        study = _study(small_corpus, home, method=method)
        model = study.train(3)
        (evaluation,) = study.evaluate(model, test=False).values()
        tags = model.run.read_tags()
        assert tags["codes.collapsed"] == collapsed
        said = "warning: The codes have collapsed: " in capsys.readouterr().err
        assert said == ("codes.warning" in tags) == (evaluation.collapse is not None) == (collapsed == "true")


def test_training_on_several_workers_needs_a_cluster(small_corpus, home):
    study = _study(small_corpus, home, training={"workers": 2, "epochs": 1})
    with pytest.raises(UsageError, match="needs a Ray cluster"):
        study.train(0)


def test_the_champion_is_served_whoever_challenges_it(small_corpus, tmp_path):
    home = StateDir(tmp_path)
    strong = _study(small_corpus, home)
    first = strong.train(0)
    release = make_release(strong, first, register(strong, first))
    assert (release.model_version, read_release(home).name) == ("1", release.name)

    weak = _study(small_corpus, home, method={"name": "lsh", "bits": 16})
    loser = weak.train(0)
    assert loser.validation < first.validation
    kept = make_release(weak, loser, register(weak, loser))
    assert (kept.name, kept.model_version) == (release.name, "1")

    forced = _study(small_corpus, home, method={"name": "lsh", "bits": 16}, tracking={"promote": "always"})
    promoted = make_release(forced, loser, register(forced, loser))
    assert promoted.model_version == "2"
    assert read_release(home).method == "lsh"
    assert forced.tracker.registry.champion(forced.model_name)[1] == "2"


def test_never_to_promote_is_no_error_where_there_is_no_champion(small_corpus, tmp_path):
    home, method = StateDir(tmp_path), {"name": "lsh", "bits": 16}
    never = _study(small_corpus, home, method=method, tracking={"promote": "never"})
    model = never.train(0)
    version = register(never, model)
    assert has_nothing_to_release(never, version)
    with pytest.raises(UsageError, match=r"has no champion, and tracking\.promote=never makes none"):
        make_release(never, model, version)
    assert list_releases(home) == []
    assert not has_nothing_to_release(never, None), "a model that is not registered competes with none"
    first = _study(small_corpus, home, method=method)
    assert not has_nothing_to_release(first, version)
    released = make_release(first, model, version)
    assert not has_nothing_to_release(never, version)
    assert make_release(never, model, version).name == released.name


def test_a_champion_that_the_corpus_has_outgrown_is_named_with_the_way_out(small_corpus, small_config, tmp_path):
    home, method = StateDir(tmp_path), {"name": "lsh", "bits": 16}
    before = _study(small_corpus, home, method=method)
    champion = before.train(0)
    before.tracker.registry.promote(before.model_name, register(before, champion))

    smaller = small_config.edition.model_copy(update={"vocabulary_size": 1000})
    changed = prepare_corpus(small_config.model_copy(update={"edition": smaller}), StateDir(tmp_path / "changed"))
    after = _study(PreparedCorpus.open(changed), home, method=method)
    model = after.train(0)
    with pytest.raises(
        ModelMismatchError, match=r"the champion, .* version 1, does not fit the present corpus"
    ) as refused:
        make_release(after, model, register(after, model))
    assert "tracking.promote=always" in refused.value.remedy
    forced = _study(PreparedCorpus.open(changed), home, method=method, tracking={"promote": "always"})
    assert make_release(forced, model, register(forced, model)).model_version == "2"


def test_documents_without_labels_are_trained_and_released_by_a_figure_of_their_own(small_documents, tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"text": document.text}) + "\n" for document in small_documents[::4]))
    home = StateDir(tmp_path / "home")
    config = parse_config(
        {
            "corpus": {"name": "bare", "path": str(rows), "edition": {"vocabulary_size": 500}},
            "method": {"name": "nash", "bits": 8, "params": {"hidden": 16}},
            "training": {"epochs": 2},
        }
    )
    study = Experiment(config, home, prepare(config, home))
    model = study.train(0)
    assert model.validation is not None
    assert [report.epoch for report in model.history if report.terms] == [1, 2]
    assert study.evaluate(model, test=True).keys() == {"validation", "test"}
    assert study.report([model], model.run).is_file()
    released = make_release(study, model, register(study, model))
    other = study.train(1)
    newer = make_release(study, other, register(study, other))
    assert released.model_version == "1"
    assert newer.model_version == ("2" if other.validation > model.validation else "1"), "the better one is served"


def test_documents_of_one_word_are_trained_released_and_not_compared(tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"text": f"word{n % 9}"}) + "\n" for n in range(60)), encoding="utf-8")
    home = StateDir(tmp_path / "home")
    config = parse_config(
        {
            "corpus": {"name": "words", "path": str(rows)},
            "method": {"name": "nash", "bits": 8, "params": {"hidden": 16}},
            "training": {"epochs": 1},
        }
    )
    study = Experiment(config, home, prepare(config, home))
    model = study.train(0)
    assert model.validation is None
    assert study.evaluate(model, test=True) == {}
    assert study.report([model], model.run) is None
    released = make_release(study, model, register(study, model))
    other = study.train(1)
    newer = make_release(study, other, register(study, other))
    assert (released.model_version, newer.model_version) == ("1", "2"), "without figures the newer one is taken"
    searching = Experiment(config.model_copy(update={"tuning": TuningConfig(trials=2)}), home, study.corpus)
    with pytest.raises(UsageError, match="trials cannot be compared"):
        searching.search()


def test_a_corpus_that_changed_under_a_model_is_noticed(small_corpus, home, monkeypatch):
    model = _study(small_corpus, home).train(0)
    monkeypatch.setattr(StateDir, "corpus", lambda self, name, edition: small_corpus.path)
    assert corpus_of(model, home).path == small_corpus.path
    other = TrainedModel(**{**vars(model), "data": "0" * 16})
    with pytest.raises(ModelMismatchError, match="was trained on data 0000"):
        corpus_of(other, home)


def test_a_pair_corpus_is_chosen_and_reported_by_recall(small_documents, tmp_path):
    rows = tmp_path / "rows.jsonl"
    with rows.open("w") as file:
        for document in small_documents[::5]:
            first, *rest = document.text.split("\n\n", 1)
            file.write(json.dumps({"id": document.id, "text": "".join(rest) or first, "queries": [first]}) + "\n")
    config = parse_config(
        {
            "corpus": {"name": "asked", "path": str(rows), "edition": {"vocabulary_size": 500}},
            "method": {"name": "lsh", "bits": 16},
            "evaluation": {"k": 20, "curve": [1, 20]},
        }
    )
    home = StateDir(tmp_path / "home")
    study = Experiment(config, home, prepare(config, home))
    with study.start() as run:
        model = study.train(0, parent=run)
        found = study.evaluate(model, test=True)
        page = study.report([model], run)
    assert study.metric == "val/recall_at_20"
    assert model.validation == pytest.approx(found["validation"].metrics["recall_at_20"], abs=1e-12)
    assert page is not None
    assert "recall@20" in page.read_text()
    assert {"val/recall_at_20", "test/mrr"} <= set(
        MlflowClient(study.tracker.uri).get_run(model.run.run_id).data.metrics
    )


def test_final_models_without_a_search_go_on_where_they_were_interrupted(small_corpus, tmp_path):
    def begun():
        study = _study(small_corpus, StateDir(tmp_path), tuning={"trials": 0})
        return study, *study.without_search()

    study, parent, record = begun()
    model = study.train(0, parent=parent)
    again, same, found = begun()
    assert (same.run_id, found) == (parent.run_id, record)
    assert again.find_trained(0, same).name == model.name, "it is not trained anew"
    close_sweep(found)
    other, another, _ = begun()
    assert another.run_id != parent.run_id
    assert other.find_trained(0, another) is None, "a command that has ended is done again"
