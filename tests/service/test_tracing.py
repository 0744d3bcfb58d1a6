"""Spans of requests, as an exporter in memory gets them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import format_span_id, format_trace_id

from tests.service.conftest import Asked
from tests.service.test_rpc import call
from texthash.config import LimitsConfig, ServiceConfig
from texthash.service import tracing
from texthash.service.batching import RequestBatcher
from texthash.service.coordinator import Coordinator
from texthash.service.http_app import make_app
from texthash.service.memory_budget import MemoryBudget
from texthash.service.remote import RemoteShard
from texthash.service.replicas.shard import ShardServer

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}


@pytest.fixture
def exported() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    tracing.start(exporter)
    yield exporter
    tracing.stop()


@pytest.fixture
def served(coordinator: Callable[[LimitsConfig], Coordinator]) -> Coordinator:
    return coordinator(LimitsConfig())


def batched(served: Coordinator) -> Asked:
    """The application with the batcher of the service."""
    return Asked(make_app(served, RequestBatcher(served, MemoryBudget(10**9)).answer))


def by_name(exporter: InMemorySpanExporter) -> dict[str, list[ReadableSpan]]:
    found: dict[str, list[ReadableSpan]] = {}
    for span in exporter.get_finished_spans():
        found.setdefault(span.name, []).append(span)
    return found


def parent_of(span: ReadableSpan) -> str | None:
    return None if span.parent is None else format_span_id(span.parent.span_id)


def id_of(span: ReadableSpan) -> str:
    return format_span_id(span.context.span_id)


def test_a_search_is_one_trace_from_the_caller_to_the_shards(served, exported) -> None:
    headers = {**CALLER, "x-request-id": "own-1"}
    reply = batched(served).post(
        "/v1/search", {"queries": [{"text": "plot a figure"}], "fields": ["title"]}, headers=headers
    )
    assert reply.status_code == 200
    spans = by_name(exported)
    assert {format_trace_id(span.context.trace_id) for own in spans.values() for span in own} == {TRACE}
    (request,), (queue,), (run,) = spans["POST /v1/search"], spans["texthash.queue"], spans["texthash.pass"]
    assert parent_of(request) == "00f067aa0ba902b7"
    assert request.attributes["http.route"] == "/v1/search"
    assert request.attributes["http.response.status_code"] == 200
    assert request.attributes["texthash.request_id"] == "own-1"
    assert parent_of(queue) == parent_of(run) == id_of(request)
    assert queue.attributes["texthash.pass"] == id_of(run)
    assert request.start_time <= queue.start_time <= queue.end_time <= run.end_time <= request.end_time
    (encode,), (search,), (documents,) = (spans[f"texthash.{name}"] for name in ("encode", "search", "documents"))
    assert parent_of(encode) == parent_of(search) == parent_of(documents) == id_of(run)
    shards = spans["texthash.shard.search"]
    assert sorted(span.attributes["texthash.shard"] for span in shards) == [0, 1]
    assert {parent_of(span) for span in shards} == {id_of(search)}
    assert {parent_of(span) for span in spans["texthash.shard.documents"]} == {id_of(documents)}
    told = str([span.to_json() for own in spans.values() for span in own])
    assert "plot a figure" not in told


def test_requests_of_one_pass_are_linked_to_it(served, exported) -> None:
    asked = batched(served)

    async def two() -> list[httpx.Response]:
        body = {"queries": [{"text": "plot a figure"}]}
        return await asyncio.gather(*(asked.send("POST", "/v1/search", json=body) for _ in range(2)))

    assert {reply.status_code for reply in asyncio.run(two())} == {200}
    spans = by_name(exported)
    (run,) = spans["texthash.pass"]
    assert run.attributes["texthash.requests"] == 2
    first, second = sorted(spans["texthash.queue"], key=lambda span: span.context.trace_id != run.context.trace_id)
    assert parent_of(run) == parent_of(first)
    assert [link.context.span_id for link in run.links] == [second.context.span_id]
    assert second.context.trace_id != run.context.trace_id
    assert second.attributes["texthash.pass"] == id_of(run)


def test_a_trace_goes_on_over_grpc(served, exported) -> None:
    call(served, "Search", tuple(CALLER.items()), queries=[{"text": "plot a figure"}])
    (request,) = by_name(exported)["POST /v1/search"]
    assert format_trace_id(request.context.trace_id) == TRACE


def test_a_remote_shard_continues_the_trace(shards: list[ShardServer], opened, exported) -> None:
    class Replica(tracing.Traced, ShardServer):
        def __init__(self, shard: ShardServer) -> None:
            vars(self).update(vars(shard))

    class Handle:
        """A handle of Serve, whose replica is in another process: it has nothing but the arguments."""

        def options(self, method_name: str, **_: object) -> Handle:
            self._name = method_name
            return self

        async def remote(self, *arguments: object) -> object:
            import contextvars

            own = getattr(Replica(shards[0]), self._name)(*arguments)
            return await asyncio.get_running_loop().create_task(own, context=contextvars.Context())

    with tracing.continued(CALLER, "test"):
        asyncio.run(RemoteShard(Handle(), 0).ping(opened.release.name))
    spans = by_name(exported)
    (replica,), (caller,) = spans["texthash.replica.ping"], spans["test"]
    assert parent_of(replica) == id_of(caller)
    assert format_trace_id(replica.context.trace_id) == TRACE


def test_without_tracing_there_are_no_spans_and_no_middleware(served) -> None:
    assert not tracing.is_on()
    assert tracing.span("search") is tracing.span("encode")
    assert tracing.queued() is None
    names = {middleware.cls.__name__ for middleware in make_app(served).user_middleware}
    assert "Trace" not in names
    assert "RequestLog" in names
    tracing.start()  # the environment does not say so
    assert not tracing.is_on()


def test_the_environment_turns_it_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(tracing.VARIABLE, "true")
    assert ServiceConfig().tracing
