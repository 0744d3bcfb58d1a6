"""Spans of another process, as an OTLP collector gets them over HTTP."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from texthash.cluster import free_port

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra tracing is not installed")
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

PROGRAM = """
from texthash.service import tracing
tracing.start()
with tracing.continued({"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}, "POST /v1/search"):
    with tracing.span("search", queries=3):
        pass
"""


class Collector(ThreadingHTTPServer):
    """Server that keeps what is exported to it, or refuses it with a status."""

    def __init__(self, status: int = 200) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = status
        self.received: list[ExportTraceServiceRequest] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        if self.path == "/v1/traces":
            self.server.received.append(ExportTraceServiceRequest.FromString(body))
        self.send_response(self.server.status if self.path == "/v1/traces" else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def collector(request: pytest.FixtureRequest) -> Iterator[Collector]:
    server = Collector(getattr(request, "param", 200))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def traced(endpoint: str) -> subprocess.CompletedProcess[str]:
    """Run a process that records two spans and ends."""
    variables = {"TEXTHASH_TRACING": "1", "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_TIMEOUT": "2"}
    return subprocess.run(
        [sys.executable, "-c", PROGRAM], env={**os.environ, **variables}, capture_output=True, text=True, timeout=120
    )


def test_a_collector_gets_the_spans_of_a_process_that_ends(collector) -> None:
    ended = traced(collector.address)
    assert ended.returncode == 0, ended.stderr
    (resource,) = [one for each in collector.received for one in each.resource_spans]
    assert {a.key: a.value.string_value for a in resource.resource.attributes}["service.name"] == "texthash"
    spans = {span.name: span for scope in resource.scope_spans for span in scope.spans}
    assert set(spans) == {"POST /v1/search", "texthash.search"}
    assert {span.trace_id.hex() for span in spans.values()} == {"4bf92f3577b34da6a3ce929d0e0e4736"}
    assert spans["POST /v1/search"].parent_span_id.hex() == "00f067aa0ba902b7"
    assert spans["texthash.search"].parent_span_id == spans["POST /v1/search"].span_id
    assert [(a.key, a.value.int_value) for a in spans["texthash.search"].attributes] == [("texthash.queries", 3)]


@pytest.mark.parametrize("collector", [400], indirect=True)
def test_a_collector_that_refuses_them_stops_nothing(collector) -> None:
    ended = traced(collector.address)
    assert ended.returncode == 0, ended.stderr
    assert len(collector.received) == 1
    assert "Traceback" not in ended.stderr


def test_an_absent_collector_stops_nothing() -> None:
    began = time.monotonic()
    ended = traced(f"http://127.0.0.1:{free_port()}")
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    assert time.monotonic() - began < 60
