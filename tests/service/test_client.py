"""The client: typed answers, further attempts, and errors that say what the server said."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx
import pytest

from tests.service.conftest import Asked
from texthash.client import AsyncClient, Client, ServiceError
from texthash.errors import TexthashError
from texthash.service.problems import Problem


def through(asked: Asked) -> httpx.MockTransport:
    """Requests of the client, answered by the application."""

    def answer(request: httpx.Request) -> httpx.Response:
        reply = asyncio.run(
            asked.send(request.method, request.url.path, content=request.content, headers=request.headers)
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
        reply = client.search(["sort an array", {"text": "plot a figure"}], limit=3, fields=["labels"])
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
