"""Blocking and asynchronous clients of the service, with retries."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from texthash.api.problems import KINDS, ProblemBody
from texthash.api.scroll import ScrolledDocument
from texthash.arguments import check_whole, shown
from texthash.client import arguments, calls
from texthash.client.calls import Call
from texthash.errors import TexthashError, UsageError

KEY_VARIABLE = "TEXTHASH_API_KEY"
_KEY = re.compile(r"[\x21-\x7e]{1,128}")
_RETRIED = (429, 503)
_LONGEST_WAIT_S = 10.0
_FIRST_WAIT_S = 0.1
_LONGEST_S = 1_000_000  # of an attempt; a socket takes no time that is much longer
_ROUTES = "/-/routes"  # named by Serve's proxies in their answer to an unknown path

P = ParamSpec("P")
Reply = TypeVar("Reply", bound=BaseModel)


class ServiceError(TexthashError):
    """Error for a problem with which the service answered.

    Attributes:
        problem_body: Problem as it was sent.
        status: HTTP status of the problem.
    """

    def __init__(self, body: ProblemBody) -> None:
        kind = KINDS.get(body.type.rpartition("/")[2])
        remedy = kind.explanation if kind else f"see {body.type} of the server."
        super().__init__(f"{body.title}: {body.detail}", f"{remedy} (request {body.request_id})")
        self.problem_body = body
        self.status = body.status


def _blocking(make: Callable[P, Call[Reply]]) -> Callable[Concatenate[Client, P], Reply]:
    @wraps(make)
    def method(self: Client, *args: P.args, **kwargs: P.kwargs) -> Reply:
        return self._send(make(*args, **kwargs))

    return method


def _awaited(make: Callable[P, Call[Reply]]) -> Callable[Concatenate[AsyncClient, P], Awaitable[Reply]]:
    @wraps(make)
    async def method(self: AsyncClient, *args: P.args, **kwargs: P.kwargs) -> Reply:
        return await self._send(make(*args, **kwargs))

    return method


class Client:
    """Client of one service. Use it in a ``with`` statement, or call :meth:`close`.

    Args:
        url: URL of the service, with its route prefix if it has one.
        timeout_s: Time limit of one attempt in seconds.
        retries: Number of further attempts after status 429 or 503, a broken connection, or an error of the proxy, for
            instance where the process behind it does not come back in time.
            Each waits for the Retry-After of the server, else twice as long as the one before. Writes are sent again
            too: repeating one is safe.
        key: Key of the service; None reads TEXTHASH_API_KEY, if it is set.
        transport: Transport of httpx, for tests.

    Raises:
        UsageError: The URL or the key is malformed.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        timeout_s: float = 30.0,
        retries: int = 4,
        key: str | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._retries = retries
        self._http = httpx.Client(transport=transport, **_options(url, timeout_s, retries, key))

    search = _blocking(calls.search)
    encode = _blocking(calls.encode)
    upsert = _blocking(calls.upsert)
    delete = _blocking(calls.delete)
    document = _blocking(calls.document)
    count = _blocking(calls.count)
    facets = _blocking(calls.facets)
    scroll = _blocking(calls.scroll)
    snapshots = _blocking(calls.snapshots)
    take_snapshot = _blocking(calls.take_snapshot)
    restore_snapshot = _blocking(calls.restore_snapshot)
    compact = _blocking(calls.compact)
    info = _blocking(calls.info)
    ready = _blocking(calls.ready)

    def scroll_all(self, **options: Any) -> Iterator[ScrolledDocument]:
        """Yield the documents of all pages. Takes the arguments of :meth:`scroll` but ``cursor``; raises as it does."""
        call = calls.scroll(**options)
        while True:
            page = self._send(call)
            yield from page.documents
            if page.cursor is None:
                return
            call = calls.next_page(call, page.cursor)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, call: Call[Reply]) -> Reply:
        _check_open(self._http.is_closed)
        retries, content = _Retries(self._retries, _shown(self._http.base_url)), _content(call)
        while True:
            try:
                reply = self._http.request(call.method, call.path, **content)
            except httpx.InvalidURL as error:
                raise _too_long(call, error) from None
            except httpx.TransportError as error:
                wait = retries.after_failure(error)
            except httpx.DecodingError as error:
                raise _foreign(error.request.url, f"an answer that cannot be decoded: {error}") from None
            else:
                if _answered(reply, call):
                    return _read(call.reply, reply)
                wait = retries.after(reply)
            time.sleep(wait)


