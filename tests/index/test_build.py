"""The build as a shuffle: the corpus is read once whatever the number of shards, and an interrupted build goes on."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from texthash.corpora.document import SPLITS
from texthash.corpora.prepared import row_reader
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.errors import TexthashError
from texthash.index.shard import Shard
from texthash.index.storage.shard_format import read_index, shard_path
from texthash.index.writing import build, encoded_rows
from texthash.index.writing.build import build_index
from texthash.models.hasher import Hasher
from texthash.paths import StateDir

SHARDS = 5


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Rows that were read of each file of the corpus, for encoding."""
    rows: Counter[str] = Counter()
    original = row_reader.read_parquet

    def counted(path: Path, *arguments: Any) -> Any:
        for batch in original(path, *arguments):
            rows[f"{path.parent.name}/{path.name}"] += batch.num_rows
            yield batch

    monkeypatch.setattr(row_reader, "read_parquet", counted)
    return rows


def _files(corpus: PreparedCorpus) -> dict[str, int]:
    paths = [path for name in SPLITS for path in corpus.split(name).shards]
    return {f"{path.parent.name}/{path.name}": pq.read_metadata(path).num_rows for path in paths}


def test_the_corpus_is_read_once_whatever_the_number_of_shards(
    small_corpus: PreparedCorpus, small_hasher: Path, tmp_path: Path, read: Counter[str]
) -> None:
    index = build_index(small_hasher, small_corpus.path, StateDir(tmp_path), shards=SHARDS)
    assert read == _files(small_corpus)
    assert not (index / encoded_rows.FOLDER).exists()
    manifests = read_index(index)
    assert sum(manifest.documents for manifest in manifests) == sum(read.values()) == manifests[0].next_number


def test_blocks_of_a_few_rows_make_the_same_index(
    small_corpus: PreparedCorpus, small_hasher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = build_index(small_hasher, small_corpus.path, StateDir(tmp_path / "whole"), shards=SHARDS)
    monkeypatch.setattr(encoded_rows, "_BLOCK_BYTES", 1)
    parts = build_index(small_hasher, small_corpus.path, StateDir(tmp_path / "parts"), shards=SHARDS)
    assert [manifest.checksum for manifest in read_index(parts)] == [m.checksum for m in read_index(whole)]
    for number in range(SHARDS):
        ours, theirs = (Shard.open(shard_path(index, number)) for index in (whole, parts))
        assert ours.numbers.tolist() == theirs.numbers.tolist() == sorted(ours.numbers.tolist())
        fields = ["title", "text", "labels", "code"]
        assert ours.documents(ours.numbers, fields) == theirs.documents(theirs.numbers, fields)


def test_codes_are_those_of_the_whole_split(small_corpus: PreparedCorpus, small_hasher: Path, tmp_path: Path) -> None:
    index = build_index(small_hasher, small_corpus.path, StateDir(tmp_path), shards=2)
    hasher = Hasher.load(small_hasher)
    codes = np.concatenate([hasher.encode_split(small_corpus.split(name)) for name in SPLITS])
    for number in range(2):
        shard = Shard.open(shard_path(index, number))
        found = shard.documents(shard.numbers, ["code"])
        assert [row["code"] for row in found] == [codes[number].tobytes() for number in shard.numbers]


def test_an_interrupted_build_encodes_only_the_files_that_are_missing(
    small_corpus: PreparedCorpus,
    small_hasher: Path,
    tmp_path: Path,
    read: Counter[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    home, done = StateDir(tmp_path), list[int]()
    original = build.write_shard

    def killed(*arguments: Any, **named: Any) -> Any:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(len(done))
        return original(*arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(build, "write_shard", killed)
        with pytest.raises(KeyboardInterrupt):
            build_index(small_hasher, small_corpus.path, home, shards=SHARDS)
    (index,) = home.index.iterdir()
    lost = sorted((index / encoded_rows.FOLDER).glob("train-*.arrow"))[-1]
    lost.unlink()
    read.clear()
    kept = {path: path.stat().st_mtime_ns for path in index.glob("shard-*/manifest.json")}
    assert len(kept) == 2
    build_index(small_hasher, small_corpus.path, home, shards=SHARDS)
    assert set(read) == {f"train/part-{lost.stem.partition('-')[2]}.parquet"}
    assert {path: path.stat().st_mtime_ns for path in kept} == kept, "a shard that was written is left as it is"
    assert sum(manifest.documents for manifest in read_index(index)) == sum(_files(small_corpus).values())


def test_a_corpus_without_some_of_its_texts_is_named(
    small_corpus: PreparedCorpus, small_hasher: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(small_corpus.path, tmp_path / "corpus"))
    next((copy / "train").glob("*.parquet")).unlink()
    with pytest.raises(TexthashError, match=r"the prepared split train has .* documents but the text of"):
        build_index(small_hasher, copy, StateDir(tmp_path / "home"), shards=2)
