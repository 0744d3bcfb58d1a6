"""Prepared corpora and raw files in an object store: a local server that speaks S3."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.io.store import running
from texthash.config import CorpusConfig, TrainingConfig
from texthash.corpora.catalog import available, open_source
from texthash.corpora.find_files import find_files
from texthash.corpora.preparation.steps import prepare_corpus
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.errors import CorpusError, TexthashError, as_user_error
from texthash.executor import LocalExecutor
from texthash.io.atomic import publish_directory, whole, write_array, write_text
from texthash.io.object_store_cache import here
from texthash.paths import StateDir, as_path

Contents = Callable[[Path], dict[str, str]]
_KILLED = """
import os, signal, sys
from pathlib import Path
from texthash.config import CorpusConfig
from texthash.corpora.preparation.steps import prepare_corpus
from texthash.executor import LocalExecutor
from texthash.paths import StateDir

class Killing(LocalExecutor):
    def map(self, function, tasks):
        for result in super().map(function, tasks):
            yield result
            if sys.argv[1] in str(function):
                os.kill(os.getpid(), signal.SIGKILL)

prepare_corpus(CorpusConfig.model_validate_json(sys.argv[2]), StateDir(Path(sys.argv[3]), sys.argv[4]), Killing())
"""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a store of its own, to which the standard variables lead until the end of this file."""
    with running() as store:
        yield store.endpoint


