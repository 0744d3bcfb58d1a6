"""The short way of a search gives the same bytes as the general way, for any body and headers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.service.conftest import Asked
from texthash.config import LimitsConfig
from texthash.service.coordinator import Coordinator
from texthash.service.http_app import make_app

_WORDS = ["sort", "array", "plot", "file", "qqqq", "é", "\ud800", ""]
_TEXT = st.lists(st.sampled_from(_WORDS), max_size=6).map(" ".join)
_ODD = st.one_of(st.none(), st.booleans(), st.integers(-3, 10**6), st.floats(allow_nan=False), _TEXT, st.just([]))
_QUERY = st.one_of(
    st.fixed_dictionaries({"text": _TEXT}),
    st.fixed_dictionaries({"code": st.sampled_from(["00ff00ff", "0", "zz00ff00", "00FF00FF00"])}),
    st.fixed_dictionaries({"id": st.sampled_from(["absent", ""])}),
    st.fixed_dictionaries({"vector": st.lists(st.floats(-1, 1), max_size=3)}),
    st.dictionaries(st.sampled_from(["text", "code", "id", "other"]), _ODD, max_size=3),
)
_MEMBERS = {
    "mode": st.sampled_from(["semantic", "keyword", "hybrid", None, "other"]),
    "limit": st.one_of(st.integers(-1, 12), st.sampled_from([4.0, 4.5, 1001, "3"])),
    "offset": st.integers(-1, 3),
    "radius": st.one_of(st.none(), st.integers(-1, 33)),
    "filter": st.one_of(
        st.none(), st.fixed_dictionaries({"labels": st.lists(st.sampled_from(["a", "b"]), max_size=2)})
    ),
    "params": st.fixed_dictionaries({"plan": st.sampled_from(["flat", "mih", "auto", "x"])}),
    "rescore": st.fixed_dictionaries({"kind": st.sampled_from(["none", "asymmetric", "float", None])}),
    "fields": st.lists(st.sampled_from(["title", "text", "labels", "labels", "x"]), max_size=4),
    "include_code": st.booleans(),
    "highlight": st.booleans(),
    "unknown": _ODD,
}
_BODY = st.fixed_dictionaries({"queries": st.lists(_QUERY, max_size=4)}, optional=_MEMBERS)
_BYTES = st.one_of(
    _BODY.map(lambda body: json.dumps(body).encode()),
    st.builds(lambda body, at: json.dumps(body).encode()[:at], _BODY, st.integers(0, 60)),
    st.sampled_from(
        [b"", b"null", b"[]", b'{"queries": [{"text": "a"}], "queries": []}', b"\xff", b"[" * 5000, b'{"queries": 1}']
    ),
)
_TYPES = st.sampled_from(
    ["application/json", "application/json; charset=utf-8", "text/plain", "application/x+json", ""]
)


@pytest.fixture(scope="module")
def both(coordinator: Callable[[LimitsConfig], Coordinator]) -> tuple[Asked, Asked]:
    limits = LimitsConfig(max_batch=3, max_text_bytes=30)
    return tuple(Asked(make_app(coordinator(limits), short_search=short)) for short in (True, False))  # type: ignore


def plain(reply: httpx.Response) -> tuple[int, dict[str, str], Any]:
    """The reply without what differs from one time to the next."""
    headers = {name: value for name, value in reply.headers.items() if name not in ("server-timing", "content-length")}
    content = re.sub(rb'"(took_ms|request_id)":("[^"]*"|[^,}]*)', rb'"\1":-', reply.content)
    return reply.status_code, headers, content


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(body=_BYTES, media=_TYPES, query=st.sampled_from(["", "", "?a=1"]))
def test_both_ways_give_the_same_answer(both: tuple[Asked, Asked], body: bytes, media: str, query: str) -> None:
    headers = {"content-type": media} if media else {}
    short, general = (
        asked.post(f"/v1/search{query}", content=body, headers={**headers, "x-request-id": "same"}) for asked in both
    )
    assert plain(short) == plain(general)


def test_a_search_goes_the_short_way(both: tuple[Asked, Asked], monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not reach the router; what is malformed does."""
    asked = both[0]
    reached = []
    route = type(asked.app.router).__call__

    async def counted(self: Any, scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope["path"])
        await route(self, scope, receive, send)

    monkeypatch.setattr(type(asked.app.router), "__call__", counted)
    asked.app.middleware_stack = None
    assert asked.search({"text": "plot a figure"}).status_code == 200
    assert reached == []
    assert asked.search({"text": "plot a figure"}, limit=0).status_code == 422
    assert reached == ["/v1/search"]
