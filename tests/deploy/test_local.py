"""The quickstart on one machine, as far as it needs no cluster."""

from __future__ import annotations

import sys

import pytest

from tests.deploy.conftest import ROOT


@pytest.fixture
def local(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(ROOT / "deploy"))
    monkeypatch.delitem(sys.modules, "local", raising=False)
    import local

    return local


def test_actors_of_the_cluster_know_its_dashboard_and_no_other_cluster(local, monkeypatch, tmp_path):
    for variable in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.setenv(variable, "http://127.0.0.1:1")
    one = local.Local(tmp_path, 8000, 5000, "python")
    assert not {"RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"} & one.environment().keys()
    cluster = one._cluster_environment("http://127.0.0.1:2")
    assert cluster["RAY_API_SERVER_ADDRESS"] == "http://127.0.0.1:2"
    assert "RAY_ADDRESS" not in cluster


@pytest.mark.parametrize(
    "line",
    [
        "2026-11-29 09:02:46,278\tINFO cli.py:42 -- \x1b[37mJob submission server address\x1b[39m: http://127.0.0.1:1",
        "2026-11-29 09:02:46,279\tWARNING working_dir.py:101 -- Directory '.git' is now ignored by default",
        "2026-11-29 09:02:47,320\tINFO packaging.py:385 -- Ignoring upload to cluster for these files: ['.gitignore']",
        "2026-11-29 09:02:55,966\tSUCC cli.py:67 -- \x1b[32mJob 'raysubmit_vFLAmkBngcYR2rb1' submitted successfully",
        "2026-11-29 09:02:55,447\tINFO job_manager.py:581 -- Runtime env is setting up.",
        "2026-11-29 12:45:03,770\tINFO sdk.py:520 -- WebSocket closed for job raysubmit_gu4iVBTi with close code 1000",
        "[2026-11-29 12:41:07,710 E 3186 3196] core_worker.cc:2465: Actor with class name: 'PreemptionWatcher' and",
    ],
)
def test_messages_about_the_submission_are_not_shown(local, line):
    assert local.SUBMISSION.match(line)


@pytest.mark.parametrize(
    "line",
    [
        "== prepare",
        "prepared pydoc/random60: train 2,400, validation 800, test 800; 2,000 words",
        "2026-11-29 09:02:55,966\tERR cli.py:67 -- Job 'raysubmit_vFLAmkBngcYR2rb1' failed",
        "2026-11-29 09:02:46,279\tWARNING worker.py:101 -- the object store is full",
        "[2026-11-29 12:41:07,710 E 31869 31960] core_worker.cc:2465: The node with node id is dead",
        "error: port 8000 is taken by another program",
    ],
)
def test_progress_and_errors_are_shown(local, line):
    assert not local.SUBMISSION.match(line)


@pytest.mark.parametrize(
    ("weight", "says"),
    [(0.0, "by words alone"), (1.0, "by meaning alone"), (0.3, "30% by meaning, 70% by words")],
)
def test_the_order_of_the_hits_is_said(local, weight, says):
    assert local.order(weight).startswith(says)
