"""Spans of requests by OpenTelemetry, from the request over its pass to shards and documents.

Off unless ``service.tracing`` (``TEXTHASH_TRACING``) turns them on; then each replica exports its spans as the SDK's
own variables say (``OTEL_TRACES_EXPORTER``, ``OTEL_EXPORTER_OTLP_ENDPOINT``, ``OTEL_TRACES_SAMPLER``). The W3C trace
context of a request is continued over HTTP and gRPC, and given to encoder, shards and writer in other processes.

Requests that are answered together share one pass: its span belongs to the trace of the first of them, and is linked to
the others, whose ``texthash.queue`` names it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from texthash.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span, Tracer

VARIABLE = "TEXTHASH_TRACING"
_EXPORTER = "OTEL_TRACES_EXPORTER"
_SERVICE_NAME = "texthash"
_tracer: Tracer | None = None


class Queued(NamedTuple):
    """Span of a request that waits, and the context of the request."""

    span: Span
    context: Context


class _Nothing:
    """Context of a span that is not recorded."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


_NOTHING = _Nothing()


def start(exporter: SpanExporter | None = None) -> None:
    """Record spans in this process, if the environment says so or an exporter is given; once in each process.

    Raises:
        UsageError: The exporter that the environment names is unknown or not installed.
    """
    global _tracer
    if _tracer is not None or (exporter is None and os.environ.get(VARIABLE) != "1"):
        return
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor

    # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES are read by the resource, and win.
    name = os.environ.get("OTEL_SERVICE_NAME", _SERVICE_NAME)
    provider = TracerProvider(resource=Resource.create({SERVICE_NAME: name}))
    provider.add_span_processor(
        BatchSpanProcessor(_named_exporter()) if exporter is None else SimpleSpanProcessor(exporter)
    )
    _tracer = provider.get_tracer("texthash")


def stop() -> None:
    """Record no more spans."""
    global _tracer
    _tracer = None


def is_on() -> bool:
    """Return whether spans are recorded in this process."""
    return _tracer is not None


def span(name: str, **attributes: str | int) -> AbstractContextManager[Any]:
    """Return the context of a span below the current one; without tracing one that does nothing.

    Args:
        name: Name of the step, after ``texthash.``.
        attributes: Facts of the step, after ``texthash.``; never a text, an id or a key.
    """
    if _tracer is None:
        return _NOTHING
    return _tracer.start_as_current_span(f"texthash.{name}", attributes=_facts(attributes))


def carrier() -> dict[str, str]:
    """Return the headers of the current trace context, for a call to another process."""
    from opentelemetry.propagate import inject

    found: dict[str, str] = {}
    inject(found)
    return found


@contextmanager
def continued(
    headers: Mapping[str, str], name: str, *, server: bool = False, **attributes: str | int
) -> Iterator[Span]:
    """Record a span below the one that headers name; ``server``: of a request from outside."""
    from opentelemetry.propagate import extract
    from opentelemetry.trace import SpanKind

    assert _tracer is not None
    kind = SpanKind.SERVER if server else SpanKind.INTERNAL
    with _tracer.start_as_current_span(name, extract(headers), kind=kind, attributes=_facts(attributes)) as made:
        yield made


def queued() -> Queued | None:
    """Begin the span of a request that waits for its pass; None without tracing."""
    if _tracer is None:
        return None
    from opentelemetry.context import get_current

    return Queued(_tracer.start_span("texthash.queue"), get_current())


def drop(waiting: Queued | None) -> None:
    """End the span of a request whose client has gone."""
    if waiting is not None:
        waiting.span.end()


def batch(waiting: Sequence[Queued | None]) -> AbstractContextManager[Any]:
    """End the spans of requests that waited, and return the context of the span of their pass."""
    ended = [one for one in waiting if one is not None]
    if _tracer is None or not ended:
        return _NOTHING
    return _pass(_tracer, ended)


@contextmanager
def _pass(tracer: Tracer, ended: list[Queued]) -> Iterator[Span]:
    from opentelemetry.trace import Link, format_span_id

    links = [Link(one.span.get_span_context()) for one in ended[1:]]
    facts = _facts({"requests": len(ended)})
    with tracer.start_as_current_span("texthash.pass", ended[0].context, links=links, attributes=facts) as made:
        for one in ended:
            one.span.set_attribute("texthash.pass", format_span_id(made.get_span_context().span_id))
            one.span.end()
        yield made


def _facts(attributes: Mapping[str, str | int]) -> dict[str, str | int]:
    return {f"texthash.{name}": value for name, value in attributes.items()}


def _named_exporter() -> SpanExporter:
    name = os.environ.get(_EXPORTER, "otlp")
    if name == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter()
    if name != "otlp":
        raise UsageError(f"{_EXPORTER}={name} is no exporter of spans here.", "set it to otlp or console.")
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError as error:
        raise UsageError(
            f"service.tracing exports by OTLP, which is not installed: {error}.",
            f'pip install "texthash[tracing]" on each node, or set {_EXPORTER}=console.',
        ) from error
    return OTLPSpanExporter()


class Traced:
    """Server whose methods continue the trace of a caller in another process."""

    async def traced(self, headers: Mapping[str, str], method: str, *args: Any) -> Any:
        """Call a method in the trace context of headers."""
        with continued(headers, f"texthash.replica.{method}") if is_on() else _NOTHING:
            return await getattr(self, method)(*args)
