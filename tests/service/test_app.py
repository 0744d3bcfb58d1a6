"""The application as it is handed to Serve: built without a cluster, from the arguments of the configuration file."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from texthash.errors import ModelMismatchError, TexthashError, UsageError
from texthash.index.releases.publish import publish
from texthash.paths import StateDir
from texthash.service.serve_app import build

CONFIGURATION = Path(__file__).parents[2] / "deploy" / "serve.yaml"


def test_the_configuration_file_is_one_that_serve_takes(released: StateDir, monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.serve.schema import ServeDeploySchema

    parsed = ServeDeploySchema.model_validate(yaml.safe_load(CONFIGURATION.read_text()))
    assert parsed.http_options.host == "127.0.0.1"
    (application,) = parsed.applications
    module, name = application.import_path.split(":")
    assert (module, name) == (build.__module__, build.__name__)
    assert parsed.http_options.request_timeout_s > application.args["service"]["limits"]["request_timeout_s"]
    monkeypatch.setenv("TEXTHASH_HOME", str(released.root))
    assert build(application.args) is not None


def test_the_former_import_path_builds_the_same_application(
    released: StateDir, caplog: pytest.LogCaptureFixture
) -> None:
    from texthash.service import app

    assert app.build({"home": str(released.root)}) is not None
    assert "texthash.service.serve_app:build" in caplog.text


def test_arguments_that_do_not_exist_are_refused(released: StateDir) -> None:
    with pytest.raises(UsageError, match="relaese"):
        build({"home": str(released.root), "relaese": "current"})


def test_what_is_not_released_cannot_be_built(released: StateDir, tmp_path: Path) -> None:
    with pytest.raises(TexthashError, match="nothing has been released"):
        build({"home": str(tmp_path)})
    with pytest.raises(TexthashError, match="no release 'r000009'"):
        build({"home": str(released.root), "release": "r000009"})


def test_a_release_whose_model_was_exchanged_is_refused(released: StateDir, tmp_path: Path) -> None:
    home = StateDir(Path(shutil.copytree(released.root, tmp_path / "home")))
    model, index = home.root / "models" / "itq", next(home.index.iterdir())
    publish(home, model, index)
    record = model / "hasher.json"
    record.write_text(record.read_text() + " ")
    with pytest.raises(ModelMismatchError, match="digest"):
        build({"home": str(home.root)})
