"""Encode, Search, Facets and Scroll over gRPC, answered within the process by the HTTP routes of the same names.

Key, limits, admission, deadline, validation, log and metrics are therefore those of HTTP. As the body of a request, a
message is only read when its call has been admitted. The messages come from ``search.binpb``, the compiled
``search.proto``: every node needs them to start Serve's proxy, no compiler is installed there, and generated code would
be bound to one major version of protobuf. To compile it:

    python -m grpc_tools.protoc -I. --descriptor_set_out=search.binpb search.proto
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from importlib.resources import files
from typing import Any, TypeVar
from urllib.parse import quote

import grpc
import httpx
from fastapi import FastAPI
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    json_format,
    struct_pb2,  # also registers what search.proto imports
)
from google.protobuf.internal import builder
from google.protobuf.message import DecodeError, Message

from texthash.errors import shortened
from texthash.service.middleware.origin import GRPC
from texthash.service.problems import Problem

SERVICER = "texthash.service.rpc.add_texthash_to_server"
PROBLEM = "texthash-problem"
COMPILED = "search.binpb"
_VALUE = struct_pb2.Value.DESCRIPTOR.full_name
T = TypeVar("T")
_SERVICE = "texthash.v1.Texthash"
_CODES = {
    401: grpc.StatusCode.UNAUTHENTICATED,
    404: grpc.StatusCode.NOT_FOUND,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    409: grpc.StatusCode.FAILED_PRECONDITION,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
    507: grpc.StatusCode.RESOURCE_EXHAUSTED,
}
_PASSED_ON = ("authorization", "x-request-id", "traceparent", "tracestate")
# Most values (as the numbers of vectors) and other messages within a message: each takes some microseconds.
_MOST_VALUES, _MOST_PARTS = 200_000, 20_000
# Bytes of a status message, percent-encoded as it is sent. Clients refuse calls with more than 8 KiB of metadata.
_LONGEST_DETAILS = 6_000
# Bytes from which conversion blocks the event loop for long: two are a message within a message.
_LARGE = 2**13

_file = descriptor_pb2.FileDescriptorSet.FromString((files(__package__) / COMPILED).read_bytes()).file[0]
_messages: dict[str, Any] = {}
# As in generated code, the classes belong to this module, by whose name they are pickled.
builder.BuildTopDescriptorsAndMessages(
    descriptor_pool.Default().AddSerializedFile(_file.SerializeToString()), __name__, _messages
)
globals().update(_messages)
METHODS = {
    "Encode": ("/v1/encode", "EncodeRequest", "EncodeReply"),
    "Search": ("/v1/search", "SearchRequest", "SearchReply"),
    "Facets": ("/v1/facets", "FacetsRequest", "FacetsReply"),
    "Scroll": ("/v1/documents/scroll", "ScrollRequest", "ScrollReply"),
}


def message(name: str) -> Any:
    """Return the class of a message of ``search.proto``."""
    return _messages[name]


def add_texthash_to_server(servicer: Any, server: Any) -> None:
    """Register the service with a gRPC server; Serve's options name this function.

    Handlers get the bytes of a message: what reads them answers for their limits and errors.
    """
    handlers = {
        method: grpc.unary_unary_rpc_method_handler(
            getattr(servicer, method), response_serializer=message(answered).SerializeToString
        )
        for method, (_, _, answered) in METHODS.items()
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, handlers),))


class _Marked:
    """Application whose requests are marked as gRPC calls, which no page of a browser can make."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        scope["extensions"] = {**scope.get("extensions", {}), GRPC: {}}
        await self._app(scope, receive, send)


