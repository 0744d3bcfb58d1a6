"""What a study's file stands for, and what is wrong with one that cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from texthash.errors import UsageError
from texthash.experiments.grid.plan import load_plan, parse_plan
from texthash.experiments.retrieval.plan import is_retrieval
from texthash.methods.registry import hyperparameters

STUDIES = sorted((Path(__file__).parents[3] / "configs" / "studies").glob("*.yaml"))
GRIDS = [path for path in STUDIES if not is_retrieval(path)]


def _plan(**changes):
    values = {
        "name": "one",
        "corpora": [{"corpus": {"name": "a"}}, {"corpus": {"name": "b"}}],
        "bits": [8, 16],
        "seeds": [0, 1],
        "methods": {
            "lsh": {},
            "itq": {},
            "wide": {"method": "nash", "params": {"hidden": 64}, "bits": [8]},
        },
        **changes,
    }
    return parse_plan(values, Path("."), "the file")


def test_every_combination_is_a_cell_once():
    cells = _plan(encoders={"minilm": {"bits": [16]}}).cells
    rows = [(cell.kind, cell.row, cell.bits, cell.seed) for cell in cells if cell.config.corpus.name == "a"]
    assert len(cells) == 2 * len(rows)
    assert rows[:2] == [("reference", "tfidf cosine", None, None), ("reference", "minilm cosine", None, None)]
    cut = [("minilm sign", None), ("minilm centred sign", None), ("minilm prefix", 16), ("minilm itq", 16)]
    assert [(row, bits) for kind, row, bits, _ in rows if kind == "encoder"] == cut
    trained = [row[1:] for row in rows if row[0] == "model"]
    assert trained == [
        *[("lsh", bits, seed) for bits in (8, 16) for seed in (0, 1)],
        *[("itq", bits, 0) for bits in (8, 16)],  # the same model for every seed
        *[("wide", 8, seed) for seed in (0, 1)],
    ]
    wide = next(cell for cell in cells if cell.row == "wide" and cell.seed == 1)
    assert (wide.config.method.name, wide.config.training.seed) == ("nash", 1)
    assert wide.config.method.params == {**hyperparameters("nash"), "hidden": 64}, "all that a cell is made of"
    assert len({cell.id for cell in cells}) == len(cells)


def test_a_cell_is_known_by_what_decides_its_figures():
    def identity(**changes):
        return _plan(**changes).cells[-1].id

    same, longer = {"training": {"workers": 1}, "corpus": {"shards": 2}}, {"training": {"epochs": 3}}
    assert identity() == identity(settings=same) == identity(test=True, cpus_per_cell=2)
    assert identity() != identity(settings=longer)
    named = {"wide": {"method": "nash", "params": {"hidden": hyperparameters("nash")["hidden"]}, "bits": [8]}}
    assert identity(methods=named) == identity(methods={"wide": {"method": "nash", "bits": [8]}})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"methods": {"nahs": {}}}, "did you mean 'nash'"),
        ({"methods": {"nash": {"params": {"hiden": 3}}}}, "did you mean 'hidden'"),
        ({"bits": [16, 16]}, "bits=.*16 is listed twice"),
        ({"methods": {"lsh": {"seeds": [1, 1]}}}, "1 is listed twice"),
        ({"bits": [12]}, r"bits\.0=12: .*multiple of 8"),
        ({"seed": [1]}, r"unknown key 'seed' \(did you mean 'seeds'"),
        ({"methods": {"lsh": {"bit": [8]}}}, "unknown key 'methods.lsh.bit'"),
        ({"encoders": {"minilm": {"cuts": ["signs"]}}}, "signs"),
        ({"corpora": []}, "corpora"),
        ({"corpora": [{"corpus": {"name": "a"}}] * 2}, "are duplicates"),
        ({"methods": {}, "references": []}, "has no cells"),
        ({"published": [{"corpus": "a", "row": "lsh", "bits": 8, "figure": 0.5}]}, "source"),
        ({"name": "../x"}, "name"),
    ],
)
def test_what_cannot_be_is_named_before_any_work(changes, said):
    with pytest.raises(UsageError, match=said):
        _plan(**changes)


def test_a_file_that_is_missing_or_broken_is_named(tmp_path):
    with pytest.raises(UsageError, match="there is no study file"):
        load_plan(tmp_path / "none.yaml")
    broken = tmp_path / "broken.yaml"
    for text in ("a: [", "- 1"):
        broken.write_text(text)
        with pytest.raises(UsageError, match=r"broken\.yaml"):
            load_plan(broken)
    broken.write_text(yaml.safe_dump({"name": "x", "corpora": ["none.yaml"], "methods": {"lsh": {}}}))
    with pytest.raises(UsageError, match=r"there is no configuration file .*none\.yaml"):
        load_plan(broken)


def test_a_study_may_name_a_shipped_corpus(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "own.yaml"
    own.write_text(yaml.safe_dump({"name": "x", "corpora": ["quickstart.yaml"], "methods": {"lsh": {}}}))
    assert load_plan(own).corpora[0].corpus.name == "pydoc"
    assert load_plan("studies/posthoc.yaml") == load_plan("configs/studies/posthoc.yaml")


def test_the_studies_that_come_with_the_project_can_be_read():
    assert len(GRIDS) >= 2
    for path in GRIDS:
        assert load_plan(path).cells, path
