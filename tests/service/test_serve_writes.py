"""Writing through the service on Ray Serve: durable, seen, and safe from the death of any part."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from texthash.cli import main
from texthash.client import Client, ServiceError
from texthash.cluster import free_port
from texthash.config import LimitsConfig, ServiceConfig, TrainingConfig
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.deployment.promote import promote, roll_back
from texthash.errors import TexthashError
from texthash.index.releases.release import open_release, read_release
from texthash.index.releases.verify import verify
from texthash.index.writing.writer import IndexWriter
from texthash.index.writing.writer_lock import IndexLockedError
from texthash.methods.registry import build
from texthash.models.hasher import Hasher
from texthash.paths import StateDir
from texthash.training.loop import fit

pytestmark = pytest.mark.ray
_FOLLOWED_S = 2.0
_BACK_S = 60.0


@pytest.fixture(scope="module", params=["remote", "local"])
def placement(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def home(released: StateDir, placement: str, tmp_path_factory: pytest.TempPathFactory) -> StateDir:
    return StateDir(Path(shutil.copytree(released.root, tmp_path_factory.mktemp("writes") / "home")))


@pytest.fixture(scope="module")
def url(ray_cluster, home: StateDir, placement: str) -> Iterator[str]:
    from ray import serve

    from texthash.service.run import serve_release

    service = ServiceConfig(
        port=free_port(),
        route_prefix="/live",
        placement=placement,
        shard_replicas=2,
        limits=LimitsConfig(request_timeout_s=15.0),
    )
    yield serve_release(home, service)
    serve.shutdown()


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[Client]:
    with Client(url, retries=20) as made:
        yield made


def document(number: int | str, text: str = "a text about walruses and eigenvalues") -> dict[str, object]:
    return {"id": f"new/{number}", "text": text, "title": f"New {number}", "labels": ["new"]}


def found(client: Client, text: str) -> list[str]:
    return [hit.id for hit in client.search(text, limit=5).results[0].hits]


def test_a_write_is_found_at_once_when_asked_and_soon_otherwise(client: Client) -> None:
    text = "eigenvalues eigenvalues of a sparse matrix solver"
    before = client.info()
    done = client.upsert([document(1, text)], wait=True)
    assert (done.upserted, done.new) == (1, 1)
    assert found(client, text)[0] == "new/1"
    stored = client.document("new/1")
    assert (stored.text, stored.title, stored.labels) == (text, "New 1", ["new"])
    assert stored.index_version == done.index_version > before.release.index_version
    assert client.count().count == before.index.documents + 1

    gone = client.delete(ids=["new/1"])
    end = time.monotonic() + _FOLLOWED_S
    while client.count().index_version < gone.index_version:
        assert time.monotonic() < end, "the service did not follow"
    assert "new/1" not in found(client, text)
    with pytest.raises(ServiceError, match="no document 'new/1'"):
        client.document("new/1")


def test_a_snapshot_is_taken_and_restored(client: Client) -> None:
    client.upsert([document(number) for number in range(20)], wait=True)
    client.take_snapshot("twenty")
    assert client.delete(labels=["new"], wait=True).deleted == 20
    assert client.count(labels=["new"]).count == 0
    client.restore_snapshot("twenty")
    assert client.count(labels=["new"]).count == 20
    assert [snapshot.name for snapshot in client.snapshots().snapshots] == ["twenty"]
    with pytest.raises(ServiceError, match="no snapshot"):
        client.restore_snapshot("thirty")


def test_the_service_is_the_writer(client: Client, url: str, home: StateDir) -> None:
    client.upsert([document("held")])
    with pytest.raises(IndexLockedError) as held:
        IndexWriter.open(home)
    assert held.value.address == url


def test_the_command_line_writes_through_the_service(
    client: Client,
    home: StateDir,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TEXTHASH_HOME", str(home.root))

    def cli(*arguments: str) -> dict:
        with pytest.raises(SystemExit) as ended:
            main(["index", *arguments])
        assert ended.value.code == 0
        return json.loads(capsys.readouterr().out)

    client.upsert([document("before")], wait=True)
    before = client.count().count
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps({**document(n), "labels": ["cli"]}) + "\n" for n in range(300)))
    put = cli("upsert", str(file))
    assert (put["upserted"], put["documents"] - before) == (300, put["new"])
    assert client.count(labels=["cli"]).count == 300
    documents = [{**document(n), "id": f"twice/{n % 600}"} for n in range(601)]
    file.write_text("".join(json.dumps(row) + "\n" for row in documents))
    with pytest.raises(SystemExit) as ended:
        main(["index", "upsert", str(file)])
    said = capsys.readouterr().err
    assert ended.value.code == 1
    assert f"{file}:601: the id 'twice/0' occurs twice (first: {file}:1)" in said
    assert client.count().count == put["documents"]
    cli("snapshot", "cli")
    assert cli("delete", *[f"new/{n}" for n in range(290)])["deleted"] == 290
    assert cli("delete", "--label", "cli")["documents"] == put["documents"] - 300
    assert cli("restore", "cli")["documents"] == put["documents"] == cli("compact")["documents"]
    assert client.count(labels=["cli"]).count == 300


@pytest.mark.parametrize("part", ["writer", "shard-0", pytest.param("encoder", marks=pytest.mark.slow), "ingress"])
def test_no_acknowledged_write_is_lost_when_a_part_is_killed(client: Client, part: str, placement: str) -> None:
    """Writers go on while a part is killed; what was acknowledged is there, in the service and on disk."""
    if placement == "local" and part in ("shard-0", "encoder"):
        pytest.skip("a local part has no process of its own")
    stop = threading.Event()
    acknowledged: list[str] = []

    def write(worker: int) -> None:
        number = 0
        while not stop.is_set():
            name = f"{part}/{worker}/{number}"
            client.upsert([document(name)])
            acknowledged.append(f"new/{name}")
            number += 1

    with ThreadPoolExecutor(2) as pool:
        writers = [pool.submit(write, worker) for worker in range(2)]
        time.sleep(0.5)
        for pid in sorted(replica_pids(part))[:1]:
            os.kill(pid, signal.SIGKILL)
        killed = len(acknowledged)
        end = time.monotonic() + _BACK_S
        while len(acknowledged) < killed + 10 and time.monotonic() < end:
            time.sleep(0.1)
        stop.set()
        for finished in writers:
            finished.result()
    assert len(acknowledged) >= killed + 10, f"no writes {_BACK_S} s after {part} was killed"
    client.upsert([document("last")], wait=True)
    assert all(client.document(name).id == name for name in acknowledged)


def replica_pids(part: str) -> list[int]:
    """Processes of the replicas of a part, among those that this test's own cluster started."""
    titles = {process.pid: " ".join(process.cmdline()) for process in psutil.Process().children(recursive=True)}
    return [pid for pid, title in titles.items() if f"ServeReplica:texthash:{part}" in title]


