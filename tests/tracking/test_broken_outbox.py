"""An outbox with damage in it: what is whole is sent, what is broken is set aside and named, nothing else is sent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from texthash.config import TrackingConfig
from texthash.paths import StateDir
from texthash.tracking import Tracker
from texthash.tracking.outbox import Outbox, RunStart
from texthash.tracking.store import client_of

EXPERIMENT = "texthash-broken"
BROKEN = [
    b"",
    b"{",
    b"[]",
    b"7",
    b'"op"',
    b'{"op": "metrics"',
    b'{"op": "unknown"}',
    b'{"op": ["metrics"]}',
    b'{"op": "metrics", "values": {"a": "x"}, "time": 1, "step": 0, "model": null}',
    b'{"op": "metrics", "values": {"a": 1.0}, "time": 1, "step": 0}',
    b'{"op": "params", "values": []}',
    b'{"op": "tags", "values": {"a": 7}}',
    b'{"op": "status", "status": "FINISHED", "time": 1, "more": 1}',
    b'{"op": "params", "values": {"a": "\xff',
    b"[" * 200_000,
]


@pytest.fixture
def home(tmp_path: Path) -> StateDir:
    home = StateDir(tmp_path / "home")
    home.make()
    return home


def _begun(home: StateDir, name: str = "begun") -> tuple[Outbox, str, Path]:
    tracker = Tracker(TrackingConfig(), home, EXPERIMENT)
    outbox = tracker.outbox
    run = outbox.begin(tracker.uri, RunStart(EXPERIMENT, name, {"kind": "model"}, 1))
    return outbox, run, outbox.root / run


def _line(value: float) -> bytes:
    entry = {"op": "metrics", "values": {"a": value}, "time": 1, "step": int(value), "model": None}
    return json.dumps(entry).encode()


@pytest.mark.parametrize("broken", BROKEN, ids=lambda line: line[:20].decode(errors="replace"))
def test_a_broken_line_is_set_aside_and_the_others_are_sent(
    home: StateDir, broken: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    outbox, run, folder = _begun(home)
    uri = outbox.uri(run)
    (folder / "entries.jsonl").write_bytes(_line(1) + b"\n" + broken + b"\n" + _line(2) + b"\n")
    assert outbox.send_all() == {run: 2}
    server = outbox.server_id(run)
    assert [point.value for point in client_of(uri).get_metric_history(server, "a")] == [1.0, 2.0]
    assert outbox.pending() == {}
    if broken:
        [aside] = (folder / "refused.jsonl").read_text(encoding="utf-8").splitlines()
        assert json.loads(aside)["refused"]
        assert str(folder / "refused.jsonl") in capsys.readouterr().err


def test_an_entry_after_half_a_line_is_whole(home: StateDir) -> None:
    """A process that was killed while it wrote leaves half a line."""
    outbox, run, folder = _begun(home)
    uri = outbox.uri(run)
    (folder / "entries.jsonl").write_bytes(_line(1) + b"\n" + _line(2)[:-5])
    outbox.put(uri, run, {"op": "metrics", "values": {"a": 3.0}, "time": 1, "step": 3, "model": None})
    history = client_of(uri).get_metric_history(outbox.server_id(run), "a")
    assert [point.value for point in history] == [1.0, 3.0]


def test_nothing_outside_of_the_outbox_is_sent(home: StateDir, tmp_path: Path) -> None:
    outbox, run, folder = _begun(home)
    uri = outbox.uri(run)
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("of another program", encoding="utf-8")
    (folder / "files").mkdir()
    (folder / "files" / "link").symlink_to(secret)
    (folder / "files" / "plain.txt").write_text("mine", encoding="utf-8")
    paths = [secret / "key", folder / "files" / "link" / "key", folder / "files" / ".." / ".." / ".." / "secret"]
    paths += [folder / "files" / "absent", folder / "files" / "plain.txt"]
    entries = [{"op": "artifact", "path": str(path), "folder": None} for path in paths]
    entries.append({"op": "model", "directory": str(secret), "name": "m", "example": []})
    (folder / "entries.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")
    assert outbox.send_all() == {run: 1}
    sent = client_of(uri).list_artifacts(outbox.server_id(run))
    assert [file.path for file in sent] == ["plain.txt"]
    assert len((folder / "refused.jsonl").read_text(encoding="utf-8").splitlines()) == 5


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"uri": 7, "server": null}', '{"uri": "x", "server": null}'])
def test_a_broken_record_keeps_back_its_own_run_alone(
    home: StateDir, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    outbox, broken, folder = _begun(home, "broken")
    _, whole, other = _begun(home, "whole")
    for one in (folder, other):
        (one / "entries.jsonl").write_bytes(_line(1) + b"\n")
    (folder / "record.json").write_text(content, encoding="utf-8")
    assert outbox.send_all() == {whole: 1}
    assert str(folder / "record.json") in capsys.readouterr().err
    assert outbox.pending() == {broken: 1}
    assert outbox.local_id(outbox.server_id(whole)) == whole
    assert Tracker(TrackingConfig(), home, EXPERIMENT).find("some/key") is None


@pytest.mark.parametrize("parent", ["../../elsewhere", "/etc", "..", "a\0b", ""])
def test_the_parent_of_a_run_is_no_path(home: StateDir, parent: str) -> None:
    outbox, run, folder = _begun(home)
    record = json.loads((folder / "record.json").read_bytes())
    record["start"]["tags"]["mlflow.parentRunId"] = parent
    elsewhere = home.runs / "elsewhere"
    elsewhere.mkdir(parents=True)
    (elsewhere / "record.json").write_text("{", encoding="utf-8")
    (folder / "record.json").write_text(json.dumps(record), encoding="utf-8")
    (folder / "entries.jsonl").write_bytes(_line(1) + b"\n")
    assert outbox.send_all() == {run: 1}
