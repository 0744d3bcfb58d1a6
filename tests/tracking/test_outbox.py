"""A tracking server that is away: the work goes on, is kept in files, and arrives when the server answers again."""

from __future__ import annotations

import os
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from contextlib import suppress
from itertools import pairwise

import httpx
import pytest

from texthash.cluster import free_port
from texthash.config import TrackingConfig, parse_config
from texthash.deployment.release_model import register
from texthash.experiments.experiment import EpochLogger, Experiment
from texthash.methods.registry import build
from texthash.models.hasher import Hasher
from texthash.paths import StateDir
from texthash.tracking import StoreUnavailableError, Tracker, offline
from texthash.tracking.store import client_of
from texthash.training.loop import EpochReport


class Server:
    """A real ``mlflow server`` that can be killed and started again over the same database."""

    def __init__(self, directory):
        self.port = free_port()
        self.uri, self.directory, self.process = f"http://127.0.0.1:{self.port}", directory, None

    def start(self):
        if self.process is not None and self.process.poll() is None:
            return
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{self.directory / 'server.db'}"]
        command += ["--artifacts-destination", str(self.directory / "artifacts")]
        log = (self.directory / "server.log").open("w")
        self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, cwd=self.directory)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            assert self.process.poll() is None, (self.directory / "server.log").read_text()[-2000:]
            try:
                if httpx.get(self.uri + "/health", timeout=2).is_success:
                    return
            except httpx.HTTPError:
                time.sleep(0.2)
        raise AssertionError("the server did not come up")

    def kill(self):
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(30)


class Line:
    """The way to a server by a port of its own. It can be cut while the server, whose start takes seconds, goes on."""

    def __init__(self, server):
        self.server, self.port = server, free_port()
        self.uri, self._open, self._ends = f"http://127.0.0.1:{self.port}", None, []

    def start(self):
        self.server.start()
        line = self

        class Forward(socketserver.BaseRequestHandler):
            def handle(self):
                with socket.create_connection(("127.0.0.1", line.server.port)) as other:
                    line._ends += [self.request, other]
                    back = threading.Thread(target=_copy, args=(other, self.request), daemon=True)
                    back.start()
                    _copy(self.request, other)
                    back.join()

        socketserver.ThreadingTCPServer.allow_reuse_address = True
        self._open = socketserver.ThreadingTCPServer(("127.0.0.1", self.port), Forward)
        self._open.daemon_threads, self._open.block_on_close = True, False
        threading.Thread(target=self._open.serve_forever, args=(0.05,), daemon=True).start()

    def cut(self):
        if self._open is not None:
            self._open.shutdown()
            self._open.server_close()
            self._open = None
        for end in self._ends:
            _close(end)
        self._ends.clear()


def _copy(source, target):
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    _close(target)  # the other direction ends too


def _close(end):
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    found = Server(tmp_path_factory.mktemp("server"))
    client_of(f"sqlite:///{found.directory / 'server.db'}")  # its schema is made already
    yield found
    found.kill()


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(offline, "RETRY_SECONDS", 0.5)


@pytest.fixture
def line(server):
    found = Line(server)
    yield found
    found.cut()


def _client(server):
    from mlflow import MlflowClient

    return MlflowClient(server.uri)


def _report(number):
    return EpochReport("variational", number, 4, {"rec": 2.0}, 0.1 * number, 0.5, 100.0, number)


