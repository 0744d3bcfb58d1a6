"""Wrong input over gRPC: the problem that HTTP answers to the same members, and never an error of the server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf import json_format

from tests.service.conftest import Asked
from tests.service.test_rpc import Servicer
from texthash.config import LimitsConfig
from texthash.service.coordinator import Coordinator
from texthash.service.http_app import make_app
from texthash.service.rpc import METHODS, PROBLEM, Calls, add_texthash_to_server, message

_Q = [{"text": "plot a figure"}]
_LARGE, _SMALL = 2**31 - 1, -(2**31)
_FILTERS: list[dict[str, Any]] = [
    {},
    {"labels": ["x"] * 5000},
    {"ids": ["nobody", ""]},
    {"attributes": {"year": {"eq": 1}}},
    {"attributes": {"year": {}}},
    {"attributes": {"": {"eq": 1}}},
    {"attributes": {"year": {"eq": [1]}}},
    {"attributes": {"year": {"eq": {"date": "never"}}}},
    {"attributes": {"year": {"eq": 1, "gt": 2}}},
    {"attributes": {"labels": {"eq": "x"}}},
    {"not": {}},
    {"any": [{}]},
]
SEARCHES: list[dict[str, Any]] = [
    *({"limit": value} for value in (-1, 0, 1001, _LARGE, _SMALL)),
    *({"offset": value} for value in (-1, 10**6, _LARGE)),
    *({"radius": value, "mode": "semantic"} for value in (-1, 33, _LARGE)),
    *({"mode": value} for value in ("", "x", "HYBRID", "semantic\0")),
    *({"fields": [value]} for value in ("nope", "", "vector")),
    *({"queries": [{"id": value}]} for value in ("", "a\nb", "\0", "../x", "é", "x" * 70_000, "%2e", " ")),
    *({"queries": [{"code": value}]} for value in ("", "0", "zz", "0" * 10, "0x000000", "é" * 8, "00000000\n")),
    *({"queries": [{"vector": value}]} for value in ([], [1.0], ["a"], [None], [True], [[1.0]], [0.0] * 32)),
    {"queries": [{"text": "x" * 100_000}]},
    {"queries": [{}]},
    {"queries": []},
    *({"rescore": {"kind": value}} for value in ("", "X", "float")),
    *({"rescore": {"kind": "asymmetric", "oversample": value}} for value in (0, -1, _LARGE)),
    *({"fusion": {"weight": value}} for value in (-1.0, 2.0)),
    *({"fusion": {"constant": value}} for value in (-1.0, 0.0)),
    *({"fusion": {"depth": value}} for value in (0, -1, _LARGE)),
    {"params": {"plan": "X"}},
    {"rerank": True},
    *({"filter": value} for value in _FILTERS),
    *({"facets": {name: {}}} for name in ("nope", "", "x" * 100_000, "a\nb")),
]
OTHERS: list[tuple[str, dict[str, Any]]] = [
    *(("Facets", {"facets": {"labels": {}}, "filter": value}) for value in _FILTERS),
    *(("Facets", {"facets": {"labels": {"limit": value}}}) for value in (0, -1, _LARGE)),
    *(("Facets", {"facets": {"labels": {"ranges": value}}}) for value in (0, -1, 3, _LARGE)),
    ("Facets", {"facets": {"labels": {"edges": [1, "a", None]}}}),
    ("Facets", {"facets": {f"n{number}": {} for number in range(500)}}),
    ("Facets", {"facets": {}}),
    *(("Scroll", {"filter": value}) for value in _FILTERS),
    *(("Scroll", {"limit": value}) for value in (0, -1, 1001, _LARGE)),
    *(("Scroll", {"cursor": value}) for value in ("", "x", "e30=", "eyJhIjoxfQ==", "\0", "x" * 100_000, "é")),
    *(("Scroll", {"sort": {"attribute": value}}) for value in ("", "nope", "labels", "x" * 100_000)),
    ("Scroll", {"sort": {"attribute": "year", "order": "up"}}),
    *(("Encode", {"inputs": value}) for value in (["x"] * 300, ["x" * 100_000])),
    *(("Encode", {"inputs": ["sort"], name: value}) for name in ("format", "role") for value in ("", "X")),
]
CASES = [("Search", {"queries": _Q, **members}) for members in SEARCHES] + OTHERS


def test_the_problem_is_that_of_http(coordinator: Callable[[LimitsConfig], Coordinator], asked: Asked) -> None:
    served = coordinator(LimitsConfig())

    async def kinds() -> list[tuple[str, str]]:
        server = grpc.aio.server()
        add_texthash_to_server(Servicer(Calls(make_app(served), served.limits.max_body_bytes)), server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            found = [await _kind(channel, method, members) for method, members in CASES]
        await server.stop(None)
        return found

    differing, wrong = [], 0
    for (method, members), (code, kind) in zip(CASES, asyncio.run(kinds()), strict=True):
        reply = asked.post(METHODS[method][0], members)
        expected = "" if reply.status_code == 200 else reply.json()["type"].rpartition("/")[2]
        wrong += bool(kind)
        if kind != expected or code not in ("OK", "INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION"):
            differing.append((method, str(members)[:200], code, kind, expected))
    assert differing == []
    assert wrong > 80


async def _kind(channel: grpc.aio.Channel, method: str, members: dict[str, Any]) -> tuple[str, str]:
    _, asked, answered = METHODS[method]
    request = json_format.ParseDict(members, message(asked)()).SerializeToString()
    call = channel.unary_unary(f"/texthash.v1.Texthash/{method}", response_deserializer=message(answered).FromString)
    try:
        await call(request, timeout=60)
    except grpc.aio.AioRpcError as error:
        return error.code().name, str(dict(error.trailing_metadata() or ()).get(PROBLEM))
    return "OK", ""