class Calls:
    """Answers gRPC calls by the routes of an application.

    Args:
        app: Application of :func:`texthash.service.http_app.make_app`.
        most: Maximum number of bytes of a message.
    """

    def __init__(self, app: FastAPI, most: int) -> None:
        transport = httpx.ASGITransport(_Marked(app), raise_app_exceptions=False)
        self._http = httpx.AsyncClient(transport=transport, base_url="http://grpc", timeout=None)
        self._most = most

    async def answer(self, method: str, request: bytes, context: Any) -> Any:
        """Return the reply to a message; for a problem an empty reply, with a status set on the context.

        Args:
            method: Key of :data:`METHODS`.
            request: Serialized message of the request.
            context: Context of the call, as :class:`grpc.ServicerContext`.
        """
        path, asked, answered = METHODS[method]
        given = {name: value for name, value in context.invocation_metadata() if isinstance(value, str)}
        headers = {name: given[name] for name in _PASSED_ON if name in given}
        headers["content-type"] = "application/json"
        reply = await self._http.post(path, content=self._body(asked, request), headers=headers)
        response = message(answered)()
        if reply.status_code == 200:
            return await _in_time(len(reply.content), json_format.Parse, reply.content, response, True)
        problem = reply.json()
        context.set_code(_CODES.get(reply.status_code, grpc.StatusCode.INVALID_ARGUMENT))
        context.set_details(_details(problem["detail"]))
        trailing = [(PROBLEM, problem["type"].rpartition("/")[2]), ("x-request-id", problem["request_id"])]
        if "retry-after" in reply.headers:
            trailing.append(("retry-after", reply.headers["retry-after"]))
        context.set_trailing_metadata(trailing)
        return response

    async def _body(self, name: str, request: bytes) -> AsyncIterator[bytes]:
        """Give the JSON of a message when it is read, so that the application answers for what is wrong with it."""
        if len(request) > self._most:
            raise Problem("body-too-large", f"the message has {len(request)} bytes, this server takes {self._most}.")
        yield await _in_time(len(request), _as_json, name, request)


def _details(detail: str) -> str:
    """Return the detail of a problem as the message of a status, in which a character may take twelve bytes."""
    return detail if len(quote(detail)) <= _LONGEST_DETAILS else shortened(detail, _LONGEST_DETAILS // 12)


async def _in_time(size: int, convert: Callable[..., T], *arguments: Any) -> T:
    """Convert something of so many bytes, in a thread if it is large."""
    return convert(*arguments) if size <= _LARGE else await asyncio.to_thread(convert, *arguments)


def _as_json(name: str, request: bytes) -> bytes:
    """Return the JSON of a serialized message.

    Raises:
        Problem: The bytes are no such message, it has fields that this version does not know, which would be ignored
            silently, it has too many parts, or one of its numbers is not finite.
    """
    try:
        read = message(name).FromString(request)
    except DecodeError as error:
        raise Problem("malformed-message", f"the bytes cannot be read as {name}: {error}.") from None
    size = read.ByteSize()
    _check_parts(read)
    read.DiscardUnknownFields()
    if read.ByteSize() != size:
        raise Problem(
            "invalid-field", f"{name} has fields that this server does not know; it would have to ignore them."
        )
    try:
        return json.dumps(json_format.MessageToDict(read, preserving_proto_field_name=True), allow_nan=False).encode()
    except (ValueError, RecursionError, json_format.Error) as error:
        raise Problem("invalid-field", f"a value of {name} cannot be read: {error}.") from None


def _check_parts(read: Message) -> None:
    """Raise :class:`Problem` if a message has too many messages within it."""
    waiting, values, parts = [read], 0, 0
    while waiting:
        for field, value in waiting.pop().ListFields():
            if field.message_type is None:
                continue
            within = [value] if isinstance(value, Message) else value.values() if isinstance(value, Mapping) else value
            if field.message_type.full_name == _VALUE:
                values += len(within)
            else:
                parts += len(within)
            if values > _MOST_VALUES or parts > _MOST_PARTS:
                raise Problem(
                    "batch-too-large",
                    f"the message has more than {_MOST_VALUES} values or {_MOST_PARTS} other messages within it.",
                )
            waiting += within
