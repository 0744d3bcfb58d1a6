"""``GET /metrics``: what the agents say of the service, all of it and nothing else, and an error where none answers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import ray

from tests.service.conftest import Asked

PAGES = [
    "# HELP ray_node_cpu Load.\n# TYPE ray_node_cpu gauge\nray_node_cpu 3.0\n"
    "# HELP ray_texthash_requests_total Answered requests.\n# TYPE ray_texthash_requests_total counter\n"
    'ray_texthash_requests_total{NodeAddress="a",route="/v1/search",status="200"} 5.0\n'
    "# HELP ray_texthash_index_version Number.\n# TYPE ray_texthash_index_version gauge\n"
    'ray_texthash_index_version{NodeAddress="a"} 2.0\n'
    '# HELP ray_serve_x Of texthash.\n# TYPE ray_serve_x gauge\nray_serve_x{application="ray_texthash_"} 1.0\n',
    "# HELP ray_texthash_requests_total Answered requests.\n# TYPE ray_texthash_requests_total counter\n"
    'ray_texthash_requests_total{NodeAddress="b",route="/v1/search",status="200"} 7.0\n',
]


@pytest.fixture
def agents() -> Iterator[list[dict[str, object]]]:
    """Servers with the pages, as nodes of a cluster, and the address of a third that does not listen."""
    servers = []
    for page in PAGES:

        class Agent(BaseHTTPRequestHandler):
            body = page.encode()

            def do_GET(self) -> None:
                self.send_response(200 if self.path == "/metrics" else 404)
                self.end_headers()
                self.wfile.write(self.body)

            def log_message(self, *_: object) -> None:
                pass

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Agent))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
    silent = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    silent.server_close()
    yield [
        {"Alive": True, "NodeManagerAddress": "127.0.0.1", "MetricsExportPort": server.server_port}
        for server in (*servers, silent)
    ]
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch, agents: list[dict[str, object]]) -> list[dict[str, object]]:
    nodes = list(agents)
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    return nodes


def test_the_agents_of_all_nodes_make_one_page(asked: Asked, cluster: list[dict[str, object]]) -> None:
    del cluster[2]
    cluster.append({"Alive": False, "NodeManagerAddress": "127.0.0.1", "MetricsExportPort": 1})
    reply = asked.get("/metrics")
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert reply.text.splitlines() == [
        "# HELP ray_texthash_requests_total Answered requests.",
        "# TYPE ray_texthash_requests_total counter",
        'ray_texthash_requests_total{NodeAddress="a",route="/v1/search",status="200"} 5.0',
        'ray_texthash_requests_total{NodeAddress="b",route="/v1/search",status="200"} 7.0',
        "# HELP ray_texthash_index_version Number.",
        "# TYPE ray_texthash_index_version gauge",
        'ray_texthash_index_version{NodeAddress="a"} 2.0',
    ]


def test_an_agent_that_does_not_answer_is_named(asked: Asked, cluster: list[dict[str, object]]) -> None:
    reply = asked.get("/metrics")
    assert reply.status_code == 200
    last = reply.text.splitlines()[-1]
    assert last.startswith(f"# no answer from the metrics agent 127.0.0.1:{cluster[2]['MetricsExportPort']} ")


@pytest.mark.parametrize("port", [None, 0, -1])
def test_without_any_agent_it_is_a_problem(asked: Asked, cluster: list[dict[str, object]], port: int | None) -> None:
    del cluster[:2]
    if port is not None:  # as of a node on which metrics are not collected
        cluster[0]["MetricsExportPort"] = port
    reply = asked.get("/metrics")
    assert (reply.status_code, reply.headers["content-type"]) == (503, "application/problem+json")
    assert reply.json()["type"] == "/problems/metrics-unavailable"
    assert str(cluster[0]["MetricsExportPort"]) in reply.json()["detail"]


def test_without_ray_it_is_a_problem(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    reply = asked.get("/metrics")
    assert (reply.status_code, reply.json()["type"]) == (503, "/problems/metrics-unavailable")
    assert asked.get("/problems/metrics-unavailable").status_code == 200
