"""`texthash search`: through the service of the state directory where one answers, else in this process."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.service.conftest import SHARDS
from tests.service.live import listening
from texthash.cluster import free_port
from texthash.config import LimitsConfig
from texthash.index.releases.release import read_release, record_of
from texthash.index.shard import Shard
from texthash.index.writing.writer_lock import WriterLock
from texthash.paths import StateDir
from texthash.service.coordinator import Coordinator
from texthash.service.http_app import make_app
from texthash.service.replicas.encoder import LocalEncoder
from texthash.service.replicas.shard import ShardServer

Cli = Callable[..., tuple[int, str, str]]
QUERY = "sort an array"


@pytest.fixture
def url(home: StateDir) -> Iterator[str]:
    """A service over it."""
    root, release = str(home.root), read_release(home)
    shards = [ShardServer(root, release.name, number) for number in range(SHARDS)]
    with listening(make_app(Coordinator(release, LimitsConfig(), LocalEncoder(root, release.name), shards))) as address:
        yield address


def sign(home: StateDir, address: str) -> WriterLock:
    """What the writer of a service does when it starts."""
    fence = WriterLock(home, read_release(home).index_uri)
    fence.acquire(address)
    return fence


def answer(run_cli: Cli, *words: str) -> tuple[dict[str, Any], str]:
    status, out, err = run_cli("search", QUERY, "--json", *words)
    assert status == 0, err
    return json.loads(out), err


@pytest.mark.parametrize(
    "more",
    [
        (),
        ("--rescore", "asymmetric"),
        ("--mode", "semantic"),
        ("--mode", "semantic", "--rescore", "asymmetric"),
        ("--mode", "keyword"),
        ("--mode", "hybrid", "--weight", "0.2"),
        ("--plan", "flat", "--limit", "500"),
    ],
)
def test_both_answer_alike(run_cli: Cli, home: StateDir, url: str, more: tuple[str, ...]) -> None:
    here, _ = answer(run_cli, "--service", "none", *more)
    fence = sign(home, url)
    shutil.move(home.root / "models", home.root / "gone")  # in this process there is no search now
    there, said = answer(run_cli, *more)
    fence.release()
    assert [hit["id"] for hit in there["hits"]] == [hit["id"] for hit in here["hits"]]
    assert there == here
    assert said == ""


def test_a_service_that_has_ended_is_not_waited_for(run_cli: Cli, home: StateDir) -> None:
    expected, _ = answer(run_cli, "--service", "none")
    port = free_port()
    sign(home, f"http://127.0.0.1:{port}").release()
    found, said = answer(run_cli)
    assert found == expected
    assert f"no service answers at http://127.0.0.1:{port}" in said
    assert "searching in this process" in said


def test_a_service_of_another_index_is_not_asked(run_cli: Cli, home: StateDir, url: str) -> None:
    ours = replace(read_release(home), created="2020-01-01T00:00:00+00:00")  # of the same name as what it serves
    (home.root / "releases" / f"{ours.name}.json").write_text(json.dumps(record_of(ours)), encoding="utf-8")
    sign(home, url).release()
    _, said = answer(run_cli)
    assert "serves another index" in said


def test_what_a_service_refuses_is_searched_here(run_cli: Cli, home: StateDir, url: str) -> None:
    sign(home, url).release()
    found, said = answer(run_cli, "--limit", "1200")
    assert len(found["hits"]) == 1200
    assert "limit=1200" in said


def test_a_service_that_was_named_has_to_answer(run_cli: Cli, home: StateDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("texthash.client.clients._FIRST_WAIT_S", 0.001)
    status, out, err = run_cli("search", QUERY, "--service", f"http://127.0.0.1:{free_port()}")
    assert (status, out) == (1, "")
    assert "no service answers" in err
    status, out, err = run_cli("search", QUERY, "--service", "127.0.0.1:8000")
    assert (status, out) == (2, "")
    assert "not the URL of a service" in err


def test_each_shard_is_read_once(run_cli: Cli, home: StateDir, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: Counter[str] = Counter()
    documents = Shard.documents

    def counted(self: Shard, *arguments: Any) -> list[dict[str, Any]]:
        reads[self.uri] += 1
        return documents(self, *arguments)

    monkeypatch.setattr(Shard, "documents", counted)
    found, _ = answer(run_cli, "--limit", "3000")
    assert len(found["hits"]) == read_release(home).documents
    assert list(reads.values()) == [1] * SHARDS
    shards = [read_release(home).open_shard(home, number) for number in range(SHARDS)]
    for hit in found["hits"][::100]:
        (stored,) = [document for shard in shards if (document := shard.document(hit["id"]))]
        assert hit["document"] == {name: stored[name] for name in ("title", "text", "labels", "attributes")}
