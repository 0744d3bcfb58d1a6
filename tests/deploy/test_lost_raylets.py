"""kill -9 of Ray's own processes under `serve deploy` on several nodes: what clients see, and what brings it back."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from tests.deploy.nodes import QUERIES, ROOT, Asking, Cluster, cluster_of, until
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.index.releases.publish import publish
from texthash.index.writing.build import build_index
from texthash.paths import resolve_home
from texthash.service.haproxy import FAST

NODES = (1, 2)
pytestmark = [pytest.mark.usefixtures("reader"), pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def fast(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two nodes whose service uses HAProxy, by the launcher that `docs/operations.md` names."""
    cache = tmp_path_factory.mktemp("launcher")
    launcher = subprocess.run(
        [sys.executable, "-m", "texthash.service.haproxy"],
        env={**os.environ, "TEXTHASH_CACHE": str(cache)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    variables = FAST | {"RAY_SERVE_HAPROXY_BINARY_PATH": launcher, "RAY_SERVE_HAPROXY_TIMEOUT_SERVER_S": "40"}
    with cluster_of(len(NODES), tmp_path_factory.mktemp("nodes"), **variables) as cluster:
        yield cluster


class Clients(Asking):
    """A client of each node, with the number of its answers and its failures since the last look."""

    def __init__(self) -> None:
        super().__init__(self._search, NODES, lambda _: 0.1)
        self._lock = threading.Lock()
        self._seen: dict[int, list[str]] = defaultdict(list)

    def within(self, seconds: float) -> dict[int, list[str]]:
        """Return what each node answered in the next seconds."""
        with self._lock:
            self._seen.clear()
        time.sleep(seconds)
        with self._lock:
            return {node: list(self._seen[node]) for node in NODES}

    def _search(self, node: int) -> None:
        answer = searched(node)
        with self._lock:
            self._seen[node].append(answer)


def searched(node: int) -> str:
    body = {"queries": [{"text": QUERIES[0]}], "mode": "semantic"}
    try:
        return str(httpx.post(f"http://10.77.0.{10 + node}:8000/v1/search", json=body, timeout=40).status_code)
    except httpx.HTTPError as error:
        return repr(error)


def killed(cluster: Cluster, node: int, name: str) -> None:
    pid = cluster.run(node, "pgrep", "-x", name).split()[-1]
    cluster.run(node, "kill", "-9", pid)


def deployed(cluster: Cluster, file: Path) -> None:
    cluster.run(1, "serve", "deploy", str(file))
    for node in NODES:
        until(lambda node=node: searched(node) == "200", 180, f"node {node} does not answer: {searched(node)}")


def test_every_node_answers_and_the_loss_of_ray_on_one_costs_no_other(
    fast: Cluster, small_corpus: PreparedCorpus, small_hasher: Path, tmp_path: Path
) -> None:
    home = resolve_home(fast.home)
    publish(home, small_hasher, build_index(small_hasher, small_corpus.path, home, shards=2))
    settings = yaml.safe_load((ROOT / "deploy" / "serve.yaml").read_text())
    settings["proxy_location"] = "EveryNode"
    settings["http_options"]["host"] = "0.0.0.0"
    service = settings["applications"][0]["args"]["service"]
    service |= {"host": "0.0.0.0", "ingress_replicas": len(NODES), "max_replicas_per_node": 1}
    file = tmp_path / "serve.yaml"
    file.write_text(yaml.safe_dump(settings))
    deployed(fast, file)
    with Clients() as clients:
        assert all(set(answers) == {"200"} for answers in clients.within(5).values())

        killed(fast, 2, "raylet")
        answers = clients.within(20)
        assert sum(answer != "200" for answer in answers[1]) <= 1, answers[1]
        fast.run(2, "ray", "stop", "--force")
        fast.join(2)
        until(lambda: searched(2) == "200", 180, "the node does not come back")
        assert set(clients.within(5)[1]) == {"200"}

        killed(fast, 1, "gcs_server")
        answers = clients.within(20)
        assert all(set(own) == {"200"} for own in answers.values()), "searches need no head"
        # Without Redis the others end a minute later; the cluster is started and deployed again.
        for node in NODES:
            fast.run(node, "ray", "stop", "--force")
        until(lambda: searched(1) != "200" and searched(2) != "200", 60, "a HAProxy is left")
        fast.start_ray(len(NODES))
        deployed(fast, file)
        assert all(set(own) == {"200"} for own in clients.within(5).values())
