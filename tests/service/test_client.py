"""The client: typed answers, further attempts, and errors that say what the server said."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tests.service.conftest import Asked
from texthash.client import AsyncClient, Client, ServiceError
from texthash.errors import TexthashError, UsageError
from texthash.service.problems import Problem


def through(asked: Asked) -> httpx.MockTransport:
    """Requests of the client, answered by the application."""

    def answer(request: httpx.Request) -> httpx.Response:
        reply = asyncio.run(
            asked.send(request.method, request.url.raw_path.decode(), content=request.content, headers=request.headers)
        )
        return httpx.Response(reply.status_code, headers=reply.headers, content=reply.content)

    return httpx.MockTransport(answer)


def failing(times: int, error: Callable[[], httpx.Response], then: httpx.MockTransport) -> httpx.MockTransport:
    left = [times]

    def answer(request: httpx.Request) -> httpx.Response:
        left[0] -= 1
        return error() if left[0] >= 0 else then.handle_request(request)

    return httpx.MockTransport(answer)


def busy() -> httpx.Response:
    response = Problem("overloaded", "full", headers={"Retry-After": "0"}).response({"path": "/v1/search"})
    return httpx.Response(429, headers=dict(response.headers), content=bytes(response.body))


def test_answers_are_typed(asked: Asked) -> None:
    with Client("http://test", transport=through(asked)) as client:
        reply = client.search(["sort an array", {"text": "plot a figure"}], mode="semantic", limit=3, fields=["labels"])
        assert [len(result.hits) for result in reply.results] == [3, 3]
        assert reply.results[0].hits[0].distance <= reply.results[0].hits[1].distance
        label = reply.results[0].hits[0].document["labels"][0]
        assert all(
            label in hit.document["labels"]
            for hit in client.search("sort an array", labels=[label], fields=["labels"]).results[0].hits
        )
        encoded = client.encode(["sort an array"], role="query")
        assert encoded.codes == [reply.results[0].code]
        assert client.info().index.documents > 1000
        assert client.ready().status == "ok"


def test_a_busy_service_is_asked_again(asked: Asked) -> None:
    with Client("http://test", transport=failing(2, busy, through(asked))) as client:
        assert len(client.search("sort an array").results) == 1
    with Client("http://test", retries=1, transport=failing(2, busy, through(asked))) as client:
        with pytest.raises(ServiceError, match="too many requests") as caught:
            client.search("sort an array")
        assert caught.value.status == 429
        assert "Wait for the seconds of the Retry-After header" in caught.value.remedy


def test_a_broken_connection_is_tried_again(asked: Asked) -> None:
    def refused() -> httpx.Response:
        raise httpx.ConnectError("refused")

    with Client("http://test", transport=failing(1, refused, through(asked))) as client:
        assert client.info().name == "texthash"
    hasty = Client("http://test", retries=0, transport=failing(1, refused, through(asked)))
    with hasty as client, pytest.raises(TexthashError, match="no service answers"):
        client.info()


def test_a_proxy_that_does_not_know_the_service_yet_is_asked_again(asked: Asked) -> None:
    starting = [httpx.Response(404, text="Path '/v1/info' not found. Ping http://.../-/routes for available routes.")]
    starting.append(httpx.Response(500, text="Internal Server Error"))
    starting.append(httpx.Response(408, text="Request 025466b4 timed out after 35.0s."))
    service = httpx.ASGITransport(asked.app)

    class Proxy(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            return starting.pop() if starting else await service.handle_async_request(request)

    async def answered() -> str:
        async with AsyncClient("http://test", transport=Proxy()) as client:
            return (await client.info()).name

    assert asyncio.run(answered()) == "texthash"
    assert starting == []


def test_what_the_service_refuses_is_not_tried_again(asked: Asked) -> None:
    count = []
    inner = through(asked)

    def counted(request: httpx.Request) -> httpx.Response:
        count.append(1)
        return inner.handle_request(request)

    watched = Client("http://test", transport=httpx.MockTransport(counted))
    with watched as client, pytest.raises(ServiceError, match="8 bits") as caught:
        client.search([{"code": "00"}])
    assert caught.value.problem_body.type.endswith("/problems/wrong-code-width")
    assert len(count) == 1


def test_an_answer_of_something_else_is_named() -> None:
    other = httpx.MockTransport(lambda request: httpx.Response(404, text="nginx"))
    with Client("http://test", transport=other) as client, pytest.raises(TexthashError, match="answered 404: nginx"):
        client.info()


FOREIGN = {
    "a page": httpx.Response(200, html="<html>sign in</html>"),
    "nothing": httpx.Response(204),
    "a list": httpx.Response(200, json=[]),
    "deep": httpx.Response(200, content=b"[" * 100_000),
    "a problem of others": httpx.Response(422, json=[1], headers={"content-type": "application/problem+json"}),
}


@pytest.mark.parametrize("answer", FOREIGN)
def test_an_answer_that_no_service_gives_is_named_by_its_url(answer: str) -> None:
    transport = httpx.MockTransport(lambda request: FOREIGN[answer])
    with (
        Client("http://me:secret@test", transport=transport) as client,
        pytest.raises(TexthashError, match=r"http://test/v1/info answered \d{3} with another body") as raised,
    ):
        client.info()
    assert "secret" not in str(raised.value)


def test_an_answer_that_cannot_be_decoded_is_named() -> None:
    broken = httpx.MockTransport(
        lambda request: httpx.Response(200, headers={"content-encoding": "gzip"}, stream=httpx.ByteStream(b"junk"))
    )
    with Client("http://test", transport=broken) as client, pytest.raises(TexthashError, match="cannot be decoded"):
        client.info()


def test_a_password_in_the_url_is_in_no_error() -> None:
    with Client("http://me:secret@127.0.0.1:1", retries=0) as client, pytest.raises(TexthashError) as raised:
        client.info()
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name in ("timeout_s", "retries") for value in (-1, float("nan"), "1", None, True)]
    + [("retries", 1.5), ("timeout_s", 0), ("timeout_s", float("inf"))],
)
def test_a_limit_that_is_none_is_refused(name: str, value: Any) -> None:
    """Attempts that count down from 1.5 would never end."""
    for kind in (Client, AsyncClient):
        with pytest.raises(UsageError, match=f"{name}(=| is )"):
            kind("http://test", **{name: value})


class Heard(httpx.MockTransport):
    """Keeps the bodies that it was sent, and answers with a problem."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        super().__init__(self._answer)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.bodies.append(json.loads(request.content))
        response = Problem("internal", "not asked").response({"path": request.url.path})
        return httpx.Response(500, headers=dict(response.headers), content=bytes(response.body))


