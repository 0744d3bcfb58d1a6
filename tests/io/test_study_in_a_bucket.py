"""A study with its state in an object store: nodes that share no directory each do some of its cells."""

from __future__ import annotations

from operator import itemgetter
from pathlib import Path

import pytest

from tests.io.conftest import Node
from texthash.errors import UsageError
from texthash.experiments.grid import cells
from texthash.experiments.grid import run as runs
from texthash.experiments.grid.folder import StudyFolder, studies
from texthash.experiments.grid.plan import Plan, parse_plan
from texthash.experiments.grid.rescore import rescore
from texthash.experiments.grid.run import forecast, run_study, status


@pytest.fixture
def plan(small_rows: Path) -> Plan:
    edition = {"vocabulary_size": 500}
    corpus = {"name": "small", "path": str(small_rows), "shards": 1, "limit": 400, "edition": edition}
    values = {
        "name": "grid",
        "corpora": [{"corpus": corpus}],
        "bits": [8],
        "methods": {"lsh": {}, "itq": {}},
        "settings": {"evaluation": {"k": 20, "curve": [1, 20]}},
    }
    return parse_plan(values, Path("."), "the file")


def test_a_study_that_was_interrupted_on_one_node_goes_on_on_another(
    node: Node, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, original = node("one"), runs.run_cell

    def killed_at_the_second(cell: object, *arguments: object) -> object:
        if cell is not plan.cells[0]:
            raise KeyboardInterrupt
        return original(cell, *arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(runs, "run_cell", killed_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            run_study(plan, home)

    other = node("two")
    assert studies(other) == ["grid"]
    assert forecast(plan, other)["done"] == 1
    outcome = run_study(plan, other)
    assert (outcome.done, outcome.skipped) == (len(plan.cells) - 1, 1)

    third = node("three")
    folder = StudyFolder.open(third, "grid")
    rows = sorted(status(folder), key=itemgetter("cell"))
    assert {row["state"] for row in rows} == {"done"}
    assert rows == sorted(status(outcome.folder), key=itemgetter("cell"))
    assert rescore(folder) == len([cell for cell in plan.cells if cell.kind != "reference"])
    with monkeypatch.context() as patch:
        patch.setattr(cells.Experiment, "train", None)
        assert run_study(plan, node("four")).skipped == len(plan.cells)
    with pytest.raises(UsageError, match=r"there is no study 'none' in .* \(existing: grid\)"):
        StudyFolder.open(third, "none")


def test_a_cell_whose_model_is_trained_is_not_trained_again_on_another_node(
    node: Node, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cells, "search_ms", killed)
        with pytest.raises(KeyboardInterrupt):
            run_study(plan, node("one"))
    trained = [path.name for path in (node("one").state / "runs" / "models").iterdir()]
    assert len(trained) == 1
    run_study(plan, node("two"))
    models = [path.name for path in (node("two").state / "runs" / "models").iterdir()]
    assert trained[0] in models
    assert len(models) == sum(cell.kind == "model" for cell in plan.cells)