def test_a_server_that_dies_in_mid_training_gets_the_rest_when_it_is_back(server, small_corpus, tmp_path, capsys):
    server.start()
    config = parse_config(
        {
            "corpus": small_corpus.manifest.config.model_dump(mode="json"),
            "method": {"name": "nash", "bits": 16, "params": {"hidden": 32}},
            "training": {"epochs": 4, "batch_size": 256},
            "tracking": {"uri": server.uri},
        }
    )
    study = Experiment(config, StateDir(tmp_path / "home"), small_corpus)
    log = EpochLogger.__call__

    def die_after_the_second(notes, report):
        log(notes, report)
        if report.epoch == 2:
            server.kill()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EpochLogger, "__call__", die_after_the_second)
        model = study.train(0)
    found = study.evaluate(model, test=True)
    page = study.report([model], model.run)
    told = capsys.readouterr().err
    assert told.count("does not answer") == 1
    assert "texthash sync" in told
    assert model.hasher.is_dir()
    assert page.is_file()
    with pytest.raises(StoreUnavailableError, match=r"cannot be registered.*is trained, and stored in"):
        register(study, model)

    server.start()
    time.sleep(0.6)
    assert register(study, model) == "1", "what waits is sent first"
    assert "answers again" in capsys.readouterr().err
    client = _client(server)
    run = client.get_run(model.run.run_id)
    assert run.info.status == "FINISHED"
    history = client.get_metric_history(model.run.run_id, "train/loss")
    assert [point.step for point in history] == [report.number for report in model.history if report.terms]
    assert all(a.timestamp < b.timestamp for a, b in pairwise(history)), "as it was, not as sent"
    assert run.data.metrics["test/p_at_100"] == pytest.approx(found["test"].metrics["p_at_100"])
    assert {entry.path for entry in client.list_artifacts(model.run.run_id)} >= {"report.html", "evaluation", "plots"}
    (linked,) = client.search_logged_models([run.info.experiment_id])
    assert "test/p_at_100" in {metric.key for metric in linked.metrics}
    assert client.get_model_version(study.model_name, "1").run_id == model.run.run_id


def test_runs_that_begin_without_the_server_nest_when_they_are_sent(line, small_corpus, tmp_path, monkeypatch, run_cli):
    home = StateDir(tmp_path / "home")
    monkeypatch.setenv("TEXTHASH_HOME", str(home.root))
    tracker = Tracker(TrackingConfig(uri=line.uri), home, "texthash-away")
    method = build("lsh", small_corpus.shape, 16)
    for stage in method.stages():
        stage.fit(small_corpus.train)
    saved = Hasher.of(method, small_corpus).save(tmp_path / "hasher")
    with (
        tracker.start("study", params={"method.bits": 16}) as parent,
        tracker.start("child", parent=parent, key="sweep/1", validation="val/p_at_100") as child,
    ):
        child.epoch(_report(1))
        child.text("hello", "notes/hello.txt")
        assert tracker.log_model(saved, child, "lsh", ["a text"]) == ""
        assert tracker.find("sweep/1").run_id == child.run_id
        child.epoch(_report(2))
    status, out, _ = run_cli("doctor", "--json", f"tracking.uri={line.uri}")
    assert status == 1
    assert '"unsent runs"' in out
    status, _, err = run_cli("sync")
    assert status == 1
    assert f"the MLflow store {line.uri} failed" in err

    line.start()
    status, out, err = run_cli("sync", "--json")
    assert status == 0, err
    assert out.count('"run"') == 2
    client = _client(line)
    runs = {run.info.run_name: run for run in client.search_runs([tracker.experiment_id])}
    assert set(runs) == {"study", "child"}
    assert runs["child"].data.tags["mlflow.parentRunId"] == runs["study"].info.run_id == parent.server_id
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert runs["study"].data.params == {"method.bits": "16"}
    assert [m.step for m in client.get_metric_history(child.server_id, "val/p_at_100")] == [1, 2]
    assert [e.path for e in client.list_artifacts(child.server_id, "notes")] == ["notes/hello.txt"]
    assert client.get_logged_model(child.model_id).source_run_id == child.server_id
    assert tracker.find("sweep/1").server_id == child.server_id, "a run is found by either name"
    assert run_cli("sync", "--json")[1].strip() == "[]"


def test_what_the_server_refuses_is_set_aside_and_does_not_block_the_rest(line, tmp_path, capsys):
    line.start()
    tracker = Tracker(TrackingConfig(uri=line.uri), StateDir(tmp_path / "home"), "texthash-refused")
    run = tracker.start("refused", params={"a": 1})
    line.cut()
    run.params({"a": 2})
    run.metrics({"b": 3.0})
    line.start()
    time.sleep(0.6)
    run.end()
    assert "1 entries of run" in (err := capsys.readouterr().err)
    assert "refused" in err
    assert _client(line).get_run(run.run_id).data.metrics == {"b": 3.0}
    assert run.status == "FINISHED"
    assert '"a": "2"' in (tmp_path / "home/runs/unsent" / run.run_id / "refused.jsonl").read_text()