def bodies_of(call: Callable[[Client | AsyncClient], Any]) -> list[dict[str, Any]]:
    """What both clients send for a call."""
    heard, heard_async = Heard(), Heard()
    with Client("http://test", transport=heard) as client, pytest.raises(ServiceError, match="not asked"):
        call(client)

    async def awaited() -> None:
        async with AsyncClient("http://test", transport=heard_async) as client:
            with pytest.raises(ServiceError, match="not asked"):
                await call(client)

    asyncio.run(awaited())
    return [*heard.bodies, *heard_async.bodies]


ONE = "pandas.core"
FORMS: dict[str, Callable[[], Any]] = {
    "string": lambda: ONE,
    "list": lambda: [ONE],
    "tuple": lambda: (ONE,),
    "generator": lambda: (value for value in [ONE]),
    "keys": lambda: {ONE: 1}.keys(),
    "numpy": lambda: np.array([ONE]),
    "numpy string": lambda: np.str_(ONE),
    "numpy objects": lambda: np.array([ONE], object),
    "pandas": lambda: pd.Series([ONE]),
    "pandas strings": lambda: pd.Series([ONE], dtype="string"),
    "pandas index": lambda: pd.Index([ONE]),
    "arrow": lambda: pa.array([ONE]),
    "arrow chunks": lambda: pa.chunked_array([[ONE]]),
}
# Each parameter that takes several strings: how it is given, and what it is in the request.
SEQUENCES: dict[str, tuple[Callable[[Any, Any], Any], Callable[[dict[str, Any]], Any]]] = {
    "queries": (lambda c, v: c.search(v), lambda body: [query["text"] for query in body["queries"]]),
    "labels": (lambda c, v: c.search("a", labels=v), lambda body: body["filter"]["labels"]),
    "fields": (lambda c, v: c.search("a", fields=v), lambda body: body["fields"]),
    "inputs": (lambda c, v: c.encode(v), lambda body: body["inputs"]),
    "ids": (lambda c, v: c.delete(ids=v), lambda body: body["ids"]),
    "labels of delete": (lambda c, v: c.delete(labels=v), lambda body: body["filter"]["labels"]),
    "labels of count": (lambda c, v: c.count(labels=v), lambda body: body["filter"]["labels"]),
    "documents[0]['labels']": (
        lambda c, v: c.upsert([{"id": "1", "text": "a", "labels": v}]),
        lambda body: body["documents"][0]["labels"],
    ),
}
NO_STRINGS: dict[str, Any] = {
    "bytes": b"17",
    "bytearray": bytearray(b"17"),
    "number": 17,
    "float": 1.5,
    "boolean": True,
    "mapping": {"text": "a"},
    "list of numbers": [1, 7],
    "list of None": ["a", None],
    "list of bytes": [b"a"],
    "list of lists": [["a"]],
    "missing": pd.Series(["a", None]),
    "numbers": np.arange(3),
    "matrix": np.array([["a", "b"]]),
    "scalar": np.array("a"),
    "frame": pd.DataFrame({"labels": ["a"]}),
    "table": pa.table({"labels": ["a"]}),
    "surrogate": "a\ud800",
    "list of a surrogate": ["\udfff"],
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("parameter", SEQUENCES)
def test_one_string_is_one_value(parameter: str, form: str) -> None:
    call, sent = SEQUENCES[parameter]
    assert [sent(body) for body in bodies_of(lambda client: call(client, FORMS[form]()))] == [[ONE], [ONE]]


@pytest.mark.parametrize("wrong", NO_STRINGS)
@pytest.mark.parametrize("parameter", SEQUENCES)
def test_what_is_no_string_is_refused_by_name_and_nothing_is_sent(parameter: str, wrong: str) -> None:
    call, _ = SEQUENCES[parameter]
    heard = Heard()
    named = re.escape(parameter.partition(" ")[0])
    with Client("http://test", transport=heard) as client, pytest.raises(UsageError, match=named) as caught:
        call(client, NO_STRINGS[wrong])
    assert caught.value.remedy
    assert heard.bodies == []


async def _refused(call: Callable[[Any, Any], Any], value: Any) -> None:
    async with AsyncClient("http://test", transport=Heard()) as client:
        with pytest.raises(UsageError):
            await call(client, value)


@pytest.mark.parametrize("parameter", SEQUENCES)
def test_the_asynchronous_client_refuses_the_same(parameter: str) -> None:
    for value in NO_STRINGS.values():
        asyncio.run(_refused(SEQUENCES[parameter][0], value))


def test_what_an_iterable_would_make_of_a_value_is_said_with_its_right_form() -> None:
    with Client("http://test", transport=Heard()) as client:
        for query in ({"text": "a"}, {"id": "1"}):
            with pytest.raises(UsageError, match=r"queries is .*mapping") as caught:
                client.search(query)  # type: ignore[arg-type]
            assert "[{'text': '...'}]" in caught.value.remedy
        with pytest.raises(UsageError, match=r"documents is .*mapping") as caught:
            client.upsert({"id": "1", "text": "a"})  # type: ignore[arg-type]
        assert "[{'id': '...'" in caught.value.remedy
        with pytest.raises(UsageError, match="a set, whose order is arbitrary"):
            client.search({"a", "b"})
        for wrong, named in (
            ([{"text": "a", "id": "1"}], r"queries\[0\] has text, id"),
            ([{}], r"queries\[0\] has no member"),
            ([{"txt": "a"}], r"queries\[0\] has txt"),
            (["a", {"id": 17}], r"queries\[1\]\['id'\] is 17 \(int\)"),
            (None, "queries is None"),
        ):
            with pytest.raises(UsageError, match=named):
                client.search(wrong)  # type: ignore[arg-type]
        for documents, named in (
            ("a", r"documents is 'a' \(str\)"),
            (["a"], r"documents\[0\] is 'a' \(str\)"),
            ([{"id": 17, "text": "a"}], r"documents\[0\]\['id'\] is 17 \(int\)"),
            ([{"id": "1", "text": None}], r"documents\[0\]\['text'\] is None"),
            ([{"id": "1", "text": float("nan")}], r"documents\[0\]\['text'\] is nan \(float\)"),
            (pd.DataFrame({"id": ["1"], "text": ["a"]}), r"documents is a DataFrame of shape \(1, 2\)"),
        ):
            with pytest.raises(UsageError, match=named):
                client.upsert(documents)  # type: ignore[arg-type]


def test_single_values_are_checked_too() -> None:
    with Client("http://test", transport=Heard()) as client:
        for call, named in (
            (lambda: client.document(17), r"id is 17 \(int\)"),  # type: ignore[arg-type]
            (lambda: client.document(None), "id is None"),  # type: ignore[arg-type]
            (lambda: client.document("\ud800"), "id is not Unicode text"),
            (lambda: client.take_snapshot("a/b"), "'a/b' cannot name a snapshot"),
            (lambda: client.restore_snapshot(".."), "'..' cannot name a snapshot"),
            (lambda: client.restore_snapshot(17), r"name is 17 \(int\)"),  # type: ignore[arg-type]
            (lambda: client.delete(ids="1", wait="no"), "wait='no' is neither"),  # type: ignore[arg-type]
            (lambda: client.search("a", radius=float("nan")), "cannot be written as JSON"),  # type: ignore[arg-type]
            (lambda: client.search("a", limit=object()), "limit=<object"),  # type: ignore[arg-type]
        ):
            with pytest.raises(UsageError, match=named):
                call()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda c: c.facets({"year": 5}), r"facets\['year'\] is 5 \(int\), not a mapping"),
        (lambda c: c.search("a", facets={"year": "ranges"}), r"facets\['year'\] is 'ranges'"),
        (lambda c: c.facets({5: {}}), r"a key of facets is 5 \(int\)"),
        (lambda c: c.search(vector=[10**400]), r"vector\[0\] is 10+… \(int\), not a finite number"),
        (lambda c: c.upsert([{"id": "1", "vector": [10**400]}]), r"documents\[0\]\['vector'\]\[0\] is 10+…"),
        (lambda c: c.search("a", limit=10**5000), "limit=a number of thousands of digits cannot be written"),
        (lambda c: c.document(10**5000), "id is a number of thousands of digits"),
    ],
)
def test_odd_options_and_huge_numbers_are_named(call: Callable[[Any], Any], named: str) -> None:
    with Client("http://test", transport=Heard()) as client, pytest.raises(UsageError, match=named):
        call(client)


