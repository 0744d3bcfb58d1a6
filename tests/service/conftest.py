"""A release of the small corpus, and the service over it without Ray: the same coordinator, called in this process."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from texthash.config import LimitsConfig
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.index.releases.publish import publish
from texthash.index.releases.release import OpenRelease, open_release
from texthash.index.writing.build import build_index
from texthash.paths import StateDir
from texthash.service.coordinator import Coordinator
from texthash.service.http_app import make_app
from texthash.service.problems import Problem
from texthash.service.replicas.encoder import LocalEncoder
from texthash.service.replicas.shard import ShardServer
from texthash.service.replicas.writer import Write, WriteAck, WriterServer

SHARDS = 2
_BENCHMARK = Path(__file__).parents[2] / "pipelines" / "benchmark.py"


class LocalWriter(WriterServer):
    """The writer in this process, one write at a time."""

    async def write(self, write: Write) -> WriteAck:
        (done,) = await self.write_many([write])
        if isinstance(done, Problem):
            raise done
        return done


Program = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def benchmark_of() -> Program:
    """Runs ``pipelines/benchmark.py`` over a state directory: ``benchmark_of(home, "live", "--json", "-")``."""

    def run(home: StateDir, *words: str | Path) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "TEXTHASH_HOME": str(home.root)}
        return subprocess.run(
            [sys.executable, _BENCHMARK, *words], env=environment, capture_output=True, text=True, check=False
        )

    return run


@pytest.fixture(scope="session")
def released(small_corpus: PreparedCorpus, small_hasher: Path, tmp_path_factory: pytest.TempPathFactory) -> StateDir:
    """A state directory with two releases of one model, over 2 shards; the first is current."""
    home = StateDir(tmp_path_factory.mktemp("released"))
    model = Path(shutil.copytree(small_hasher, home.root / "models" / "itq"))
    index = build_index(model, small_corpus.path, home, shards=SHARDS)
    publish(home, model, index, model_version="1", run="0123abcd", commit="c0ffee")
    publish(home, model, index, model_version="1", switch=False)
    return home


@pytest.fixture
def home(released: StateDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StateDir:
    """A copy of the state directory of the small index, which commands use."""
    monkeypatch.setenv("TEXTHASH_HOME", str(tmp_path / "home"))
    return StateDir(Path(shutil.copytree(released.root, tmp_path / "home")))


@pytest.fixture(scope="session")
def opened(released: StateDir) -> OpenRelease:
    return open_release(released)


@pytest.fixture(scope="session")
def encoder(released: StateDir, opened: OpenRelease) -> LocalEncoder:
    return LocalEncoder(str(released.root), opened.release.name)


@pytest.fixture(scope="session")
def shards(released: StateDir, opened: OpenRelease) -> list[ShardServer]:
    return [ShardServer(str(released.root), opened.release.name, number) for number in range(SHARDS)]


@pytest.fixture(scope="session")
def coordinator(
    opened: OpenRelease, encoder: LocalEncoder, shards: list[ShardServer]
) -> Callable[[LimitsConfig], Coordinator]:
    """Makes coordinators that share one encoder and one set of shards."""
    return lambda limits: Coordinator(opened.release, limits, encoder, shards)


class Asked:
    """A client that runs each request through an application, in an event loop of its own."""

    def __init__(self, app: FastAPI, root_path: str = "") -> None:
        self.app = app
        self.root_path = root_path

    async def send(self, method: str, path: str, **options: object) -> httpx.Response:
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False, root_path=self.root_path)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, path, **options)  # type: ignore[arg-type]

    def get(self, path: str, **options: object) -> httpx.Response:
        return asyncio.run(self.send("GET", path, **options))

    def post(self, path: str, body: object = None, **options: object) -> httpx.Response:
        more = {"json": body} if body is not None else {}
        return asyncio.run(self.send("POST", path, **more, **options))

    def search(self, *queries: dict[str, str], **members: object) -> httpx.Response:
        """Search by meaning, unless ``mode`` says otherwise."""
        return self.post("/v1/search", {"mode": "semantic", "queries": list(queries), **members})


@pytest.fixture(scope="session")
def asked(coordinator: Callable[[LimitsConfig], Coordinator]) -> Asked:
    return Asked(make_app(coordinator(LimitsConfig())))
