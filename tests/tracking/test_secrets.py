"""A password in tracking.uri: it opens the store, and is nowhere else."""

from __future__ import annotations

import json
import logging
import pickle
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException

from tests.tracking.test_outbox import Server, server  # noqa: F401  (server is a fixture)
from texthash.config import Config, TrackingConfig, parse_config
from texthash.paths import StateDir
from texthash.tracking import Tracker, check_store
from texthash.tracking.address import PASSWORD_VARIABLE, full_address
from texthash.tracking.failures import StoreError, store_errors
from texthash.tracking.store import address_of

SECRET = "hunter2-of-the-test"


def holding(folder: Path) -> list[str]:
    """Files below a folder that hold the secret."""
    return [str(path) for path in folder.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]


def test_a_configuration_is_written_without_the_password_and_used_with_it(tmp_path: Path) -> None:
    uri = f"postgresql://me:{SECRET}@db.example/runs"
    config = parse_config({"tracking": {"uri": uri}})
    for written in (config.to_yaml(), json.dumps(config.flat()), config.model_dump_json(), repr(config), str(config)):
        assert SECRET not in written
    assert config.flat()["tracking.uri"] == "postgresql://me@db.example/runs"
    address = address_of(config.tracking, StateDir(tmp_path))
    assert SECRET not in f"{address} {address!r} {json.dumps([address])}"
    assert full_address(pickle.loads(pickle.dumps(address))) == uri
    again = Config.model_validate_json(config.model_dump_json())  # as one that a folder of results keeps
    assert full_address(address_of(again.tracking, StateDir(tmp_path))) == uri


def test_the_environment_gives_the_password_of_an_address_without_one(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, "p@ss")
    address = address_of(TrackingConfig(uri="postgresql://you@db.example/runs"), StateDir(tmp_path))
    assert (str(address), full_address(address)) == (
        "postgresql://you@db.example/runs",
        "postgresql://you:p%40ss@db.example/runs",
    )


@pytest.mark.parametrize("scheme", ["nosuchstore", "postgresql", "http"])
def test_no_error_repeats_the_password(scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    uri = f"{scheme}://me:{SECRET}@127.0.0.1:1/runs"
    with pytest.raises(StoreError) as raised:
        check_store(TrackingConfig(uri=uri), StateDir(tmp_path))
    assert SECRET not in str(raised.value)
    assert f"{scheme}://{'' if scheme == 'http' else 'me@'}127.0.0.1:1/runs" in str(raised.value)


def test_runs_on_a_server_that_comes_and_goes_leave_the_password_nowhere(
    server: Server,  # noqa: F811
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    uri = server.uri.replace("://", f"://me:{SECRET}@")
    home, config = StateDir(tmp_path / "home"), parse_config({"tracking": {"uri": uri}})
    with caplog.at_level(logging.DEBUG):
        server.start()
        tracker = Tracker(config.tracking, home)
        first = tracker.start("first", params=config.flat())
        first.text(config.to_yaml(), "config.yaml")
        server.kill()
        first.metrics({"val/score": 0.5})
        away = tracker.start("away", params=config.flat())
        assert holding(home.root) == []
        server.start()
        assert sum(tracker.outbox.send_all().values()) >= 1
    from mlflow import MlflowClient

    found = MlflowClient(server.uri).search_runs([tracker.experiment_id])
    assert {run.info.run_name for run in found} == {"first", "away"}
    assert {run.data.params["tracking.uri"] for run in found} == {server.uri}
    assert away.server_id != away.run_id
    assert holding(tmp_path) == []
    out, err = capfd.readouterr()
    assert SECRET not in out + err + caplog.text


def test_the_cause_is_named_and_not_what_sqlalchemy_puts_before_it() -> None:
    said = (
        "(raised as a result of Query-invoked autoflush; consider no_autoflush)\n(sqlite3.OperationalError) full\n[SQL"
    )
    with pytest.raises(StoreError) as raised, store_errors("sqlite:///runs.db", "create_run"):
        raise MlflowException(said)
    assert raised.value.problem.endswith("failed in create_run: (sqlite3.OperationalError) full")
    assert raised.value.remedy
