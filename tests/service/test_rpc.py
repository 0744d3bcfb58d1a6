"""gRPC without a cluster: the same application behind, a real gRPC server and client on a free port."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

import grpc
import pytest

from tests.service.conftest import Asked
from texthash.config import LimitsConfig
from texthash.service.coordinator import Coordinator
from texthash.service.http_app import make_app
from texthash.service.middleware.auth import KEY_VARIABLE
from texthash.service.rpc import COMPILED, METHODS, PROBLEM, Calls, add_texthash_to_server, message


class Servicer:
    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def Encode(self, request: Any, context: Any) -> Any:
        return await self._calls.answer("Encode", request, context)

    async def Search(self, request: Any, context: Any) -> Any:
        return await self._calls.answer("Search", request, context)

    async def Facets(self, request: Any, context: Any) -> Any:
        return await self._calls.answer("Facets", request, context)

    async def Scroll(self, request: Any, context: Any) -> Any:
        return await self._calls.answer("Scroll", request, context)


def call(coordinator: Coordinator, method: str, metadata: tuple[tuple[str, str], ...] = (), **members: Any) -> Any:
    """One call to a server of its own."""
    return send(coordinator, method, message(METHODS[method][1])(**members).SerializeToString(), metadata)


def send(coordinator: Coordinator, method: str, request: bytes, metadata: tuple[tuple[str, str], ...] = ()) -> Any:
    """The same of a serialized message."""

    async def run() -> Any:
        server = grpc.aio.server()
        add_texthash_to_server(Servicer(Calls(make_app(coordinator), coordinator.limits.max_body_bytes)), server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        _, _, answered = METHODS[method]
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                ask: Callable[..., Awaitable[Any]] = channel.unary_unary(
                    f"/texthash.v1.Texthash/{method}",
                    response_deserializer=message(answered).FromString,
                )
                return await ask(request, metadata=metadata)
        finally:
            await server.stop(None)

    return asyncio.run(run())


@pytest.fixture
def served(coordinator: Callable[[LimitsConfig], Coordinator]) -> Coordinator:
    return coordinator(LimitsConfig())


def test_answers_are_those_of_http(served: Coordinator, asked: Asked) -> None:
    members = {"mode": "semantic", "limit": 7, "fields": ["title", "labels"], "include_code": True}
    members["highlight"] = True
    found = call(served, "Search", queries=[{"text": "plot a figure"}], **members)
    expected = asked.search({"text": "plot a figure"}, **members).json()
    result, wanted = found.results[0], expected["results"][0]
    assert [(hit.id, hit.distance, hit.code, hit.document.title, list(hit.document.labels)) for hit in result.hits] == [
        (hit["id"], hit["distance"], hit["code"], hit["document"]["title"], hit["document"]["labels"])
        for hit in wanted["hits"]
    ]
    assert [list(hit.matches) for hit in result.hits] == [hit["matches"] for hit in wanted["hits"]]
    assert (result.code, result.candidates, found.index_version) == (
        wanted["code"],
        wanted["candidates"],
        expected["index_version"],
    )
    assert not result.HasField("total_within_radius")
    within = call(served, "Search", queries=[{"code": wanted["code"]}], radius=0).results[0]
    assert within.HasField("total_within_radius")

    members = {"inputs": ["plot a figure", "qqqq"], "role": "query", "return_logits": True}
    codes, http = call(served, "Encode", **members), asked.post("/v1/encode", members).json()
    assert (list(codes.codes), list(codes.known_words)) == (http["codes"], http["known_words"])
    assert [list(row) for row in codes.logits] == [pytest.approx(row) for row in http["logits"]]
    assert codes.model.digest == http["model"]["digest"]


def test_rescoring_gives_the_scores_of_http(served: Coordinator, asked: Asked) -> None:
    members: dict[str, Any] = {"mode": "semantic", "rescore": {"kind": "asymmetric", "oversample": 3}, "limit": 5}
    found = call(served, "Search", queries=[{"text": "plot a figure"}], **members).results[0]
    wanted = asked.search({"text": "plot a figure"}, **members).json()["results"][0]
    assert [(hit.id, hit.score) for hit in found.hits] == [(hit["id"], hit["score"]) for hit in wanted["hits"]]
    assert all(hit.HasField("score") for hit in found.hits)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        call(served, "Search", queries=[{"text": "plot a figure"}], rescore={"kind": "float"})
    assert (raised.value.code().name, dict(raised.value.trailing_metadata())[PROBLEM]) == (
        "FAILED_PRECONDITION",
        "no-vectors",
    )


@pytest.mark.parametrize(
    ("members", "code", "kind", "says"),
    [
        ({"queries": [{"text": "x"}], "limit": 5000}, "INVALID_ARGUMENT", "limit-too-large", "limit=5000"),
        ({"queries": []}, "INVALID_ARGUMENT", "invalid-field", "queries"),
        ({"queries": [{"text": "x"}], "fields": ["body"]}, "INVALID_ARGUMENT", "invalid-field", "fields"),
        ({"queries": [{"text": "x"}] * 300}, "INVALID_ARGUMENT", "batch-too-large", "300"),
        ({"queries": [{"text": "x" * 2_100_000}]}, "INVALID_ARGUMENT", "body-too-large", "2000000"),
        ({"queries": [{"id": "nobody"}]}, "NOT_FOUND", "unknown-document", "nobody"),
        ({"queries": [{"code": "00"}]}, "FAILED_PRECONDITION", "wrong-code-width", "8 bits"),
    ],
)
def test_problems_are_statuses(served: Coordinator, members: dict[str, Any], code: str, kind: str, says: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        call(served, "Search", **members)
    error = raised.value
    assert (error.code().name, dict(error.trailing_metadata())[PROBLEM]) == (code, kind)
    assert says in error.details()


def test_a_long_detail_leaves_the_status_as_it_is(served: Coordinator) -> None:
    """A client answers RESOURCE_EXHAUSTED in its place where the metadata exceed 8 KiB."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        call(served, "Search", queries=[{"id": "😀" * 1_000}])
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND
    assert len(quote(raised.value.details() or "")) < 7_000