def test_all_pages_have_the_arguments_of_the_first() -> None:
    """A generator, which can be read once, is the filter of every page."""
    bodies = []

    def answer(request: httpx.Request) -> httpx.Response:
        bodies.append(json.loads(request.content))
        cursor = f"after {len(bodies)}" if len(bodies) < 3 else None
        return httpx.Response(
            200, json={"documents": [], "total": 0, "cursor": cursor, "release": "", "index_version": 1}
        )

    async def listed() -> None:
        async with AsyncClient("http://test", transport=httpx.MockTransport(answer)) as client:
            assert [document async for document in client.scroll_all(labels=iter(["a"]))] == []

    with Client("http://test", transport=httpx.MockTransport(answer)) as client:
        assert list(client.scroll_all(labels=iter(["a"]), cursor="begin")) == []
    assert [body.pop("cursor") for body in bodies] == ["begin", "after 1", "after 2"]
    bodies, first = [], bodies
    asyncio.run(listed())
    assert [body.pop("cursor") for body in bodies] == [None, "after 1", "after 2"]
    assert [body["filter"] for body in first + bodies] == [{"labels": ["a"]}] * 6


def test_a_client_serves_one_event_loop_after_another() -> None:
    """Connections belong to a loop: those that were kept of one that has ended would fail in the next."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body = b'{"status": "ok"}'
        with suppress(asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
        writer.close()

    async def asked_of(client: AsyncClient, port: int) -> str:
        server = await asyncio.start_server(answer, "127.0.0.1", port)
        async with server:
            return (await client.ready()).status

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    client = AsyncClient(f"http://127.0.0.1:{port}", retries=0)
    assert [asyncio.run(asked_of(client, port)) for _ in range(3)] == ["ok"] * 3
    asyncio.run(client.close())


def test_a_closed_client_says_so() -> None:
    client, other = Client("http://test", transport=Heard()), AsyncClient("http://test", transport=Heard())
    client.close()
    with pytest.raises(UsageError, match="the client is closed"):
        client.info()

    async def ask() -> None:
        await other.close()
        with pytest.raises(UsageError, match="the client is closed"):
            await other.info()

    asyncio.run(ask())


def test_numbers_of_numpy_are_numbers() -> None:
    (body, _) = bodies_of(lambda client: client.search("a", limit=np.int64(3), include_code=np.True_))
    assert (body["limit"], body["include_code"]) == (3, True)


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:8000", "localhost", "ftp://test", "http://", "http://[::1", "unix:/x", 8000]
)
def test_what_is_no_url_is_refused(url: Any) -> None:
    for kind in (Client, AsyncClient):
        with pytest.raises(UsageError, match=r"url|URL"):
            kind(url)


def test_what_is_no_key_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="key is not a key of a service") as caught:
        Client("http://test", key="geheim\u00fc")
    assert "geheim" not in str(caught.value)
    monkeypatch.setenv("TEXTHASH_API_KEY", "two words")
    with pytest.raises(UsageError, match="TEXTHASH_API_KEY is not a key of a service"):
        AsyncClient("http://test")
