"""Encode, Search, Facets and Scroll over gRPC, answered within the process by the HTTP routes of the same names.

Key, limits, admission, deadline, validation, log and metrics are therefore those of HTTP. The messages come from
``search.binpb``, the compiled ``search.proto``: every node needs them to start Serve's proxy, no compiler is installed
there, and generated Python code would be bound to one major version of protobuf. To compile it:

    python -m grpc_tools.protoc -I. --descriptor_set_out=search.binpb search.proto
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import grpc
import httpx
from fastapi import FastAPI
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    json_format,
    struct_pb2,  # noqa: F401  (registers what search.proto imports)
)
from google.protobuf.internal import builder

from texthash.service.middleware.origin import GRPC

SERVICER = "texthash.service.rpc.add_texthash_to_server"
PROBLEM = "texthash-problem"
COMPILED = "search.binpb"
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
    """Register the service with a gRPC server; Serve's options name this function."""
    handlers = {
        method: grpc.unary_unary_rpc_method_handler(
            getattr(servicer, method),
            request_deserializer=message(asked).FromString,
            response_serializer=message(answered).SerializeToString,
        )
        for method, (_, asked, answered) in METHODS.items()
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
    """

    def __init__(self, app: FastAPI) -> None:
        transport = httpx.ASGITransport(_Marked(app), raise_app_exceptions=False)
        self._http = httpx.AsyncClient(transport=transport, base_url="http://grpc", timeout=None)

    async def answer(self, method: str, request: Any, context: Any) -> Any:
        """Return the reply to a message; for a problem an empty reply, with a status set on the context.

        Args:
            method: Key of :data:`METHODS`.
            request: Message of the request.
            context: Context of the call, as :class:`grpc.ServicerContext`.
        """
        path, _, answered = METHODS[method]
        given = dict(context.invocation_metadata())
        headers = {name: given[name] for name in _PASSED_ON if name in given}
        body = json_format.MessageToDict(request, preserving_proto_field_name=True)
        reply = await self._http.post(path, json=body, headers=headers)
        response = message(answered)()
        if reply.status_code == 200:
            return json_format.Parse(reply.content, response, ignore_unknown_fields=True)
        problem = reply.json()
        context.set_code(_CODES.get(reply.status_code, grpc.StatusCode.INVALID_ARGUMENT))
        context.set_details(problem["detail"])
        trailing = [(PROBLEM, problem["type"].rpartition("/")[2]), ("x-request-id", problem["request_id"])]
        if "retry-after" in reply.headers:
            trailing.append(("retry-after", reply.headers["retry-after"]))
        context.set_trailing_metadata(trailing)
        return response