class AsyncClient:
    """Client with the methods of :class:`Client` as coroutines. Use it in ``async with``, or call :meth:`close`.

    Each event loop in which it is used has connections of its own.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        timeout_s: float = 30.0,
        retries: int = 4,
        key: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._retries = retries
        self._make = partial(httpx.AsyncClient, transport=transport, **_options(url, timeout_s, retries, key))
        self._closed = False
        self._of_loops: dict[asyncio.AbstractEventLoop, httpx.AsyncClient] = {}

    search = _awaited(calls.search)
    encode = _awaited(calls.encode)
    upsert = _awaited(calls.upsert)
    delete = _awaited(calls.delete)
    document = _awaited(calls.document)
    count = _awaited(calls.count)
    facets = _awaited(calls.facets)
    scroll = _awaited(calls.scroll)
    snapshots = _awaited(calls.snapshots)
    take_snapshot = _awaited(calls.take_snapshot)
    restore_snapshot = _awaited(calls.restore_snapshot)
    compact = _awaited(calls.compact)
    info = _awaited(calls.info)
    ready = _awaited(calls.ready)

    async def scroll_all(self, **options: Any) -> AsyncIterator[ScrolledDocument]:
        """Yield the documents of all pages, as :meth:`Client.scroll_all`."""
        call = calls.scroll(**options)
        while True:
            page = await self._send(call)
            for document in page.documents:
                yield document
            if page.cursor is None:
                return
            call = calls.next_page(call, page.cursor)

    async def close(self) -> None:
        """Close the connections."""
        self._closed = True
        http = self._of_loops.pop(asyncio.get_running_loop(), None)
        self._of_loops.clear()
        if http is not None:
            await http.aclose()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _connections(self) -> httpx.AsyncClient:
        """Return the connections of the running event loop, since those of another one cannot be used in it."""
        loop = asyncio.get_running_loop()
        if loop not in self._of_loops:
            kept = {other: http for other, http in self._of_loops.items() if not other.is_closed()}
            self._of_loops = {**kept, loop: self._make()}
        return self._of_loops[loop]

    async def _send(self, call: Call[Reply]) -> Reply:
        _check_open(self._closed)
        http = self._connections()
        retries, content = _Retries(self._retries, _shown(http.base_url)), _content(call)
        while True:
            try:
                reply = await http.request(call.method, call.path, **content)
            except httpx.InvalidURL as error:
                raise _too_long(call, error) from None
            except httpx.TransportError as error:
                wait = retries.after_failure(error)
            except httpx.DecodingError as error:
                raise _foreign(error.request.url, f"an answer that cannot be decoded: {error}") from None
            else:
                if _answered(reply, call):
                    return _read(call.reply, reply)
                wait = retries.after(reply)
            await asyncio.sleep(wait)


def _check_open(closed: bool) -> None:
    if closed:
        raise UsageError("the client is closed.", "make another one, or close it later.")


class _Retries:
    """Waiting time before the next attempt; raises the error when no attempt is left."""

    def __init__(self, retries: int, url: str) -> None:
        self._left = retries
        self._wait = _FIRST_WAIT_S
        self._url = url

    def after_failure(self, error: httpx.TransportError) -> float:
        """Return the seconds to wait after a connection that broke or was refused."""
        if self._left == 0:
            raise TexthashError(
                f"no service answers at {self._url}: {error!r}", "start one, or name its URL."
            ) from error
        return self._next(self._wait)

    def after(self, reply: httpx.Response) -> float:
        """Return the seconds to wait after an error response."""
        # An error without a problem body is the proxy's: the process behind it died, or is not registered yet.
        unrouted = reply.status_code == 404 and _ROUTES in reply.text
        late = reply.status_code == httpx.codes.REQUEST_TIMEOUT
        from_proxy = (reply.status_code >= 500 or late or unrouted) and not _is_problem(reply)
        if self._left == 0 or not (from_proxy or reply.status_code in _RETRIED):
            raise _error(reply)
        requested = reply.headers.get("retry-after", "")
        return self._next(float(requested) if requested.isdecimal() else self._wait)

    def _next(self, wait: float) -> float:
        self._left -= 1
        self._wait *= 2
        return min(wait, _LONGEST_WAIT_S)


def _options(url: str, timeout_s: float, retries: int, key: str | None) -> dict[str, Any]:
    if isinstance(timeout_s, bool) or not isinstance(timeout_s, (int, float)) or not 0 < timeout_s < _LONGEST_S:
        raise UsageError(f"timeout_s={shown(timeout_s)} is no time.", f"give seconds above 0 and below {_LONGEST_S:,}.")
    check_whole("number of retries", retries, least=0)
    secret = key if key is not None else os.environ.get(KEY_VARIABLE)
    if not isinstance(secret, str | None) or (secret and not _KEY.fullmatch(secret)):
        raise UsageError(
            f"{KEY_VARIABLE if key is None else 'key'} is not a key of a service.",
            "give 1 to 128 visible ASCII characters.",
        )
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    return {"base_url": _base(url), "timeout": timeout_s, "headers": headers}


def _base(url: str) -> str:
    remedy = "write it as http://HOST:PORT, with the route prefix of the service if it has one."
    try:
        parsed = httpx.URL(arguments.text(url, "url"))
    except httpx.InvalidURL as error:
        raise UsageError(f"{url!r} is not the URL of a service: {error}.", remedy) from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise UsageError(f"{url!r} is not the URL of a service.", remedy)
    return url.rstrip("/") + "/"


def _content(call: Call[Any]) -> dict[str, Any]:
    if call.body is None:
        return {}
    return {"content": arguments.body_of(call.body), "headers": {"Content-Type": "application/json"}}


def _too_long(call: Call[Any], error: httpx.InvalidURL) -> UsageError:
    return UsageError(
        f"{call.path[:60]}… is too long for a request ({len(call.path)} characters): {error}.",
        "give the id of a document; none is as long as this.",
    )


def _answered(reply: httpx.Response, call: Call[Any]) -> bool:
    return reply.is_success or reply.status_code in call.answers


def _is_problem(reply: httpx.Response) -> bool:
    return reply.headers.get("content-type", "").startswith("application/problem+json")


def _error(reply: httpx.Response) -> TexthashError:
    if _is_problem(reply):
        return ServiceError(_read(ProblemBody, reply))
    return _foreign(reply.request.url, f"{reply.status_code}: {reply.text[:200]}")


def _read(kind: type[Reply], reply: httpx.Response) -> Reply:
    """Return the body of an answer; raises TexthashError if something else than a service of texthash wrote it."""
    try:
        return kind.model_validate_json(reply.content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        problem = f"{where}: {first['msg']}" if where else first["msg"]
        raise _foreign(reply.request.url, f"{reply.status_code} with another body than expected: {problem}") from None


def _foreign(url: httpx.URL, answer: str) -> TexthashError:
    return TexthashError(f"{_shown(url)} answered {answer}", "check that this is a texthash service.")


def _shown(url: httpx.URL) -> str:
    """Return a URL without user and password."""
    return str(url.copy_with(userinfo=b""))
