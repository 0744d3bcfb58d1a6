"""A bucket that asks for less load, or whose credentials expire in the middle: commands go on, or resume when repeated.

Nothing that was published is done again, and nothing that was acknowledged is lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.index.test_writer import codes, contents, documents
from tests.io.conftest import Node
from tests.io.store import Fault, Store
from tests.io.test_train_in_a_bucket import config
from texthash.config import Config
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.deployment import steps
from texthash.errors import as_user_error
from texthash.index.releases.publish import publish
from texthash.index.releases.release import read_pointer, read_release
from texthash.index.releases.verify import verify
from texthash.index.storage.shard_format import read_index
from texthash.index.writing.build import build_index
from texthash.models.files import digest
from texthash.paths import StateDir
from texthash.service.problems import Problem
from texthash.service.replicas.writer import Upsert, WriteAck, WriterServer

__all__ = ["config"]  # a fixture
EXPIRED = (400, "ExpiredToken")


def busy(every: int) -> Fault:
    """Return a fault that refuses each so-many-th request of any kind for the moment."""
    numbers = count(1)
    return lambda _: (503, "SlowDown") if next(numbers) % every == 0 else None


def expired_from(matches: Callable[[dict[str, Any]], bool], number: int) -> Fault:
    """Return a fault that refuses everything from the so-many-th request on that matches."""
    left = [number]

    def fault(request: dict[str, Any]) -> tuple[int, str] | None:
        left[0] -= left[0] > 0 and matches(request)
        return EXPIRED if not left[0] else None

    return fault


def puts(name: str) -> Callable[[dict[str, Any]], bool]:
    return lambda request: request["REQUEST_METHOD"] == "PUT" and name in request["PATH_INFO"]


def assert_expired(error: BaseException) -> None:
    shown = as_user_error(error)
    assert shown is not None, repr(error)
    assert "expired" in str(shown)
    assert "AWS_" in str(shown)


def upserted(home: StateDir, *ids: str) -> Upsert:
    return Upsert(read_release(home).content, tuple(documents(*ids)), codes(len(ids), 7), np.ones(len(ids), bool))


@pytest.mark.slow
def test_a_busy_bucket_trains_builds_and_writes_as_any(
    store: Store, node: Node, config: Config, small_corpus: PreparedCorpus, tmp_path: Path
) -> None:
    local = StateDir(tmp_path / "local")
    alone = steps.train(config, local).models[0]
    store.fault = busy(every=7)
    home = node("one")
    trained = steps.train(config, home).models[0]
    assert digest(trained.hasher) == digest(alone.hasher)
    corpus = home.corpus(*trained.edition)
    index = build_index(trained.hasher, corpus, home, shards=2)
    expected = build_index(alone.hasher, local.corpus(*alone.edition), local, shards=2)
    assert [m.checksum for m in read_index(index)] == [m.checksum for m in read_index(expected)]
    publish(home, trained.hasher, index)
    server = WriterServer(home.name, "http://127.0.0.1:9")
    width = read_release(home).bits // 8
    upsert = upserted(home, "a", "b")
    upsert = Upsert(upsert.content, upsert.documents, np.full((2, width), 7, np.uint8), upsert.known)
    (answer,) = asyncio.run(server.write_many([upsert]))
    assert isinstance(answer, WriteAck), answer
    assert {"a", "b"} <= contents(node("two")).keys()


@pytest.mark.usefixtures("undrawn")
def test_training_whose_credentials_expire_resumes_with_new_ones(
    store: Store, node: Node, config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    expected = steps.train(config, node("elsewhere")).models[0]
    home = node("one")
    store.fault = expired_from(puts("checkpoint"), 2)
    with pytest.raises(Exception) as raised:  # noqa: PT011  (the client's own error, in any of its forms)
        steps.train(config, home)
    assert_expired(raised.value)
    store.reset()
    resumed = steps.train(config, node("two")).models[0]
    assert digest(resumed.hasher) == digest(expected.hasher)


@pytest.mark.parametrize(("name", "number"), [("/.codes/", 1), ("/shard-0000/", 3), ("/shard-0001/manifest.json", 1)])
def test_a_build_whose_credentials_expire_resumes_with_new_ones(
    store: Store, node: Node, small_corpus: PreparedCorpus, small_hasher: Path, tmp_path: Path, name: str, number: int
) -> None:
    home = node("one")
    store.fault = expired_from(puts(name), number)
    with pytest.raises(Exception) as raised:  # noqa: PT011  (the client's own error, in any of its forms)
        build_index(small_hasher, small_corpus.path, home, shards=2)
    assert_expired(raised.value)
    store.reset()
    index = build_index(small_hasher, small_corpus.path, home, shards=2)
    alone = build_index(small_hasher, small_corpus.path, StateDir(tmp_path / "alone"), shards=2)
    assert [m.checksum for m in read_index(index)] == [m.checksum for m in read_index(alone)]
    assert sum(puts("manifest.json")({"REQUEST_METHOD": m, "PATH_INFO": p}) for m, p in store.requests) <= 2


@pytest.mark.parametrize("name", ["/_versions/", "/data/", "/releases/"])
def test_a_write_while_credentials_are_expired_is_refused_and_its_index_whole(
    store: Store, node: Node, small_corpus: PreparedCorpus, small_hasher: Path, name: str
) -> None:
    home = node("one")
    publish(home, small_hasher, build_index(small_hasher, small_corpus.path, home, shards=2))
    server = WriterServer(home.name, "http://127.0.0.1:9")
    (first,) = asyncio.run(server.write_many([upserted(home, "acknowledged")]))
    assert isinstance(first, WriteAck), first
    before = read_pointer(home)
    store.fault = expired_from(puts(name), 1)
    (refused,) = asyncio.run(server.write_many([upserted(home, "refused")]))
    assert isinstance(refused, Problem), refused
    assert "expired" in refused.detail.lower(), refused
    store.reset()
    assert read_pointer(home) == before, "searches go on with the release before it"
    (again,) = asyncio.run(server.write_many([upserted(home, "refused")]))
    assert isinstance(again, WriteAck), again
    found = contents(node("two"))
    assert {"acknowledged", "refused"} <= found.keys()
    assert [finding for finding in verify(home, sample=5) if not finding.ok] == []