def filtered(**condition: Any) -> bytes:
    request = message("SearchRequest")(queries=[{"text": "x"}])
    for member, value in condition.items():
        getattr(request.filter.attributes["year"], member).number_value = value
    return request.SerializeToString()  # type: ignore[no-any-return]


def nested(levels: int) -> bytes:
    request = b""
    for _ in range(levels):
        size, varint = len(request), b""
        while size > 127:
            varint, size = varint + bytes([size % 128 + 128]), size // 128
        request = b"\x2a" + varint + bytes([size]) + request
    return request


@pytest.mark.parametrize(
    ("method", "request_", "kind", "says"),
    [
        ("Search", b"\xff\xff\xff", "malformed-message", "cannot be read as SearchRequest"),
        ("Encode", b"\x0a\x02\xff\xfe", "malformed-message", "UTF-8"),
        ("Search", nested(2_000), "malformed-message", "cannot be read as SearchRequest"),
        ("Encode", b"\x0a\x01x\xfa\x07\x01a", "invalid-field", "fields that this server does not know"),
        ("Search", filtered(eq=float("nan")), "invalid-field", "NaN"),
        ("Search", filtered(gt=float("inf")), "invalid-field", "Infinity"),
        ("Search", b"\x0a\x00" * 30_000, "batch-too-large", "20000 other messages"),
        ("Encode", b"\x0a\x00" * 900_000, "body-too-large", "2000000"),
    ],
)
def test_messages_that_are_none_are_problems_too(
    served: Coordinator, method: str, request_: bytes, kind: str, says: str
) -> None:
    """Not errors of the server without words, nor fields that are ignored silently."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        send(served, method, request_)
    error = raised.value
    assert (error.code().name, dict(error.trailing_metadata())[PROBLEM]) == ("INVALID_ARGUMENT", kind)
    assert says in error.details()


def test_no_message_is_read_without_a_key(served: Coordinator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "secret")
    for request in (b"\xff", b"\x0a\x00" * 900_000, b"\x0a" * 2_100_000):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            send(served, "Encode", request)
        assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_vectors_of_a_whole_batch_are_read(served: Coordinator) -> None:
    queries: list[Any] = [{"vector": [0.5] * 700} for _ in range(256)]
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        call(served, "Search", queries=queries)
    assert dict(raised.value.trailing_metadata())[PROBLEM] == "vector-mismatch", raised.value.details()


def test_a_key_is_asked_for(served: Coordinator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "secret")
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        call(served, "Encode", inputs=["x"])
    assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert call(served, "Encode", (("authorization", "Bearer secret"),), inputs=["sort"]).codes


def test_compiled_messages_are_those_of_the_text(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools", reason="grpcio-tools compiles the .proto")
    folder = files("texthash.service")
    arguments = ["-I.", f"--descriptor_set_out={tmp_path / COMPILED}", "search.proto"]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *arguments], cwd=str(folder), check=True)
    assert (tmp_path / COMPILED).read_bytes() == (folder / COMPILED).read_bytes()


def test_a_hybrid_search_shows_both_places(served: Coordinator, asked: Asked) -> None:
    members = {"mode": "hybrid", "fusion": {"weight": 0.3, "depth": 50}, "limit": 20}
    found = call(served, "Search", queries=[{"text": "plot a figure"}], **members)
    expected = asked.search({"text": "plot a figure"}, **members).json()
    assert found.mode == expected["mode"] == "hybrid"
    for hit, wanted in zip(found.results[0].hits, expected["results"][0]["hits"], strict=True):
        assert (hit.id, hit.score) == (wanted["id"], wanted["score"])
        for side in ("semantic", "keyword"):
            assert hit.HasField(side) == (wanted[side] is not None)
            assert getattr(hit, side).rank == (wanted[side] or {"rank": 0})["rank"]
    words = call(served, "Search", queries=[{"text": "plot a figure"}], mode="keyword").results[0]
    assert words.hits
    assert not any(hit.HasField("distance") for hit in words.hits)
