"""Shards on disk and in memory: exact whatever the split, and refused when they do not fit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from texthash.errors import ModelMismatchError, TexthashError
from texthash.index.filters.language import Labels
from texthash.index.memory.hits import merge
from texthash.index.shard import Shard
from texthash.index.storage.arrow_schema import schema
from texthash.index.storage.shard_format import (
    FORMAT_VERSION,
    ShardIdentity,
    Vectors,
    deal,
    read_index,
    read_manifest,
    shard_of,
    shard_path,
    write_shard,
)


def rows(
    codes: np.ndarray,
    labels: list[list[str]],
    numbers: np.ndarray | None = None,
    vectors: np.ndarray | None = None,
) -> pa.Table:
    count, width = codes.shape
    ids = [f"doc '{i}'" for i in range(count)]
    columns = {
        "number": pa.array(np.arange(count) if numbers is None else numbers),
        "id": ids,
        "title": [f"title of {name}" for name in ids],
        "text": [f"text of {name}" for name in ids],
        "labels": pa.array(labels, pa.list_(pa.string())),
        "code": pa.array([row.tobytes() for row in codes], pa.binary(width)),
        "known_words": pa.array([None] * count, pa.bool_()),
    }
    if vectors is None:
        return pa.table(columns).cast(schema(8 * width))
    columns["vector"] = pa.array(list(vectors), pa.list_(pa.float16(), vectors.shape[1]))
    return pa.table(columns).cast(schema(8 * width, vectors.shape[1]))


def write(index: Path, table: pa.Table, shards: int, model: str = "m" * 64) -> list[Shard]:
    bits = 8 * table.schema.field("code").type.byte_width
    kept = "vector" in table.schema.names
    for shard in range(shards):
        identity = ShardIdentity(
            shard=shard,
            shards=shards,
            bits=bits,
            model=model,
            vocabulary_hash="v" * 64,
            vectors=Vectors("features", table.schema.field("vector").type.list_size) if kept else None,
        )
        mine = deal(table.to_batches(max_chunksize=7), shard, shards)
        write_shard(shard_path(index, shard), mine, identity, table.num_rows)
    return [Shard.open(shard_path(index, shard)) for shard in range(shards)]


def brute_force(
    codes: np.ndarray, numbers: np.ndarray, query: np.ndarray, allowed: np.ndarray, radius: int | None
) -> list[tuple[int, int]]:
    distances = np.bitwise_count(codes ^ query).sum(axis=1)
    found = [
        (int(d), int(n))
        for d, n, ok in zip(distances, numbers, allowed, strict=True)
        if ok and (radius is None or d <= radius)
    ]
    return sorted(found)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_split_into_shards_gives_the_exact_answer(data: st.DataObject, tmp_path_factory) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    count, width = data.draw(st.integers(1, 60)), data.draw(st.integers(1, 9))
    # Few different bytes, so that equal distances abound.
    codes = rng.integers(0, data.draw(st.sampled_from([2, 4, 256])), (count, width), dtype=np.uint8)
    numbers = rng.permutation(count * 3)[:count].astype(np.int64)
    names = ["a", "b", "c"]
    labels = [[name for name in names if rng.random() < 0.4] for _ in range(count)]
    wanted = data.draw(st.none() | st.lists(st.sampled_from([*names, "unknown"]), min_size=1, max_size=3))
    radius = data.draw(st.none() | st.integers(0, 8 * width))
    limit, offset = data.draw(st.integers(1, 70)), data.draw(st.integers(0, 20))
    shards = write(tmp_path_factory.mktemp("index"), rows(codes, labels, numbers), data.draw(st.integers(1, 4)))
    queries = rng.integers(0, 256, (3, width), dtype=np.uint8)

    where = None if wanted is None else Labels(tuple(wanted))
    parts = [shard.search(queries, limit + offset, radius=radius, where=where) for shard in shards]
    hits, owners = merge(parts, limit, offset)

    allowed = np.array([wanted is None or bool(set(own) & set(wanted)) for own in labels])
    for row, query in enumerate(queries):
        expected = brute_force(codes, numbers, query, allowed, radius)
        found = list(zip(hits.distances[row].tolist(), hits.numbers[row].tolist(), strict=True))
        assert found == expected[offset : offset + limit]
        for number, owner in zip(hits.numbers[row], owners[row], strict=True):
            assert number in shards[owner].numbers
        if radius is not None:
            totals = [shard.total_within_radius(queries, radius, where=where)[row] for shard in shards]
            assert sum(totals) == len(expected)


@pytest.fixture
def shard(tmp_path: Path) -> Shard:
    codes = np.arange(40, dtype=np.uint8).reshape(10, 4)
    labels = [["even"] if i % 2 == 0 else [] for i in range(10)]
    return write(tmp_path, rows(codes, labels, np.arange(10)[::-1] * 2), 1)[0]


def test_documents_come_in_the_order_asked(shard: Shard) -> None:
    found = shard.documents([4, 0, 4], ["title", "labels", "code"])
    assert [document["id"] for document in found] == ["doc '7'", "doc '9'", "doc '7'"]
    assert found[0] == {
        "id": "doc '7'",
        "title": "title of doc '7'",
        "labels": [],
        "code": bytes([28, 29, 30, 31]),
    }


def test_documents_that_are_not_there_are_refused(shard: Shard) -> None:
    with pytest.raises(TexthashError, match="does not hold"):
        shard.documents([1], ["title"])
    with pytest.raises(TexthashError, match="no field colour"):
        shard.documents([0], ["colour"])


def test_stored_codes_are_found_by_id(shard: Shard) -> None:
    assert shard.codes_of(["doc '3'", "unknown"]) == {"doc '3'": (bytes([12, 13, 14, 15]), True)}


def test_a_shard_without_documents_answers(tmp_path: Path) -> None:
    empty = write(tmp_path, rows(np.empty((0, 4), np.uint8), []), 1)[0]
    empty.warmup()
    query = np.zeros((2, 4), np.uint8)
    assert [len(numbers) for numbers in empty.search(query, 5, where=Labels(("a",))).numbers] == [0, 0]
    assert empty.codes_of(["a"]) == {}


def test_a_query_of_another_width_is_refused(shard: Shard) -> None:
    with pytest.raises(ModelMismatchError, match="64"):
        shard.search(np.zeros((1, 8), np.uint8), 3)


def test_ids_are_dealt_the_same_everywhere() -> None:
    assert [shard_of(name, 4) for name in ("a", "b", "c", "d", "é")] == [3, 1, 3, 3, 3]


def test_a_format_of_the_future_is_refused_and_left_alone(shard: Shard, tmp_path: Path) -> None:
    manifest = shard_path(tmp_path, 0) / "manifest.json"
    changed = json.dumps({**json.loads(manifest.read_text()), "format": FORMAT_VERSION + 1, "unknown": 1})
    manifest.write_text(changed)
    with pytest.raises(TexthashError, match="upgrade texthash"):
        Shard.open(shard_path(tmp_path, 0))
    assert manifest.read_text() == changed


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 1}'])
def test_a_broken_manifest_is_refused(shard: Shard, tmp_path: Path, content: str) -> None:
    (shard_path(tmp_path, 0) / "manifest.json").write_text(content)
    with pytest.raises(TexthashError, match=r"manifest|format"):
        read_manifest(shard_path(tmp_path, 0))


@pytest.mark.parametrize("kept", [0, 1000, -1])
def test_a_damaged_file_is_named(shard: Shard, tmp_path: Path, kept: int) -> None:
    copy = Path(shutil.copytree(shard.uri, tmp_path / "copy"))
    for file in (copy / "documents.lance" / "data").glob("*.lance"):
        file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(TexthashError, match=r"copy is damaged: .* bytes instead of .*\n.*restore a backup"):
        Shard.open(copy)


def test_a_version_that_does_not_exist_is_refused(shard: Shard, tmp_path: Path) -> None:
    with pytest.raises(TexthashError, match="version 99"):
        Shard.open(shard_path(tmp_path, 0), 99)


def test_a_missing_or_foreign_shard_is_named(tmp_path: Path) -> None:
    table = rows(np.zeros((20, 4), np.uint8), [[] for _ in range(20)])
    write(tmp_path / "one", table, 2)
    write(tmp_path / "two", table, 2, model="n" * 64)
    second = shard_path(tmp_path / "one", 1)
    second.rename(tmp_path / "away")
    with pytest.raises(TexthashError, match=r"no shard at .*shard-0001"):
        read_index(tmp_path / "one")
    shard_path(tmp_path / "two", 1).rename(second)
    with pytest.raises(ModelMismatchError, match="shard-0001"):
        read_index(tmp_path / "one")


def test_a_shard_is_never_overwritten(shard: Shard, tmp_path: Path) -> None:
    with pytest.raises(TexthashError, match="exists already"):
        write(tmp_path, rows(np.zeros((1, 4), np.uint8), [[]]), 1)
    assert len(Shard.open(shard_path(tmp_path, 0))) == 10


def test_nothing_is_left_of_a_build_whose_source_fails(tmp_path: Path) -> None:
    def broken():
        yield rows(np.zeros((3, 4), np.uint8), [[]] * 3).to_batches()[0]
        raise OSError("input/output error")

    identity = ShardIdentity(shard=0, shards=1, bits=32, model="m", vocabulary_hash="v")
    with pytest.raises(TexthashError, match="shard is made of cannot be read: input/output error"):
        write_shard(tmp_path / "shard", broken(), identity, 3)
    assert list(tmp_path.iterdir()) == []
