"""kill -9 of Ray's own processes under `serve deploy` on several nodes: what clients see, and what brings it back."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import yaml

from tests.deploy.nodes import HEAD, HOST, QUERIES, ROOT, Asking, Cluster, cluster_of, until
from texthash.cluster import free_port
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.index.releases.publish import publish
from texthash.index.writing.build import build_index
from texthash.paths import resolve_home
from texthash.service.haproxy import FAST

NODES = (1, 2)
pytestmark = [pytest.mark.usefixtures("reader"), pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(1500)]


@contextmanager
def fast(folder: Path, **variables: str) -> Iterator[Cluster]:
    """Nodes whose service uses HAProxy, by the launcher that `docs/operations.md` names."""
    launcher = subprocess.run(
        [sys.executable, "-m", "texthash.service.haproxy"],
        env={**os.environ, "TEXTHASH_CACHE": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    variables |= FAST | {"RAY_SERVE_HAPROXY_BINARY_PATH": launcher, "RAY_SERVE_HAPROXY_TIMEOUT_SERVER_S": "40"}
    with cluster_of(len(NODES), folder, **variables) as cluster:
        yield cluster


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[str]:
    """Address of a Redis that every node reaches."""
    if not shutil.which("redis-server"):
        pytest.skip("redis-server is not installed")
    refused = subprocess.run(["bash", str(ROOT / "deploy" / "nodes.sh"), "check"], capture_output=True, check=False)
    if refused.returncode:
        pytest.skip(f"nodes cannot be started here: {refused.stdout.decode().strip()}")
    port = free_port()
    words = ["--port", str(port), "--bind", "0.0.0.0", "--protected-mode", "no", "--save", "", "--dir", str(tmp_path)]
    server = subprocess.Popen(["redis-server", *words], stdout=subprocess.DEVNULL)
    yield f"{HOST}:{port}"
    server.kill()
    server.wait()


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


def serve(cluster: Cluster, corpus: PreparedCorpus, hasher: Path, file: Path) -> None:
    """Publish a release, and deploy it with an ingress on each node."""
    home = resolve_home(cluster.home)
    publish(home, hasher, build_index(hasher, corpus.path, home, shards=2))
    settings = yaml.safe_load((ROOT / "deploy" / "serve.yaml").read_text())
    settings["proxy_location"] = "EveryNode"
    settings["http_options"]["host"] = "0.0.0.0"
    service = settings["applications"][0]["args"]["service"]
    service |= {"host": "0.0.0.0", "ingress_replicas": len(NODES), "max_replicas_per_node": 1}
    file.write_text(yaml.safe_dump(settings))
    deployed(cluster, file)


def test_every_node_answers_and_the_loss_of_ray_on_one_costs_no_other(
    small_corpus: PreparedCorpus, small_hasher: Path, tmp_path: Path
) -> None:
    file = tmp_path / "serve.yaml"
    with fast(tmp_path) as cluster:
        serve(cluster, small_corpus, small_hasher, file)
        with Clients() as clients:
            assert all(set(answers) == {"200"} for answers in clients.within(5).values())

            killed(cluster, 2, "raylet")
            answers = clients.within(20)
            assert sum(answer != "200" for answer in answers[1]) <= 1, answers[1]
            cluster.run(2, "ray", "stop", "--force")
            cluster.join(2)
            until(lambda: searched(2) == "200", 180, "the node does not come back")
            assert set(clients.within(5)[1]) == {"200"}

            killed(cluster, 1, "gcs_server")
            answers = clients.within(20)
            assert all(set(own) == {"200"} for own in answers.values()), "searches need no head"
            # Without Redis the others end a minute later; the cluster is started and deployed again.
            for node in NODES:
                cluster.run(node, "ray", "stop", "--force")
            until(lambda: searched(1) != "200" and searched(2) != "200", 60, "a HAProxy is left")
            cluster.start_ray(len(NODES))
            deployed(cluster, file)
            assert all(set(own) == {"200"} for own in clients.within(5).values())


def test_with_redis_the_service_goes_on_without_its_head_and_writes_when_it_is_back(
    small_corpus: PreparedCorpus, small_hasher: Path, tmp_path: Path, redis: str
) -> None:
    written = {"documents": [{"id": "late", "text": "sort the values of an array"}]}
    with fast(tmp_path, RAY_REDIS_ADDRESS=redis) as cluster:
        serve(cluster, small_corpus, small_hasher, tmp_path / "serve.yaml")
        with Clients() as clients:
            killed(cluster, 1, "gcs_server")
            answers = clients.within(20)
            assert all(set(own) == {"200"} for own in answers.values()), answers
            cluster.run(1, "ray", "stop", "--force")
            assert set(clients.within(10)[2][1:]) == {"200"}, "the other node needs no head"
            cluster.start_head()
            until(lambda: searched(1) == "200", 180, f"the head does not answer: {searched(1)}")
            # The first answers may be those of the other node's ingress, while the head's own starts.
            until(lambda: set(clients.within(5)[1]) == {"200"}, 60, "the head answers now and then")
            assert set(clients.within(5)[2]) == {"200"}
        # Nothing was deployed again: the head found the application in Redis.
        put = httpx.put(f"http://{HEAD}:8000/v1/documents?wait=true", json=written, timeout=60)
        assert put.status_code == 200, put.text
        for node in NODES:
            address = f"http://10.77.0.{10 + node}:8000/v1/documents/late"
            until(
                lambda address=address: httpx.get(address, timeout=40).status_code == 200, 30, "the write is not there"
            )
