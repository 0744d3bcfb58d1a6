"""A tracking server that answers, but not as MLflow does: a proxy, a lost login, a deleted run."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from texthash.config import TrackingConfig
from texthash.errors import TexthashError
from texthash.paths import StateDir
from texthash.tracking import Tracker, check_store, offline
from texthash.tracking.failures import StoreUnavailableError

PAGE = (200, "text/html", b"<!DOCTYPE html><h1>Please sign in</h1>")


def _refusal(status: int, code: str) -> tuple[int, str, bytes]:
    return status, "application/json", json.dumps({"error_code": code, "message": "no"}).encode()


class Stub:
    """The calls of a run, by a server that can be told to give another answer.

    Attributes:
        answer: Answer to the calls of a run; None to take them.
        metrics: Names of the metrics that were taken.
    """

    def __init__(self, artifacts: str) -> None:
        self.artifacts = artifacts
        self.answer: tuple[int, str, bytes] | None = None
        self.delay, self.health = 0.0, True
        self.metrics: list[str] = []

    def reply(self, path: str, body: dict[str, object]) -> tuple[int, str, bytes]:
        if path.endswith("/health") and self.health:
            return 200, "text/plain", b"OK"
        if self.answer is not None:
            time.sleep(self.delay)
            return self.answer
        found: dict[str, object] = {}
        if path.endswith("experiments/get-by-name"):
            found = {"experiment": {"experiment_id": "1", "name": "x", "lifecycle_stage": "active"}}
        elif path.endswith(("runs/create", "runs/get")):
            found = {
                "run": {"info": {"run_id": "r1", "experiment_id": "1", "artifact_uri": self.artifacts}, "data": {}}
            }
        elif path.endswith("log-batch"):
            if any(metric["key"] == "poison" for metric in body.get("metrics", [])):  # type: ignore[attr-defined]
                return _refusal(500, "INTERNAL_ERROR")
            self.metrics += [metric["key"] for metric in body.get("metrics", [])]  # type: ignore[attr-defined]
        return 200, "application/json", json.dumps(found).encode()


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Stub, str]]:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(offline, "RETRY_SECONDS", 0.0)
    made = Stub((tmp_path / "artifacts").as_uri())

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            status, media, content = made.reply(self.path.partition("?")[0], json.loads(body or "{}"))
            self.send_response(status)
            self.send_header("Content-Type", media)
            if status in (301, 302):
                self.send_header("Location", self.path)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield made, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


TEMPORARY = {
    "a page": PAGE,
    "a loop": (302, "text/html", b""),
    "no path": (404, "text/html", PAGE[2]),
    "no login": (401, "text/html", b"You are not authenticated."),
    "no right": _refusal(403, "PERMISSION_DENIED"),
    "busy": (429, "text/html", PAGE[2]),
    "broken": _refusal(500, "INTERNAL_ERROR"),
}


@pytest.mark.parametrize("name", TEMPORARY)
def test_an_answer_that_is_none_of_mlflow_keeps_the_entries(name, stub, tmp_path, capsys) -> None:
    server, uri = stub
    run = Tracker(TrackingConfig(uri=uri), StateDir(tmp_path), "x").start("a run")
    server.answer = TEMPORARY[name]
    run.metrics({"kept": 1.0})
    run.end()
    said = capsys.readouterr().err
    assert said.count("mlflow: ") == 1
    assert "kept in" in said
    assert "<h1>" not in said, "the page of a proxy is not printed"
    assert not offline.server_responds(uri), "whatever its health says"
    server.answer = None
    run.metrics({"later": 1.0})
    assert server.metrics == ["kept", "later"]


@pytest.mark.parametrize(
    ("name", "remedy"),
    [("a page", "sign-in page"), ("no login", "TEXTHASH_TRACKING_PASSWORD"), ("no right", "PASSWORD")],
)
@pytest.mark.parametrize("health", [True, False])
def test_a_command_does_not_begin_with_a_wrong_address_or_login(name, remedy, health, stub, tmp_path) -> None:
    server, uri = stub
    server.answer, server.health = TEMPORARY[name], health
    with pytest.raises(TexthashError, match="cannot be used") as raised:
        check_store(TrackingConfig(uri=uri), StateDir(tmp_path))
    assert not isinstance(raised.value, StoreUnavailableError)
    assert remedy in raised.value.remedy


def test_a_run_that_is_deleted_in_mid_command_does_not_end_it(stub, tmp_path, capsys, run_cli, monkeypatch) -> None:
    server, uri = stub
    monkeypatch.setenv("TEXTHASH_HOME", str(tmp_path))
    run = Tracker(TrackingConfig(uri=uri), StateDir(tmp_path), "x").start("a run")
    server.answer = _refusal(404, "RESOURCE_DOES_NOT_EXIST")
    run.metrics({"first": 1.0})
    run.text("a report", "report.txt")
    server.answer = (413, "text/html", PAGE[2])
    run.metrics({"large": 1.0})
    said = capsys.readouterr().err
    assert said.count("refuses entries of run r1") == 1
    assert "mlflow runs restore --run-id r1" in said
    server.answer = None
    run.metrics({"taken": 1.0})
    assert '"refused entries"' in run_cli("doctor", "--json", f"tracking.uri={uri}")[1]
    assert run_cli("sync", "--json")[1].strip() == "[]"
    assert server.metrics == ["taken"], "what was refused is not tried for ever"
    (artifact,) = tmp_path.glob("runs/unsent/r1/files/*/report.txt")
    assert artifact.read_text() == "a report", "its temporary file is gone"
    run_cli("sync", "--refused")
    assert server.metrics == ["taken", "first", "large"]


def test_entries_that_the_server_cannot_take_do_not_keep_back_those_of_other_runs(stub, tmp_path, capsys) -> None:
    server, uri = stub
    tracker = Tracker(TrackingConfig(uri=uri), StateDir(tmp_path), "x")
    server.answer = TEMPORARY["broken"]
    stuck, other = tracker.start("stuck"), tracker.start("other")
    stuck.metrics({"poison": 1.0})
    other.metrics({"good": 1.0})
    server.answer = None
    with pytest.raises(StoreUnavailableError):
        tracker.outbox.send_all()
    assert server.metrics == ["good"]
    assert list(tracker.outbox.pending()) == [stuck.run_id]
    assert f"run {stuck.run_id} cannot be sent" in capsys.readouterr().err


def test_a_deleted_experiment_keeps_back_its_runs_alone(stub, tmp_path: Path, capsys) -> None:
    server, uri = stub
    tracker = Tracker(TrackingConfig(uri=uri), StateDir(tmp_path), "x")
    server.answer = PAGE
    tracker.start("offline").metrics({"a": 1.0})
    taken, refusal = server.reply, _refusal(400, "INVALID_PARAMETER_VALUE")
    server.reply = lambda path, body: refusal if path.endswith("runs/create") else taken(path, body)
    server.answer = None
    tracker.outbox.flush(uri)
    tracker.outbox.flush(uri)
    assert capsys.readouterr().err.count("cannot be sent") == 1
    assert len(tracker.outbox.pending()) == 1
