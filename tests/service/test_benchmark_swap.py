"""The benchmark of a model that is exchanged under load, as a program: no answer is refused, and none is mixed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.service.conftest import Program
from texthash.config import Config
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.experiments.experiment import Experiment
from texthash.experiments.trained_models import TrainedModel
from texthash.index.releases.publish import publish
from texthash.index.releases.release import read_release
from texthash.index.writing.build import build_index
from texthash.paths import StateDir


@pytest.fixture(scope="module")
def trained(
    small_corpus: PreparedCorpus, tmp_path_factory: pytest.TempPathFactory
) -> tuple[StateDir, list[TrainedModel]]:
    """A state directory with two trained models, of which the first is released."""
    home = StateDir(tmp_path_factory.mktemp("swap"))
    models = []
    for name in ("itq", "lsh"):
        config = Config.model_validate({"corpus": {"name": "small"}, "method": {"name": name, "bits": 32}})
        models.append(Experiment(config, home, small_corpus).train(0))
    model = Path(shutil.copytree(models[0].hasher, home.root / "models" / "released"))
    publish(home, model, build_index(model, small_corpus.path, home, shards=2))
    return home, models


@pytest.mark.slow
@pytest.mark.ray
def test_no_search_fails_and_no_release_gives_two_answers(
    trained: tuple[StateDir, list[TrainedModel]], benchmark_of: Program
) -> None:
    home, (_, other) = trained
    before = read_release(home)
    done = benchmark_of(
        home, "swap", "--model", other.name, "--documents", "2000", "--clients", "4", "--seconds", "2", "--json", "-"
    )
    assert done.returncode == 0, done.stderr[-3000:]
    rows = {row["event"]: row for row in json.loads(done.stdout)["rows"]}
    assert list(rows) == ["none", "promote", "rollback"]
    assert [row["releases"] for row in rows.values()] == [1, 2, 2]
    assert all(row["requests_per_s"] > 0 and row["errors"] == row["unlike"] == 0 for row in rows.values())
    assert read_release(home) == before


def test_the_released_model_is_nothing_to_change_to(
    trained: tuple[StateDir, list[TrainedModel]], benchmark_of: Program
) -> None:
    home, (released, _) = trained
    done = benchmark_of(home, "swap", "--model", released.name)
    assert done.returncode == 2
    assert f"{released.name} is the released model already" in done.stderr
