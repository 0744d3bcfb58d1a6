"""The service on Ray Serve: a real application on a free port, real HTTP."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest

from service.browser import browse, chromium_path
from texthash.config import LimitsConfig, ServiceConfig
from texthash.errors import TexthashError
from texthash.home import Home
from texthash.search.release import OpenRelease
from texthash.search.shard import merge

pytestmark = pytest.mark.ray
PREFIX = "/find"
TEXTS = ["sort the values of an array", "plot a figure", "read a file", "fit a linear model", "merge two tables"]


@pytest.fixture(scope="module")
def service() -> ServiceConfig:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return ServiceConfig(port=port, limits=LimitsConfig(request_timeout_s=15.0))


@pytest.fixture(scope="module")
def url(ray_cluster, released: Home, service: ServiceConfig) -> Iterator[str]:
    from ray import serve

    from texthash.service.run import serve_release

    yield serve_release(released, service, route_prefix=PREFIX)
    serve.shutdown()


@pytest.fixture(scope="module")
def http(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=30.0) as client:
        yield client


def search(http: httpx.Client, text: str = TEXTS[0], **members: object) -> httpx.Response:
    return http.post("/v1/search", json={"queries": [{"text": text}], **members})


def test_hits_are_exact_whatever_shares_the_batch(http: httpx.Client, opened: OpenRelease) -> None:
    expected = {}
    for text in TEXTS:
        code = opened.hasher.encode([text], role="query")
        hits, owners = merge([shard.search(code, 12) for shard in opened.shards], 12)
        documents = [
            opened.shards[owner].documents([number], ["title"])[0]["id"]
            for owner, number in zip(owners[0], hits.numbers[0], strict=True)
        ]
        expected[text] = list(zip(documents, hits.distances[0].tolist(), strict=True))
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda text: (text, search(http, text, limit=12)), TEXTS * 8))
    for text, reply in replies:
        assert reply.status_code == 200, reply.text
        body = reply.json()
        assert body["release"] == opened.release.name
        assert [(hit["id"], hit["distance"]) for hit in body["results"][0]["hits"]] == expected[text]


def test_a_request_id_comes_back_once(http: httpx.Client) -> None:
    given = http.get("/v1/info", headers={"X-Request-ID": "mine-1"})
    assert given.headers.get_list("x-request-id") == ["mine-1"]
    made = http.get("/v1/nothing")
    assert made.headers.get_list("x-request-id") == [made.json()["request_id"]]


def test_errors_are_problems_through_the_proxy(http: httpx.Client) -> None:
    json = {"content-type": "application/json"}
    replies = {
        400: http.post("/v1/search", content=b"{", headers=json),
        404: http.get("/v1/nothing"),
        405: http.delete("/v1/search"),
        409: http.post("/v1/search", json={"queries": [{"code": "00"}]}),
        413: http.post("/v1/search", content=b" " * 3_000_000, headers=json),
        415: http.post("/v1/search", content=b"{}", headers={"content-type": "text/plain"}),
        422: search(http, limit=5000),
    }
    for status, reply in replies.items():
        assert reply.status_code == status, reply.text
        assert reply.headers["content-type"] == "application/problem+json"
        assert reply.json()["type"].startswith(f"{PREFIX}/problems/")
        assert http.get(reply.json()["type"].removeprefix(PREFIX)).status_code == 200


def test_documentation_behind_the_prefix(http: httpx.Client, url: str) -> None:
    assert f"{PREFIX}/openapi.json" in http.get("/docs").text
    document = http.get("/openapi.json").json()
    assert document["servers"][0]["url"] == PREFIX
    assert f"curl -s {url}/v1/search" in document["info"]["description"]


def test_only_loopback_is_listened_on(http: httpx.Client, service: ServiceConfig) -> None:
    table = Path("/proc/net/tcp")
    if not table.exists():
        pytest.skip("no /proc/net/tcp on this system to read listening addresses from")
    listening = [line.split()[1] for line in table.read_text().splitlines()[1:] if line.split()[3] == "0A"]
    hosts = {address.split(":")[0] for address in listening if int(address.split(":")[1], 16) == service.port}
    assert hosts == {"0100007F"}


def test_a_port_that_is_not_serves_own_is_refused(url: str, released: Home, service: ServiceConfig) -> None:
    from texthash.service.run import serve_release

    with pytest.raises(TexthashError, match="already listens"):
        serve_release(released, ServiceConfig(port=service.port % 60000 + 1))


@pytest.mark.browser
def test_a_person_types_and_sees_hits(http: httpx.Client, url: str, tmp_path: Path) -> None:
    executable = chromium_path()
    if executable is None:
        pytest.skip("no Chromium on PATH to open the page with")
    with browse(executable) as page:
        page.open(f"{url}?")
        page.wait("document.querySelector('#facts').textContent.includes('itq, 32 bits')")
        page.type("sort an array of values")
        page.wait("document.querySelectorAll('.hit').length === 10")
        page.wait("document.querySelector('#said').textContent.includes('10 nearest')")
        assert page.run("document.querySelectorAll('.hit svg.bits').length") == 10
        first = page.run("document.querySelector('.hit .bits').getAttribute('aria-label')")
        differ = page.run("document.querySelector('.hit .far b').textContent")
        assert first == f"{32 - int(differ)} of 32 bits match the query"
        cells = page.run("document.querySelector('.hit .bits .differ').getAttribute('d').split('M').length - 1")
        assert cells == int(differ)
        assert page.run("[...document.querySelectorAll('.key')].map(key => key.textContent.split(' ')[0]).join()") == (
            "encode,search,merge,round"
        )
        page.screenshot(tmp_path / "light.png")

        page.press("ArrowDown")
        assert page.run("document.activeElement.dataset.place") == "0"
        page.press("ArrowDown")
        page.press("ArrowUp")
        page.press("ArrowUp")
        assert page.run("document.activeElement.id") == "q"

        label = page.run("document.querySelector('#filters .chip').dataset.label")
        page.run("document.querySelector('#filters .chip').click()")
        page.wait("document.querySelector('#filters .chip[aria-pressed=true]')")
        page.wait(
            "[...document.querySelectorAll('.hit')].every(hit => [...hit.querySelectorAll('.label')]"
            f".some(chip => chip.textContent === {label!r}))"
        )
        page.press("Escape")
        page.wait("document.querySelectorAll('.hit').length === 0")
        page.type("qqqq")
        page.wait("document.querySelector('#note').textContent.includes('knows none of these words')")
        assert page.failures == []

        page.open(f"{url}/?q=plot+a+figure", width=380, dark=True)
        page.wait("document.querySelectorAll('.hit').length === 10")
        assert page.run("document.documentElement.scrollWidth") <= 380
        page.screenshot(tmp_path / "dark-narrow.png")


def test_a_killed_shard_comes_back_and_is_named_meanwhile(http: httpx.Client, opened: OpenRelease) -> None:
    """Its process is killed; requests are answered in full or refused by name, and none hangs."""
    before = search(http).json()["results"]
    os.kill(replica_pid("shard-1"), signal.SIGKILL)
    refused = 0
    end = time.monotonic() + 60
    while True:
        start = time.monotonic()
        reply = search(http)
        assert time.monotonic() - start < 15.0
        if reply.status_code == 200:
            assert reply.json()["results"] == before
            if http.get("/health/ready").status_code == 200:
                break
        else:
            assert (reply.status_code, reply.json()["shard"]) == (503, 1)
            assert reply.headers["retry-after"]
            refused += 1
        assert time.monotonic() < end, f"still away after 60 s, {refused} refused"


def replica_pid(deployment: str) -> int:
    """Process of a replica, among those that this test's own cluster started."""
    titles = {process.pid: " ".join(process.cmdline()) for process in psutil.Process().children(recursive=True)}
    (found,) = (pid for pid, title in titles.items() if f"ServeReplica:texthash:{deployment}" in title)
    return found


def test_a_new_release_takes_over_without_a_failed_or_mixed_answer(
    http: httpx.Client, released: Home, service: ServiceConfig, opened: OpenRelease
) -> None:
    from texthash.service.run import serve_release

    stop = threading.Event()
    answers: list[tuple[int, str]] = []

    def load() -> None:
        while not stop.is_set():
            reply = search(http)
            answers.append((reply.status_code, reply.json().get("release", reply.text)))

    with ThreadPoolExecutor(2) as pool:
        loads = [pool.submit(load) for _ in range(2)]
        serve_release(released, service, release="r000002", route_prefix=PREFIX)
        give_up = time.monotonic() + 60
        while answers[-1][1] != "r000002" and time.monotonic() < give_up:
            time.sleep(0.1)
        stop.set()
        for finished in loads:
            finished.result()
    assert [answer for answer in answers if answer[0] != 200] == []
    assert {release for _, release in answers} == {"r000001", "r000002"}
    assert search(http).json()["index_version"] == 2
    assert np.array_equal([search(http).json()["release"] for _ in range(5)], ["r000002"] * 5)
