"""Waiting for nodes, without a cluster: what is missing is a function, and the autoscaler a list."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from texthash import __version__, nodes
from texthash.config import load_config
from texthash.errors import TexthashError, UsageError
from texthash.nodes import wait_for

MISSING = TexthashError("training.workers=4 needs 4 CPUs, the cluster has 2.", "lower training.workers.")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    found: list[Any] = []
    monkeypatch.setattr(nodes, "_ask_autoscaler", lambda bundles: found.append(list(bundles)))
    monkeypatch.setattr(nodes, "_LOOK_EVERY_S", 0.02)
    return found


def test_room_that_is_there_is_not_waited_for(asked: list[Any]) -> None:
    wait_for(lambda: None, 100.0, [{"CPU": 1.0}])
    assert asked == []


def test_without_a_wait_the_error_names_the_key(asked: list[Any]) -> None:
    with pytest.raises(TexthashError, match="needs 4 CPUs") as raised:
        wait_for(lambda: MISSING, 0.0)
    assert raised.value.problem == MISSING.problem
    assert "cluster.wait_s" in raised.value.remedy
    assert asked == []


def test_nodes_that_come_end_the_wait(asked: list[Any], caplog: pytest.LogCaptureFixture) -> None:
    answers: Iterator[TexthashError | None] = iter([MISSING, MISSING, MISSING, None])
    wait_for(lambda: next(answers), 60.0, [{"CPU": 1.0, "GPU": 0.0}] * 4)
    assert asked == [[{"CPU": 1.0, "GPU": 0.0}] * 4, []]
    lines = re.findall(r"waiting for nodes, for \d+ s at most: (.*)", caplog.text)
    assert lines == [MISSING.problem]


def test_the_wait_ends_with_what_is_missing(asked: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "_LINE_EVERY_S", 0.1)
    with pytest.raises(TexthashError, match=r"the cluster has 2\. It was waited for \d s\."):
        wait_for(lambda: MISSING, 0.3, [{"CPU": 1.0}])
    assert asked[-1] == []


def test_an_accelerator_needs_gpus() -> None:
    assert load_config(None, ["cluster.accelerator_type=H100", "training.use_gpu=true"]).cluster.accelerator_type
    with pytest.raises(UsageError, match=r"accelerator_type=H100 needs training\.use_gpu=true"):
        load_config(None, ["cluster.accelerator_type=H100"])


def test_the_bounds_of_a_scaled_deployment_are_in_order() -> None:
    found = load_config(None, ["service.ingress_autoscaling.max_replicas=4"]).service
    assert found.ingress_autoscaling is not None
    assert (found.ingress_autoscaling.min_replicas, found.most_ingresses) == (1, 4)
    with pytest.raises(UsageError, match="max_replicas=1 is below min_replicas=2"):
        load_config(None, ["service.ingress_autoscaling.min_replicas=2"])


@pytest.fixture
def two_nodes(ray_cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The only node of a cluster, twice."""
    (node,) = nodes._living()
    monkeypatch.setattr(nodes, "_living", lambda: [node, {**node, "NodeManagerHostname": "second"}])


@pytest.mark.ray
@pytest.mark.usefixtures("two_nodes")
def test_nodes_with_another_version_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes.check_shared(tmp_path)
    monkeypatch.setattr(nodes, "__version__", "9.9")
    with pytest.raises(TexthashError, match=rf"of texthash 9\.9, but second has {re.escape(__version__)}, "):
        nodes.check_shared(tmp_path)


@pytest.mark.ray
@pytest.mark.usefixtures("two_nodes")
def test_sqlite_that_not_all_nodes_see_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes.check_tracking(f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setattr(nodes, "_access_problem", _sees_nothing)
    with pytest.raises(TexthashError, match=r"(?s)is not accessible from 2 of 2 nodes.*start an MLflow server"):
        nodes.check_tracking(f"sqlite:///{tmp_path}/mlflow.db")
    nodes.check_tracking("http://127.0.0.1:5000")


def _sees_nothing(name: str) -> str:
    return "it does not exist there"