@pytest.fixture
def bucket(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an empty bucket; what this node keeps of it is kept apart."""
    monkeypatch.setenv("TEXTHASH_CACHE", str(tmp_path / "node"))
    address = f"s3://bucket-{uuid.uuid4().hex[:12]}"
    as_path(address).mkdir()
    return address


def remote_contents(path: Path) -> dict[str, str]:
    files = (file for file in path.rglob("*") if file.is_file())
    start = len(str(path)) + 1
    return {str(file)[start:]: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_bytes_are_those_of_a_directory_and_nothing_else_is_left(
    bucket: str, small_corpus: PreparedCorpus, small_config: CorpusConfig, tmp_path: Path, contents: Contents
) -> None:
    home = StateDir(tmp_path / "root", f"{bucket}/state")
    target = prepare_corpus(small_config, home)
    assert str(target) == f"{bucket}/state/corpora/small/random60"
    assert remote_contents(target) == contents(small_corpus.path)
    everything = {str(path) for path in as_path(bucket).rglob("*") if path.is_file()}
    assert len(everything) == len(contents(small_corpus.path))
    assert prepare_corpus(small_config, home) == target


@pytest.mark.parametrize("during", ["read_part", "count_words", "write_shards"])
def test_a_preparation_that_is_killed_goes_on_where_it_was(
    bucket: str,
    small_corpus: PreparedCorpus,
    small_config: CorpusConfig,
    tmp_path: Path,
    contents: Contents,
    during: str,
) -> None:
    command = [sys.executable, "-c", _KILLED, during, small_config.model_dump_json(), str(tmp_path / "root"), bucket]
    ended = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False, timeout=120)
    assert ended.returncode == -signal.SIGKILL
    home = StateDir(tmp_path / "another-node", bucket)
    target = home.corpus("small", "random60")
    with pytest.raises(CorpusError, match="is not a prepared corpus"):
        PreparedCorpus.open(target)
    kept = remote_contents(as_path(bucket))
    asked: list[dict[str, Any]] = []

    class Recording(LocalExecutor):
        def map(self, function: Callable[..., Any], tasks: Iterable[Any], **options: Any) -> Iterator[Any]:
            tasks = list(tasks)
            asked.extend({"step": function.func.__name__, **task} for task in tasks)
            return super().map(function, tasks, **options)

    prepare_corpus(small_config, home, Recording())
    assert kept, "nothing was kept of the first run"
    assert remote_contents(target) == contents(small_corpus.path)
    steps = [task["step"] for task in asked]
    if during == "write_shards":
        assert [task["number"] for task in asked] == [1], "only the shard that was not written"
    elif during == "count_words":
        assert "read_part" not in steps


def test_training_maps_arrays_that_this_node_keeps(
    bucket: str, small_corpus: PreparedCorpus, small_config: CorpusConfig, tmp_path: Path
) -> None:
    from texthash.methods.registry import build
    from texthash.training.loop import fit

    prepare_corpus(small_config, StateDir(tmp_path / "root", bucket))
    corpus = PreparedCorpus.open(f"{bucket}/corpora/small/random60")
    assert corpus.cache.is_relative_to(tmp_path / "node")
    assert isinstance(corpus.train.counts[1], np.memmap)
    assert abs(corpus.train.matrix() - small_corpus.train.matrix()).max() == 0
    assert corpus.train.ids == small_corpus.train.ids
    tables, theirs = list(corpus.train.documents(100)), list(small_corpus.train.documents(100))
    assert [table.to_pylist() for table in tables] == [table.to_pylist() for table in theirs]
    settings = TrainingConfig(epochs=1, batch_size=64)
    losses = [
        fit(build("vdsh", c.shape, 16, {}, 0), c.train, settings).history[0].terms for c in (corpus, small_corpus)
    ]
    assert losses[0] == losses[1]
    (shard,) = (path for path in (corpus.path / "train").glob("part-00000.parquet"))
    shard.unlink()
    assert len(PreparedCorpus.open(corpus.path).train.counts[0]) == len(corpus.train) + 1, "made once"


def test_files_of_ones_own_are_fetched_once_and_again_when_they_change(
    bucket: str, small_rows: Path, small_config: CorpusConfig, tmp_path: Path
) -> None:
    lines = small_rows.read_text(encoding="utf-8").splitlines(keepends=True)
    for number, part in enumerate((lines[:800], lines[800:])):
        write_text(as_path(f"{bucket}/raw/part{number}.jsonl"), "".join(part))
    write_text(as_path(f"{bucket}/raw/.hidden/note.jsonl"), "no row")
    config = small_config.model_copy(update={"path": f"{bucket}/raw"})
    home = StateDir(tmp_path / "root")
    corpus = PreparedCorpus.open(prepare_corpus(config, home))
    assert sum(corpus.manifest.documents.values()) > 1000
    assert [file.name for file in corpus.manifest.source_files] == ["part0.jsonl", "part1.jsonl"]
    assert corpus.manifest.config.path == f"{bucket}/raw"
    fetched = sorted(path for path in home.downloads.rglob("*.jsonl") if path.is_file())
    assert [path.name for path in fetched] == ["part0.jsonl", "part1.jsonl"]
    times = [path.stat().st_mtime_ns for path in fetched]
    first = next(open_source(config, home).documents())
    assert [path.stat().st_mtime_ns for path in fetched] == times
    assert open_source(config, home).notes() == []
    assert prepare_corpus(config, home) == corpus.path

    changed = lines[0].replace(first.text[:3], first.text[:3].swapcase(), 1)
    write_text(as_path(f"{bucket}/raw/part0.jsonl"), "".join([changed, *lines[1:800]]))
    assert len(changed) == len(lines[0])
    open_source(config, home).files()
    assert fetched[0].read_text(encoding="utf-8").startswith(changed)
    assert fetched[1].stat().st_mtime_ns == times[1]
    write_text(as_path(f"{bucket}/raw/part1.jsonl"), "".join(lines[801:]))
    with pytest.raises(CorpusError, match=r"part1\.jsonl changed since"):
        prepare_corpus(config, home)


def test_objects_that_were_deleted_are_read_no_more_and_hidden_ones_are_named(
    bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prefix, home = as_path(f"{bucket}/own"), StateDir(tmp_path / "root")
    for name in ("a.txt", "deep/b.txt", "deep/c.txt", ".draft.txt", ".git/d.txt"):
        write_text(prefix / name, name)
    config = CorpusConfig(name="own", path=str(prefix))

    def names() -> list[str]:
        found = Path(here(config, home).path or "")
        return sorted(path.relative_to(found).as_posix() for path in found.rglob("*.txt"))

    assert names() == ["a.txt", "deep/b.txt", "deep/c.txt"]
    said = capsys.readouterr().err
    assert "2 hidden objects are left out" in said
    assert f"{prefix}/.draft.txt" in said
    (prefix / "deep/b.txt").unlink()
    assert names() == ["a.txt", "deep/c.txt"]
    assert f"{prefix}/deep/b.txt is not in the store any more" in capsys.readouterr().err
    write_text(prefix / "deep/b.txt", "again")
    assert names() == ["a.txt", "deep/b.txt", "deep/c.txt"]


def test_official_files_are_found_and_fetched_only_to_be_read(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = StateDir(tmp_path / "root")
    with as_path(f"{bucket}/raw/agnews.jsonl.gz").open("wb") as file:
        file.write(gzip.compress(b"{}"))
    monkeypatch.setenv("TEXTHASH_DATA", f"{bucket}/raw")
    assert available("agnews", home=home)
    assert not available("dbpedia", home=home)
    assert not home.downloads.exists()
    (found,) = find_files("agnews", (), CorpusConfig(name="agnews"), home)
    assert gzip.decompress(found.read_bytes()) == b"{}"
    with pytest.raises(CorpusError, match="nowhere is not a folder"):
        find_files("agnews", (), CorpusConfig(name="agnews", data_dir=f"{bucket}/nowhere"), home)


def test_an_object_appears_whole_or_not_at_all(bucket: str) -> None:
    path = as_path(f"{bucket}/a/array.npy")
    write_array(path, np.arange(5))

    def fail() -> None:
        with whole(path) as unfinished:
            unfinished.write_text("half")
            raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        fail()
    np.testing.assert_array_equal(np.load(io.BytesIO(path.read_bytes())), np.arange(5))


def test_a_directory_is_published_by_its_last_file_and_without_what_another_left(bucket: str) -> None:
    staged, target = as_path(f"{bucket}/staged"), as_path(f"{bucket}/target")
    for path in (staged / "x" / "a", staged / "last", target / "x" / "left"):
        write_text(path, path.name)
    publish_directory(staged, target, "last")
    assert {str(path) for path in target.rglob("*") if path.is_file()} == {f"{target}/x/a", f"{target}/last"}


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("s3://no-such-bucket-here/raw", "there is no bucket no-such-bucket"),
        ("{bucket}/none", "is not a prepared corpus"),
    ],
)
def test_what_is_not_there_is_named(bucket: str, address: str, message: str, tmp_path: Path) -> None:
    address = address.format(bucket=bucket)
    with pytest.raises(TexthashError, match=message):
        PreparedCorpus.open(f"{address}/corpora/x/y")
    with pytest.raises(CorpusError, match="does not exist, or is empty"):
        prepare_corpus(CorpusConfig(name="own", path=address), StateDir(tmp_path))


def test_a_store_that_cannot_be_reached_is_named() -> None:
    from botocore.exceptions import EndpointConnectionError

    told = as_user_error(EndpointConnectionError(endpoint_url="http://127.0.0.1:9/bucket"))
    assert told is not None
    assert "http://127.0.0.1:9/bucket" in str(told)
    assert "AWS_ENDPOINT_URL" in told.remedy


def test_the_doctor_looks_at_the_store(
    bucket: str, small_config: CorpusConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from texthash.config import Config
    from texthash.doctor import examine

    monkeypatch.delenv("TEXTHASH_DATA", raising=False)
    prepare_corpus(small_config, StateDir(tmp_path / "root", bucket))
    findings = {finding.check: finding for finding in examine(Config(), StateDir(tmp_path / "root", bucket))}
    assert findings["store"].state == "ok"
    assert "prepared: small/random60" in findings["corpora"].found
    findings = {finding.check: finding for finding in examine(Config(), StateDir(tmp_path, "s3://no-such-bucket-here"))}
    assert findings["store"].state == "wrong"
    assert "bucket does not exist" in findings["store"].found
