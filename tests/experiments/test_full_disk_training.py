"""Training, registration and release on a disk that becomes full on the way: one error, and nothing but the whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.small_disk import SmallDisk, small_disk
from tests.test_full_disk_outputs import failure
from texthash.config import parse_config
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.deployment.release_model import make_release, register
from texthash.errors import as_user_error
from texthash.experiments.experiment import Experiment
from texthash.experiments.trained_models import TrainedModel, is_model
from texthash.index.releases.release import current_name, open_release
from texthash.paths import StateDir

_FREE_PAGES = (0, 10, 300, 1200, 1500, 2000)  # until the store, the logged model, its copy and the index are full


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", 64) as made:
        yield made


def test_a_training_and_its_release(
    disk: SmallDisk, small_corpus: PreparedCorpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEXTHASH_MIN_FREE_BYTES", "0")
    config = {
        "corpus": small_corpus.manifest.config.model_dump(mode="json"),
        "method": {"name": "pcah", "bits": 16},
        "tracking": {"promote": "always"},
        "index": {"shards": 1},
    }
    home = StateDir(disk.path / "home")
    home.make()
    (home.root / "mlflow.db").touch()  # a store of its own, which cannot be linked to that of all tests
    study = Experiment(parse_config(config), home, small_corpus)
    models: list[TrainedModel] = []

    def all_of_it() -> None:
        if not models:
            models.append(study.train(0))
        make_release(study, models[0], register(study, models[0]))

    refused = []
    for pages in _FREE_PAGES:
        disk.fill(pages)
        error = failure(all_of_it)
        disk.empty()
        if error is None:
            break
        refused.append(bool(models))
        known = as_user_error(error)
        assert known is not None, repr(error)
        assert "full" in known.problem or "could not be written" in known.problem
        assert str(home.root) in known.problem
        assert known.remedy
        assert all(is_model(path) for path in (home.runs / "models").glob("*"))
        assert len(list(home.artifacts.glob("*/models/*"))) == len(models), (
            "no part of a model is left to fill the disk"
        )
        if current_name(home) is not None:
            open_release(home)
    assert refused.count(False) >= 2, "before the model is whole"
    assert refused.count(True) >= 1, "after that"
    all_of_it()
    assert open_release(home).release.bits == 16
    found = MlflowClient(home.tracking_uri).search_logged_models([study.tracker.experiment_id])
    assert [str(model.status) for model in found] == ["READY"]
