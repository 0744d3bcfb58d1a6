"""The service on Ray Serve: a real application on a free port, with a key, real HTTP."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import grpc
import httpx
import numpy as np
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

import texthash
from tests.service.browser import browse_or_skip
from texthash.cluster import free_port
from texthash.config import LimitsConfig, ServiceConfig
from texthash.errors import TexthashError
from texthash.index.memory.hits import merge
from texthash.index.releases.release import OpenRelease
from texthash.index.rescoring import search_rescored
from texthash.paths import StateDir
from texthash.service.middleware.auth import KEY_VARIABLE
from texthash.service.rpc import PROBLEM, message

pytestmark = pytest.mark.ray
PREFIX = "/find"
KEY = "the-key-of-this-test"
SECRET = "walruswalrus"  # no word of the model
LABELS = {"route", "status", "plan", "shard", "le", "version", "model", "method", "bits"}
TEXTS = ["sort the values of an array", "plot a figure", "read a file", "fit a linear model", "merge two tables"]


@pytest.fixture(scope="module", params=["remote", "local"])
def service(request: pytest.FixtureRequest) -> ServiceConfig:
    return ServiceConfig(
        port=free_port(),
        route_prefix=PREFIX,
        grpc_port=free_port(),
        placement=request.param,
        limits=LimitsConfig(request_timeout_s=15.0),
    )


def start(home: StateDir, service: ServiceConfig, release: str = "current") -> str:
    """Serve a release from a task that has the key in its environment, as a job has that is given it."""
    import ray

    from texthash.service.run import serve_release

    # A worker process that is used again would still know the Serve of another placement, which has been shut down.
    keyed = ray.remote(num_cpus=0, max_calls=1, runtime_env={"env_vars": {KEY_VARIABLE: KEY}})(serve_release)
    return ray.get(keyed.remote(home, service, release=release))


@pytest.fixture(scope="module")
def url(ray_cluster, released: StateDir, service: ServiceConfig) -> Iterator[str]:
    from ray import serve

    yield start(released, service)
    serve.shutdown()


@pytest.fixture(scope="module")
def http(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=30.0, headers={"authorization": f"Bearer {KEY}"}) as client:
        yield client


def search(http: httpx.Client, text: str = TEXTS[0], **members: object) -> httpx.Response:
    return http.post("/v1/search", json={"mode": "semantic", "queries": [{"text": text}], **members})


def logged() -> str:
    """What the newest ingress has written to its log."""
    import ray

    folder = Path(ray._private.worker._global_node.get_logs_dir_path()) / "serve"
    files = sorted(folder.glob("replica_texthash_ingress_*.log"), key=lambda path: path.stat().st_mtime)
    return files[-1].read_text(encoding="utf-8")


@dataclass
class Numbers:
    """What ``GET /metrics`` says: each series by its name and those of its labels that are ours, over all processes."""

    samples: dict[tuple[str, ...], float]

    @classmethod
    def read(cls, http: httpx.Client) -> Numbers:
        reply = http.get("/metrics")
        assert reply.status_code == 200, reply.text
        samples: dict[tuple[str, ...], float] = {}
        for family in text_string_to_metric_families(reply.text):
            assert family.name.startswith("ray_texthash_")
            for sample in family.samples:
                name = sample.name.removeprefix("ray_texthash_")
                ours = [value for label, value in sorted(sample.labels.items()) if label in LABELS]
                samples[name, *ours] = samples.get((name, *ours), 0.0) + sample.value
        return cls(samples)

    def since(self, other: Numbers) -> dict[tuple[str, ...], float]:
        return {key: value - other.samples.get(key, 0.0) for key, value in self.samples.items()}


def test_key_numbers_and_log_of_a_few_requests(
    http: httpx.Client, url: str, service: ServiceConfig, opened: OpenRelease
) -> None:
    before = Numbers.read(http)
    for given in ({}, {"authorization": f"Bearer {KEY}x"}):
        refused = httpx.post(f"{url}/v1/search", json={"queries": [{"text": TEXTS[0]}]}, headers=given)
        assert (refused.status_code, refused.json()["status"]) == (401, 401)
        assert httpx.get(f"{url}/metrics", headers=given).status_code == 401
    assert httpx.get(f"{url}/health/ready").status_code == 200
    ids = [f"request-{number}" for number in range(7)]
    bodies = [{"queries": [{"text": text}], "mode": "semantic"} for text in TEXTS[:3]]
    bodies += [{"queries": [{"text": text} for text in TEXTS[:2]], "mode": "semantic", "params": {"plan": "mih"}}]
    bodies += [{"queries": [{"text": f"{SECRET} qqqq"}], "mode": "semantic"}]
    bodies += [{"queries": [{"text": SECRET}], "limit": 5000}]
    replies = [
        http.post("/v1/search", json=body, headers={"x-request-id": id})
        for body, id in zip(bodies, ids[:-1], strict=True)
    ]
    replies.append(http.get(f"/v1/documents/{SECRET}", headers={"x-request-id": ids[-1]}))
    assert [reply.status_code for reply in replies] == [200] * 5 + [422, 404]
    assert [reply.headers["x-request-id"] for reply in replies] == ids

    documents = len(opened.shards[0]) + len(opened.shards[1])
    expected = {
        ("requests_total", "/v1/search", "200"): 5,
        ("requests_total", "/v1/search", "422"): 1,
        ("requests_total", "/v1/documents/{id:any}", "404"): 1,
        ("requests_total", "none", "401"): 4,
        ("request_duration_seconds_count", "/v1/search"): 6,
        ("batch_size_count",): 5,
        ("batch_size_bucket", "1.0"): 5,
        ("encode_duration_seconds_count",): 5,
        ("queries_total", "flat"): 3,
        ("queries_total", "none"): 1,
        ("candidates_total", "flat"): 3 * documents,
        ("search_duration_seconds_count", "flat"): 3,
        ("shard_duration_seconds_count", "0"): 4,
        ("shard_duration_seconds_count", "1"): 4,
    }
    for shard in opened.shards:  # makes the tables, as the query by that plan did there
        shard.search(np.zeros((1, 4), np.uint8), 1, plan="mih")
        shard.keywords.prepare()
    release = opened.release
    state = {
        ("index_version",): release.version,
        ("min_free_bytes",): service.limits.min_free_bytes,
        ("build_info", "32", "itq", release.model, texthash.__version__): 1,
        **{("index_documents", str(place)): len(shard) for place, shard in enumerate(opened.shards)},
        **{("index_bytes", str(place)): shard.size_bytes for place, shard in enumerate(opened.shards)},
    }
    end = time.monotonic() + 20.0
    while True:  # each process reports every two seconds here
        now = Numbers.read(http)
        moved = now.since(before)
        seen = {key: moved.get(key) for key in expected} | {key: now.samples.get(key) for key in state}
        if seen == expected | state or time.monotonic() > end:
            break
        time.sleep(0.3)
    assert seen == expected | state
    assert now.samples[("free_bytes",)] > 0
    assert sum(value for key, value in moved.items() if key[0] == "queries_total") == 6

    text = logged()
    lines = [json.loads(line) for line in text.splitlines()]
    assert all(line["levelname"] and line["asctime"] for line in lines)
    told = {line["request_id"]: line for line in lines if line["message"] == "request"}
    assert [told[id]["status"] for id in ids] == [reply.status_code for reply in replies]
    assert {told[id]["route"] for id in ids} == {"/v1/search", "/v1/documents/{id:any}"}
    assert {told[id]["method"] for id in ids} == {"POST", "GET"}
    assert all(0 < told[id]["ms"] < 1e3 * service.limits.request_timeout_s for id in ids)
    assert not any("task_name" in line for line in told.values())
    for secret in (SECRET, KEY, *TEXTS):
        assert secret not in text


def test_rescored_hits_are_those_of_the_library(http: httpx.Client, opened: OpenRelease) -> None:
    texts = ["sort the values of an array", "plot a figure"]
    values = opened.hasher.read(texts, role="query").values
    codes, margins = opened.hasher.binarize(values), opened.hasher.query_values(values)
    expected = search_rescored(opened.shards, codes, margins, 5, oversample=8)
    body = {"queries": [{"text": text} for text in texts], "limit": 5, "mode": "semantic"}
    reply = http.post("/v1/search", json={**body, "rescore": {"kind": "asymmetric", "oversample": 8}})
    assert reply.status_code == 200, reply.text
    for query, result in enumerate(reply.json()["results"]):
        assert [hit["score"] for hit in result["hits"]] == expected.scores[query].tolist()
        assert [hit["distance"] for hit in result["hits"]] == expected.hits.distances[query].tolist()


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


def test_grpc_answers_as_http_does(http: httpx.Client, service: ServiceConfig) -> None:
    bearer = (("authorization", f"Bearer {KEY}"),)
    with grpc.insecure_channel(f"127.0.0.1:{service.grpc_port}") as channel:
        ask = channel.unary_unary(
            "/texthash.v1.Texthash/Search",
            request_serializer=message("SearchRequest").SerializeToString,
            response_deserializer=message("SearchReply").FromString,
        )
        found = ask(
            message("SearchRequest")(queries=[{"text": TEXTS[0]}], mode="semantic", limit=7),
            metadata=bearer,
            timeout=30,
        )
        wanted = search(http, TEXTS[0], limit=7).json()
        hits = [(hit.id, hit.distance, hit.document.title) for hit in found.results[0].hits]
        assert hits == [(hit["id"], hit["distance"], hit["document"]["title"]) for hit in wanted["results"][0]["hits"]]
        assert found.release == wanted["release"]
        problems = (("INVALID_ARGUMENT", 5000, bearer, "limit-too-large"), ("UNAUTHENTICATED", 7, (), "unauthorized"))
        for code, limit, metadata, kind in problems:
            with pytest.raises(grpc.RpcError) as raised:
                ask(message("SearchRequest")(queries=[{"text": "x"}], limit=limit), metadata=metadata, timeout=30)
            assert dict(raised.value.trailing_metadata())[PROBLEM] == kind
            assert raised.value.code().name == code


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


def test_a_vector_that_the_model_cannot_read_is_a_problem_of_the_encoder(http: httpx.Client) -> None:
    reply = http.post("/v1/search", json={"queries": [{"vector": [0.5, 1.0]}]})
    assert (reply.status_code, reply.json()["type"]) == (409, f"{PREFIX}/problems/vector-mismatch")
    assert "has not learned from vectors" in reply.json()["detail"]


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


def test_a_port_that_is_not_serves_own_is_refused(url: str, released: StateDir, service: ServiceConfig) -> None:
    from texthash.service.run import serve_release

    with pytest.raises(TexthashError, match="already listens"):
        serve_release(released, ServiceConfig(port=service.port % 60000 + 1))


@pytest.mark.browser
def test_a_person_types_and_sees_hits(http: httpx.Client, url: str, tmp_path: Path) -> None:
    with browse_or_skip() as page:
        page.open(f"{url}?")
        page.wait("document.querySelector('#key-form')")
        page.run(f"document.querySelector('#key').value = '{KEY}'; document.querySelector('#key-form').requestSubmit()")
        page.wait("document.querySelector('#facts').textContent.includes('documents of')")
        page.type("sort an array of values")
        page.wait("document.querySelectorAll('.hit').length === 10")
        page.wait("document.querySelector('#said').textContent.includes('10 best')")
        assert page.run("document.querySelectorAll('.hit svg.bits').length") == 10
        first = page.run("document.querySelector('.hit .bits').getAttribute('aria-label')")
        differ = page.run("document.querySelector('.hit .far b').textContent")
        assert first == f"{32 - int(differ)} of 32 bits match the query"
        cells = page.run("document.querySelector('.hit .bits .differ').getAttribute('d').split('M').length - 1")
        assert cells == int(differ)
        assert page.run("[...document.querySelectorAll('.key')].map(key => key.textContent.split(' ')[0]).join()") == (
            "encode,search,merge,round"
        )
        assert page.run("[...document.querySelectorAll('details:not(#facets)')].every(part => !part.open)")
        page.screenshot(tmp_path / "light.png")

        page.press("ArrowDown")
        assert page.run("document.activeElement.dataset.place") == "0"
        page.press("ArrowDown")
        page.press("ArrowUp")
        page.press("ArrowUp")
        assert page.run("document.activeElement.id") == "q"

        label = page.run("document.querySelector('#facet-groups .chip span').textContent")
        page.run("document.querySelector('#facet-groups .chip').click()")
        page.wait("!document.querySelector('#active').hidden")
        page.wait(
            "[...document.querySelectorAll('.hit')].every(hit => [...hit.querySelectorAll('.label')]"
            f".some(chip => chip.textContent === {label!r}))"
        )
        page.press("Escape")
        page.wait("document.querySelectorAll('.hit').length === 0")
        page.type("qqqq")
        page.wait("document.querySelector('#note').textContent.includes('knows none of these words')")
        assert page.failures == []

        page.open(f"{url}/?q=plot+a+figure&mode=semantic&order=finer", width=380, dark=True)
        page.wait("document.querySelectorAll('.hit').length === 10")
        assert page.run("document.querySelector('.hit .far').textContent.includes('score')")
        title = page.run("document.querySelectorAll('.hit .title')[1].textContent")
        page.run("document.querySelectorAll('.hit .like')[1].click()")
        page.wait("location.search.includes('like=')")
        page.wait("document.querySelector('.hit .far b').textContent === '0'")  # of a document by itself
        assert title in page.run("document.querySelector('#q').placeholder")
        page.run("history.back()")
        page.wait("document.querySelector('#q').value === 'plot a figure'")
        page.wait("document.querySelector('.hit .far').textContent.includes('score')")
        assert page.run("document.querySelector('#curl').textContent").startswith(f"curl -s '{url}/v1/search'")
        page.open(f"{url}/?", width=380, dark=True)
        page.wait("document.querySelectorAll('.note .start').length === 4")
        page.run("document.querySelector('.note .start').click()")
        page.wait("document.querySelectorAll('.hit').length === 10")
        assert page.failures == []
        page.run("for (const part of document.querySelectorAll('details')) part.open = true")
        for place in ("#query-code span", ".hit .label", ".hit h2"):  # names of functions and modules can be long
            page.run(f"document.querySelector('{place}').textContent = 'a.name.of.many.parts.'.repeat(9)")
        assert page.run("document.documentElement.scrollWidth") <= 380
        page.screenshot(tmp_path / "dark-narrow.png")


def test_a_killed_shard_comes_back_and_is_named_meanwhile(http: httpx.Client, service: ServiceConfig) -> None:
    """Its process is killed; requests are answered in full or refused by name, and none hangs."""
    if service.placement == "local":
        pytest.skip("a local shard has no process of its own")
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


def test_a_killed_ingress_loses_only_its_own_requests(http: httpx.Client) -> None:
    before = search(http).json()["results"]
    os.kill(replica_pid("ingress"), signal.SIGKILL)
    end = time.monotonic() + 60
    while True:
        assert time.monotonic() < end, "still away after 60 s"
        try:
            reply = search(http)
        except httpx.TransportError:
            continue
        if reply.status_code == 200:
            assert reply.json()["results"] == before
            if http.get("/health/ready").status_code == 200:
                break
        time.sleep(0.1)


def replica_pid(deployment: str) -> int:
    """Process of a replica, among those that this test's own cluster started."""
    titles = {process.pid: " ".join(process.cmdline()) for process in psutil.Process().children(recursive=True)}
    (found,) = (pid for pid, title in titles.items() if f"ServeReplica:texthash:{deployment}" in title)
    return found


@pytest.mark.parametrize("service", [pytest.param("remote", marks=pytest.mark.slow), "local"], indirect=True)
def test_a_new_release_takes_over_without_a_failed_or_mixed_answer(
    http: httpx.Client, released: StateDir, service: ServiceConfig, opened: OpenRelease
) -> None:
    stop = threading.Event()
    answers: list[tuple[int, str]] = []

    def load() -> None:
        while not stop.is_set():
            reply = search(http)
            answers.append((reply.status_code, reply.json().get("release", reply.text)))

    with ThreadPoolExecutor(2) as pool:
        loads = [pool.submit(load) for _ in range(2)]
        start(released, service, release="r000002")
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
