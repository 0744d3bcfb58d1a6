"""A store that speaks S3, on this machine, whose conditional writes are atomic and which can be told to fail."""

from __future__ import annotations

import logging
import os
import socket
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import pytest

from texthash.paths import as_path

Fault = Callable[[dict[str, Any]], tuple[int, str] | None]
CUT = (0, "")
_CONDITIONS = ("HTTP_IF_NONE_MATCH", "HTTP_IF_MATCH")


class Store:
    """The store's endpoint, and what it is told to do.

    Attributes:
        fault: Function that returns status and code of an error for a request, CUT to break its connection, or None to
            answer it.
        ignores: Headers that the store does not know.
        lose: Number of writes that take effect, but whose answer is an error.
        shorten: Number of reads whose answer ends in the middle.
        requests: Method and path of each request.
        sent: Bytes of the answers to reads, by path.
    """

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.reset()

    def reset(self) -> None:
        self.fault: Fault = lambda _: None
        self.ignores: tuple[str, ...] = ()
        self.lose = 0
        self.shorten = 0
        self.requests: list[tuple[str, str]] = []
        self.sent: Counter[str] = Counter()

    @contextmanager
    def reached(self) -> Iterator[None]:
        """Set the variables that lead to this store for the block; several stores may run in one process."""
        variables = {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "tester",
            "AWS_SECRET_ACCESS_KEY": "tester",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        with pytest.MonkeyPatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            # Clients keep their endpoint as long as they live, and so would those of a store before or after this one.
            as_path("s3://any").fs.clear_instance_cache()
            yield
            as_path("s3://any").fs.clear_instance_cache()

    def bucket(self) -> str:
        address = f"s3://bucket-{uuid.uuid4().hex[:12]}"
        as_path(address).mkdir()
        return address

    def wrap(self, answer: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
        """Return the application with faults; it answers one request at a time, as checks of moto are not atomic."""
        lock = threading.Lock()

        def application(request: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
            # Read first: a client that vanishes in the middle of it would keep all others waiting for the lock.
            length = int(request.get("CONTENT_LENGTH") or 0)
            if length:
                request["wsgi.input"] = BytesIO(request["wsgi.input"].read(length))
            with lock:
                self.requests.append((request["REQUEST_METHOD"], request["PATH_INFO"]))
                for name in self.ignores:
                    request.pop(name, None)
                failed = self.fault(request)
                if failed is None and request["REQUEST_METHOD"] == "PUT" and self.lose:
                    self.lose -= 1
                    list(answer(request, lambda *_: None))
                    failed = (500, "InternalError")
                if failed is None:
                    body = b"".join(answer(request, start))
                    if request["REQUEST_METHOD"] == "GET":
                        self.sent[request["PATH_INFO"]] += len(body)
                        if self.shorten:
                            self.shorten -= 1
                            body = body[: len(body) // 2]
                    return [body]
            status, code = failed
            if failed == CUT:
                request["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
                return []
            text = f"<Error><Code>{code}</Code><Message>told to</Message></Error>"
            body = b"" if request["REQUEST_METHOD"] == "HEAD" else text.encode()
            start(f"{status} told", [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
            return [body]

        return application


@contextmanager
def running(address: str = "127.0.0.1") -> Iterator[Store]:
    """Run a store for the block at an address of this machine, and lead to it."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address=address, port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    store = Store(f"http://{host}:{port}")
    server._server.app = store.wrap(server._server.app)
    with store.reached():
        yield store
    server.stop()


def child_environment() -> dict[str, str]:
    """Return the environment of a process of this test."""
    return {**os.environ, "OMP_NUM_THREADS": "1"}
