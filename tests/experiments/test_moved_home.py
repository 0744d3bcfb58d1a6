"""A state directory that was copied: what is done there reads and writes its own files, not those of the original."""

from __future__ import annotations

import shutil
from pathlib import Path

from mlflow import MlflowClient

from texthash.config import TrackingConfig, parse_config
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.deployment.model_refs import saved_hasher
from texthash.deployment.release_model import register
from texthash.experiments.experiment import Experiment
from texthash.experiments.trained_models import find_model
from texthash.paths import StateDir
from texthash.tracking import StoreUnavailableError, Tracker
from texthash.tracking.outbox import Outbox
from texthash.tracking.unsent import ENTRIES, FILES, RunStart, read_entry


def test_a_copy_uses_its_own_store_runs_and_models(small_corpus: PreparedCorpus, tmp_path: Path) -> None:
    config = {
        "corpus": small_corpus.manifest.config.model_dump(mode="json"),
        "method": {"name": "pcah", "bits": 16},
    }
    first = StateDir(tmp_path / "first")
    study = Experiment(parse_config(config), first, small_corpus)
    model = study.train(0)
    version = register(study, model)
    shutil.copytree(first.root, tmp_path / "a copy")
    before = _contents(first.root)

    home = StateDir(tmp_path / "a copy")
    tracker = Tracker(TrackingConfig(), home, study.tracker.experiment)
    copied = find_model(home, "latest")
    assert copied.directory.is_relative_to(home.root)
    copied.run.text("hello", "notes/remark.txt")
    assert saved_hasher(home, f"{study.model_name}/{version}").is_relative_to(home.root)
    assert register(Experiment(parse_config(config), home, small_corpus), copied) == version
    client = MlflowClient(home.tracking_uri)
    (logged,) = client.search_logged_models([tracker.experiment_id])
    for uri in (logged.artifact_location, client.get_run(copied.run.run_id).info.artifact_uri):
        assert uri.startswith(home.artifacts.as_uri() + "/")
    assert [found.path for found in client.list_artifacts(copied.run.run_id, "notes")] == ["notes/remark.txt"]
    assert _contents(first.root) == before

    shutil.rmtree(home.root)
    first.root.rename(home.root)  # moved, and nothing is left of the original
    Tracker(TrackingConfig(), home, study.tracker.experiment)
    assert saved_hasher(home, f"{study.model_name}/{version}").is_relative_to(home.root)


def test_a_link_to_a_state_directory_is_no_copy(tmp_path: Path) -> None:
    home = StateDir(tmp_path / "home")
    made = Tracker(TrackingConfig(), home, "a study").experiment_id
    (tmp_path / "link").symlink_to(home.root)
    assert Tracker(TrackingConfig(), StateDir(tmp_path / "link"), "a study").experiment_id == made
    location = MlflowClient(home.tracking_uri).get_experiment(made).artifact_location
    assert location == (home.artifacts / "a study").as_uri()


def test_what_is_not_sent_moves_with_its_state_directory(small_hasher: Path, tmp_path: Path) -> None:
    away, home = "http://127.0.0.1:1", StateDir(tmp_path / "first")
    shutil.copytree(small_hasher, home.runs / "models" / "nash" / "hasher")
    artifact = tmp_path / "report.txt"
    artifact.write_text("a report")
    outbox = Outbox.of(home)
    outbox.store_failed(away, StoreUnavailableError("away", ""))
    run = outbox.begin(away, RunStart("a study", "a run", {}, 1))
    outbox.put(away, run, {"op": "artifact", "path": str(artifact), "folder": None})
    model = {"directory": str(home.runs / "models" / "nash" / "hasher"), "name": "nash", "example": ["a text"]}
    outbox.put(away, run, {"op": "model", **model})
    moved = home.root.rename(tmp_path / "second") / "runs"
    folder = moved / "unsent" / run
    entries = [read_entry(line, folder / FILES) for line in (folder / ENTRIES).read_text().splitlines()]
    assert Path(entries[0]["path"]).read_text() == "a report"
    assert entries[1]["directory"] == str(moved / "models" / "nash" / "hasher")


def _contents(folder: Path) -> dict[str, tuple[int, int]]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns) for path in files}
