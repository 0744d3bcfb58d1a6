"""Clients of a load: a connection that the server says it will close is no failure, one that it just closes is."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

PIPELINES = Path(__file__).parents[2] / "pipelines"
ANSWER = json.dumps({"release": "r000001", "results": [{"code": "ff", "hits": []}]}).encode()
Serve = Callable[[bool], int]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a server that ends each connection after its third answer, announced or not; gives its port."""
    servers = []

    def start(announced: bool) -> int:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                self.answers = itertools.count(1)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                last = next(self.answers) == 3
                self.send_response(200)
                self.send_header("Content-Length", str(len(ANSWER)))
                if last and announced:
                    self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(ANSWER)
                self.close_connection = last

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server.server_port

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("announced", [True, False])
def test_a_connection_is_made_anew_and_only_one_that_broke_failed(serve: Serve, announced: bool) -> None:
    command = [sys.executable, "-m", "benchmarks.load", "127.0.0.1", str(serve(announced)), "/v1/search", "2", "0.3"]
    body = json.dumps({"queries": [{"text": "sort"}]})
    done = subprocess.run(command, cwd=PIPELINES, input=body, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["figures"]["answers"] > 6
    assert found["figures"]["unlike"] == 0
    assert bool(found["failures"]) is not announced
