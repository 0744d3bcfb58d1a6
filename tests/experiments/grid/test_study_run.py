"""A study in one process: cells, resumption, failures, changed corpora, kept codes, its page."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient

from texthash.errors import CorpusError, TexthashError, UsageError
from texthash.experiments.compare import compare
from texthash.experiments.grid import cells as cells_of_studies
from texthash.experiments.grid.folder import StudyFolder
from texthash.experiments.grid.plan import parse_plan
from texthash.experiments.grid.report import report_study
from texthash.experiments.grid.rescore import rescore
from texthash.experiments.grid.run import forecast, run_study, status
from texthash.io.atomic import write_json
from texthash.io.records import read_record
from texthash.paths import StateDir


@pytest.fixture(scope="module")
def corpora(small_rows, tmp_path_factory):
    """Two editions of a small corpus."""
    data = {"name": "small", "path": str(small_rows), "shards": 1, "limit": 500}
    editions = ({"vocabulary_size": 500}, {"name": "few", "vocabulary_size": 100})
    return [{"corpus": {**data, "edition": edition}} for edition in editions]


def _plan(corpora, **changes):
    values = {
        "name": "grid",
        "corpora": corpora,
        "bits": [8],
        "seeds": [0, 1],
        "methods": {"lsh": {}, "nash": {"params": {"hidden": 16}, "bits": [8, 16], "seeds": [0]}},
        "settings": {"training": {"epochs": 2}, "evaluation": {"k": 20, "curve": [1, 20]}},
        **changes,
    }
    return parse_plan(values, Path("."), "the file")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return StateDir(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def done(corpora, home):
    plan = _plan(
        corpora,
        test=True,
        across=True,
        published=[{"corpus": "small", "row": "nash", "bits": 16, "figure": 0.5, "source": "Table 1 of a paper"}],
    )
    return run_study(plan, home)


def test_all_cells_are_done_once_and_nested_in_one_run(done, corpora, home, monkeypatch):
    assert (done.done, done.skipped) == (10, 0)
    client = MlflowClient(done.run.uri)
    parent = client.get_run(done.run.run_id)
    runs = client.search_runs([parent.info.experiment_id])
    nested = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == done.run.run_id]
    assert sorted(run.data.tags["kind"] for run in nested) == ["model"] * 8 + ["reference"] * 2
    assert {run.info.status for run in runs} == {"FINISHED"}
    figures = nested[0].data.metrics | nested[-1].data.metrics
    assert {"val/p_at_20", "test/p_at_20", "cost/documents_per_second"} <= set(figures)

    monkeypatch.setattr(cells_of_studies.Experiment, "train", None)
    again = run_study(done.folder.plan, home)
    assert (again.done, again.skipped, again.run.run_id) == (0, 10, done.run.run_id)
    assert forecast(done.folder.plan, home)["to_do"] == []


def test_what_is_relevant_and_the_codes_are_kept(done):
    folder = done.folder
    cell = next(cell for cell in folder.plan.cells if cell.row == "nash")
    places = folder.evaluations(cell)
    assert {key: path.is_dir() for key, path in places.items()} == {
        (corpus, split): True
        for corpus in ("small-random60-first500", "small-few-first500")
        for split in ("validation", "test")
    }
    relevance, measure = folder.relevance(cell.corpus, "test")
    found = folder.evaluation(places[cell.corpus, "test"])
    assert measure == "precision"
    assert len(relevance.queries[0]) == len(found.query_codes) + 1
    assert len(relevance.database[0]) == len(found.database_codes) + 1


def test_new_figures_need_neither_models_nor_corpora(done, home, tmp_path):
    root = tmp_path / "copy"
    shutil.copytree(done.folder.path, root)
    folder = StudyFolder(root, done.folder.plan)
    cell = folder.plan.cells[-1]
    place = folder.evaluations(cell)[cell.corpus, "test"]
    before = folder.evaluation(place)
    config = folder.plan.corpora[0].evaluation
    assert rescore(folder, config) == 8 * 4
    assert folder.evaluation(place).metrics == before.metrics

    rescore(folder, config.model_copy(update={"k": 5}))
    after = folder.evaluation(place)
    assert (after.k, after.main) == (5, "p_at_5")
    assert after.metrics["p_at_20"] == before.metrics["p_at_20"], "what is not computed any more is kept"
    np.testing.assert_array_equal(after.query_codes, before.query_codes)
    place.rename(place.with_name(f".{place.name}.new"))  # killed between the two renamings
    assert folder.evaluation(place).main == "p_at_5"


def test_a_study_of_other_contents_is_refused_and_can_be_extended(done, corpora, home):
    options = {"test": True, "across": True}
    other = _plan(corpora, methods={"lsh": {}, "itq": {"seeds": [0]}}, **options)
    with pytest.raises(UsageError, match=r"the study grid .* has other contents: .*itq 8 seed 0.*nash 8 seed 0"):
        run_study(other, home)
    assert done.folder.finished(done.folder.plan.cells[-1]), "nothing is lost"
    extended = run_study(other, home, extend=True)
    assert (extended.done, extended.skipped) == (2, 6)
    back = run_study(done.folder.plan, home, extend=True)
    assert (back.done, back.skipped) == (0, 10)


def test_a_corpus_that_changed_under_a_study_is_named(done, home):
    record = read_record(done.folder.path / "study.json", "restore it.")
    changed = {**record, "data": {**record["data"], "small-few-first500": "0" * 16}}
    write_json(done.folder.path / "study.json", changed)
    try:
        with pytest.raises(
            CorpusError, match=r"small-few-first500 has changed under the study grid: its data was 0000"
        ):
            run_study(done.folder.plan, home)
        page = report_study(done.folder, home).read_text()
        assert "The texts of small-few-first500 cannot be shown" in page
    finally:
        write_json(done.folder.path / "study.json", record)


def test_the_page_stands_alone_and_tells_all(done, home):
    html = report_study(done.folder, home).read_text()
    markdown = (done.folder.path / "report" / "report.md").read_text()
    assert 'src="http' not in html
    for text in (html, markdown):
        assert "Worst queries of" in text
        assert "tfidf cosine (float" in text
        assert "nash, learned on small-few-first500" in text
        assert "Table 1 of a paper" in text
        assert "10 of 10 cells are done" in text
        figures, _, configurations = text.rpartition("Worst queries of")
        assert "vocabulary_size: " not in figures
        assert configurations.index("hidden: 16") < configurations.index("The study, resolved")
    artifacts = {entry.path for entry in MlflowClient(done.run.uri).list_artifacts(done.run.run_id, "report")}
    assert {"report/report.html", "report/report.md"} <= artifacts


def test_a_failed_cell_leaves_the_others_and_is_tried_again(corpora, tmp_path, monkeypatch):
    home, train = StateDir(tmp_path), cells_of_studies.Experiment.train
    plan = _plan(corpora[:1], name="failing", methods={"lsh": {}}, references=[])

    def broken(study, seed, **more):
        if seed == 0:
            raise TexthashError("the lamp went out.", "mend it.")
        return train(study, seed, **more)

    with monkeypatch.context() as patch:
        patch.setattr(cells_of_studies.Experiment, "train", broken)
        with pytest.raises(TexthashError, match=r"1 of 2 cells .* failed; .*lsh 8 seed 0.*the lamp went out"):
            run_study(plan, home)
    folder = StudyFolder.open(home, "failing")
    assert [(row["state"], row["problem"]) for row in status(folder)] == [
        ("failed", "the lamp went out."),
        ("done", ""),
    ]
    assert "failed: the lamp went out." in report_study(folder, home).read_text()
    assert run_study(plan, home).done == 1
    assert [row["state"] for row in status(folder)] == ["done", "done"]


def test_test_can_be_opened_later_without_training(corpora, tmp_path, monkeypatch):
    home = StateDir(tmp_path)
    settings = {"name": "later", "methods": {"lsh": {}}, "seeds": [0]}
    closed = run_study(_plan(corpora[:1], **settings), home)
    cell = closed.folder.plan.cells[-1]
    assert not (closed.folder.cell_dir(cell) / "test").exists()
    monkeypatch.setattr(cells_of_studies.Experiment, "train", None)
    opened = run_study(_plan(corpora[:1], test=True, **settings), home)
    assert opened.done == 2
    assert (closed.folder.cell_dir(cell) / "test").is_dir()


def test_a_corpus_without_labels_is_refused(small_documents, tmp_path):
    rows = tmp_path / "bare.jsonl"
    rows.write_text("".join(json.dumps({"text": document.text}) + "\n" for document in small_documents[:60]))
    plan = _plan([{"corpus": {"name": "bare", "path": str(rows)}}], name="bare")
    with pytest.raises(UsageError, match="no document of bare-random60 has a label"):
        run_study(plan, StateDir(tmp_path / "home"))


def test_unknown_and_damaged_studies_are_named(tmp_path):
    with pytest.raises(UsageError, match=r"there is no study 'none' .*existing: none"):
        StudyFolder.open(StateDir(tmp_path), "none")
    place = tmp_path / "runs" / "studies" / "broken"
    place.mkdir(parents=True)
    for text in ("{", "{}"):
        (place / "study.json").write_text(text)
        with pytest.raises(TexthashError, match=r"study\.json is broken"):
            StudyFolder.open(StateDir(tmp_path), "broken")


def test_two_models_are_compared_by_configuration_figures_and_queries(done, home):
    records = {cell.label: done.folder.record(cell) for cell in done.folder.plan.cells}
    lsh, nash = (records[f"{row} on small-random60-first500"] for row in ("lsh 8 seed 0", "nash 16 seed 0"))
    found = compare(home, lsh.run, nash.model)
    assert found.config["method.name"] == ("lsh", "nash")
    assert found.config["method.bits"] == (8, 16)
    assert "corpus.name" not in found.config
    main = next(change for change in found.metrics if change.metric == "p_at_20")
    evaluations = [done.folder.evaluation(Path(r.model) / "test") for r in (lsh, nash)]
    assert (main.a, main.b) == tuple(pytest.approx(e.metrics["p_at_20"]) for e in evaluations)
    assert main.low < main.difference < main.high
    change = evaluations[1].per_query - evaluations[0].per_query
    assert (found.better, found.worse, found.equal) == tuple(int(np.sum(np.sign(change) == s)) for s in (1, -1, 0))
    assert found.gained[0].b - found.gained[0].a == pytest.approx(change.max())
    assert found.lost[0].b - found.lost[0].a == pytest.approx(change.min())
    few = records["lsh 8 seed 0 on small-few-first500"]
    with pytest.raises(UsageError, match=r"different editions: small/random60-first500 and small/few-first500"):
        compare(home, lsh.run, few.run)