def test_what_was_acknowledged_is_on_disk(client: Client, home: StateDir) -> None:
    expected = client.count().count
    opened = open_release(home)
    assert sum(len(shard) for shard in opened.shards) == expected == read_release(home).documents
    with pytest.raises(TexthashError, match="already"):
        client.take_snapshot("twenty")


@pytest.fixture(scope="module")
def other_model(small_corpus: PreparedCorpus, home: StateDir) -> Path:
    method = fit(build("lsh", small_corpus.shape, 32), small_corpus.train, TrainingConfig()).method
    return Hasher.of(method, small_corpus).save(home.root / "models" / "lsh")


def test_models_are_exchanged_without_a_failed_or_mixed_answer_and_without_a_lost_write(
    client: Client, url: str, home: StateDir, other_model: Path
) -> None:
    """Readers and writers go on while another model takes over, and while it is taken back."""
    stop = threading.Event()
    answers: set[tuple[str, str]] = set()
    written: list[str] = []
    text = "sort the values of an array"
    with Client(url, retries=0) as impatient:

        def read() -> None:
            while not stop.is_set():
                reply = impatient.search(text, limit=1)
                answers.add((reply.release, reply.results[0].code))

        def write(worker: int) -> None:
            number = 0
            while not stop.is_set():
                impatient.upsert([document(f"swap/{worker}/{number}")])
                written.append(f"new/swap/{worker}/{number}")
                if number % 3 == 2:
                    impatient.delete(ids=[f"new/swap/{worker}/{number - 1}"])
                    written.remove(f"new/swap/{worker}/{number - 1}")
                number += 1

        def until(method: str) -> None:
            end, count = time.monotonic() + _BACK_S, len(written)
            while impatient.info().model.method != method or len(written) < count + 3:
                assert time.monotonic() < end, f"the service did not move to {method}"
                time.sleep(0.05)

        with ThreadPoolExecutor(4) as pool:
            loads = [*(pool.submit(read) for _ in range(2)), *(pool.submit(write, worker) for worker in range(2))]
            try:
                until("itq")
                promote(home, other_model)
                until("lsh")
                roll_back(home)
                until("itq")
            finally:
                stop.set()
            for finished in loads:
                finished.result()
    hashers = [read_release(home).open_hasher(home), Hasher.load(other_model)]
    codes = {hasher.encode([text], role="query")[0].tobytes().hex() for hasher in hashers}
    assert {code for _, code in answers} == codes
    assert len(codes) == 2
    assert len({name for name, _ in answers}) == len(answers), "one release answered by two models"
    client.upsert([document("last")], wait=True)
    assert all(client.document(name).id == name for name in written)
    assert client.count().count == read_release(home).documents
    assert [finding for finding in verify(home) if not finding.ok] == []
