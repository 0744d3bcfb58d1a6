"""Audit lines of requests: an error of any kind is logged, counted and shown by health, and ends nothing."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from pathlib import Path

import pytest

from tests.service.conftest import SHARDS, Asked, LocalWriter
from texthash.config import LimitsConfig
from texthash.index.releases.release import open_release
from texthash.io.audit import FILE
from texthash.paths import StateDir
from texthash.service.audit_writer import AuditWriter
from texthash.service.coordinator import Coordinator
from texthash.service.http_app import make_app
from texthash.service.index_writes import IndexWriteService
from texthash.service.replicas.encoder import LocalEncoder
from texthash.service.replicas.shard import ShardServer


class Failing(StateDir):
    """State directory that fails as no file does."""

    def make(self) -> None:
        raise RuntimeError("no such state")


def test_an_unexpected_error_is_logged_once_and_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    writer = AuditWriter(Failing(tmp_path))
    with caplog.at_level(logging.WARNING, "texthash.service"):
        for _ in range(3):
            writer.add({"operation": "compact", "status": 200})
        writer.close()
        assert writer.reason == "RuntimeError: no such state"
        assert [record.getMessage() for record in caplog.records] == [
            "no audit line of compact, and of later writes, can be written: RuntimeError: no such state"
        ]
    assert not (tmp_path / FILE).exists()


@pytest.mark.parametrize(("status", "outcome"), [(200, "done"), (507, "failed"), (504, "unknown"), (0, "unknown")])
def test_a_write_that_may_still_be_made_has_not_failed(tmp_path: Path, status: int, outcome: str) -> None:
    writer = AuditWriter(StateDir(tmp_path))
    writer.add({"operation": "compact", "status": status})
    writer.close()
    assert json.loads((tmp_path / FILE).read_text(encoding="utf-8"))["outcome"] == outcome


def reason(asked: Asked, audit: str) -> str | None:
    """The reason that health gives, once it says ``audit``; lines are written a little later than the answers."""
    give_up = time.monotonic() + 20
    while (health := asked.get("/health/ready").json())["audit"] != audit and time.monotonic() < give_up:
        time.sleep(0.02)
    assert health["audit"] == audit
    return health["audit_failure"]


def test_health_says_that_writes_leave_no_line_and_the_writes_stand(home: StateDir) -> None:
    root, release = str(home.root), open_release(home).release
    shards = [ShardServer(root, release.name, number) for number in range(SHARDS)]
    coordinator = Coordinator(release, LimitsConfig(), LocalEncoder(root, release.name), shards)
    asked = Asked(
        make_app(coordinator, index_writes=IndexWriteService(home, coordinator, LocalWriter(root, "http://test")))
    )

    def put(id_: str) -> int:
        body = {"documents": [{"id": id_, "text": "sort the values of an array"}]}
        return asyncio.run(asked.send("PUT", "/v1/documents?wait=true", json=body)).status_code

    assert put("one") == 200
    assert reason(asked, "written") is None
    (home.root / FILE).rename(home.root / "kept")
    (home.root / FILE).mkdir()
    assert put("two") == 200
    assert "IsADirectoryError" in str(reason(asked, "failing"))
    assert asked.get("/health/ready").status_code == 200
    (home.root / FILE).rmdir()
    (home.root / "kept").rename(home.root / FILE)
    assert put("three") == 200
    assert reason(asked, "written") is None
    assert len((home.root / FILE).read_text(encoding="utf-8").splitlines()) == 2
