"""Training with the state in an object store: nodes that share no directory find and resume each other's models."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.io.conftest import Node
from texthash.config import Config, CorpusConfig
from texthash.deployment import steps
from texthash.errors import TexthashError
from texthash.experiments.trained_models import find_model
from texthash.io.atomic import InUseError
from texthash.io.claims import claim
from texthash.models.files import digest
from texthash.training import loop

pytestmark = pytest.mark.usefixtures("undrawn")
_EPOCHS = 3


@pytest.fixture
def config(small_config: CorpusConfig) -> Config:
    return Config.model_validate(
        {
            "corpus": small_config.model_dump(),
            "method": {"name": "nash", "bits": 16, "params": {"hidden": 16}},
            "training": {"epochs": _EPOCHS, "batch_size": 256},
            "evaluation": {"k": 10},
        }
    )


def _files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_model_trained_on_one_node_is_found_on_another(node: Node, config: Config) -> None:
    home = node("one")
    trained = steps.train(config, home).models[0]
    assert {path.name for path in (home.state / "runs" / "models").iterdir()} == {trained.name}
    assert not list((home.state / "runs" / "checkpoints").glob("*/*.pt"))
    other = node("two")
    assert other.state_name == home.state_name
    assert not other.root.exists()
    found = find_model(other, "latest")
    assert found.directory.is_relative_to(other.root)
    assert _files(found.directory) == _files(trained.directory)
    assert "validation" in {path.name for path in found.directory.iterdir()}
    assert digest(found.hasher) == digest(trained.hasher)
    assert find_model(other, trained.name).validation == trained.validation
    with pytest.raises(TexthashError, match=rf"no trained model 'nosuch' in s3://.*newest: {trained.name}"):
        find_model(other, "nosuch")
    second = steps.train(config.derive(training={"seed": 1}), home).models[0]
    steps.evaluate(other, trained.name, test=True)  # publishes the first one again
    assert (find_model(home, trained.name).directory / "test").is_dir()
    assert find_model(home, "latest").name == find_model(other, "latest").name == second.name


def test_commands_train_index_and_search(
    node: Node, small_rows: Path, run_cli: Callable[..., tuple[int, str, str]]
) -> None:
    """A node that shares no directory with the one that made the release searches it from the bucket."""
    first = node("one")
    words = ["itq", "--bits", "32", f"corpus.path={small_rows}", "corpus.name=small", "evaluation.k=10"]
    status, out, err = run_cli("train", *words, "corpus.edition.vocabulary_size=2000")
    assert status == 0, err
    trained = json.loads(out)
    status, out, err = run_cli("index", "build", "latest", "index.shards=2")
    assert status == 0, err
    assert json.loads(out)["name"] == "r000001"
    second = node("two")
    assert second.root != first.root
    status, out, err = run_cli("search", "sort the values of an array", "--json")
    assert status == 0, err
    assert json.loads(out)["hits"]
    assert find_model(second, "latest").name == Path(trained["model"]).name
    shared = {path.name for path in first.state.iterdir()}
    assert shared == {"corpora", "index", "locks", "models", "releases", "runs"}


def test_training_that_was_killed_on_one_node_resumes_on_another(
    node: Node, config: Config, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected = steps.train(config, node("elsewhere")).models[0]
    home, original, seen = node("one"), loop.EpochReport, list[int]()

    def killed_after_two(*arguments: Any, **named: Any) -> Any:
        report = original(*arguments, **named)
        seen.append(report.epoch)
        if len(seen) == _EPOCHS:
            raise KeyboardInterrupt
        return report

    with monkeypatch.context() as patch:
        patch.setattr(loop, "EpochReport", killed_after_two)
        with pytest.raises(KeyboardInterrupt):
            steps.train(config, home)
    (checkpoint,) = (home.state / "runs" / "checkpoints").glob("*/checkpoint.pt")
    assert checkpoint.stat().st_size > 0
    resumed = steps.train(config, node("two")).models[0]
    assert [(r.stage, r.epoch) for r in resumed.history] == [(r.stage, r.epoch) for r in expected.history]
    assert digest(resumed.hasher) == digest(expected.hasher)
    assert "train 1/3" not in caplog.text.rpartition("== prepare")[2]


def test_one_training_of_a_configuration_runs_at_a_time(node: Node) -> None:
    lock = node("one").state / "runs" / "checkpoints" / ".x.lock"
    with (
        claim(lock, "the training x", "wait."),
        pytest.raises(InUseError, match=r"the training x is being done by process \d+ on"),
        claim(lock, "the training x", "wait."),
    ):
        pass
    with claim(lock, "the training x", "wait."):
        pass
