"""Shards mapped from a file of the node: the same answers as from memory, and no other file is taken for it."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from tests.index.test_following import assert_same
from tests.index.test_writer import built, codes, documents, home
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.index import shard as shards
from texthash.index.keywords.stored_terms import StoredTerms
from texthash.index.mapped_contents import MappedFiles
from texthash.index.releases.publish import publish
from texthash.index.releases.release import read_release
from texthash.index.search import SearchOptions, search_index
from texthash.index.shard import Shard
from texthash.index.writing.build import build_index
from texthash.index.writing.writer import IndexWriter
from texthash.paths import StateDir, node_cache

__all__ = ["built", "home"]  # fixtures


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEXTHASH_CACHE", str(tmp_path / "cache"))


def opened(home: StateDir, most_bytes: int = 10**8, *, apart: bool = False) -> Shard:
    files = MappedFiles(most_bytes, apart=apart, least_documents=0)
    return read_release(home).open_shard(home, 0, files=files)


def made() -> list[Path]:
    return sorted((node_cache() / "shards").rglob("*.arrays"))


def is_mapped(path: Path) -> bool:
    return str(path) in Path("/proc/self/maps").read_text()


def words_of(shard: Shard, text: str) -> tuple[list[int], list[float] | None]:
    page = search_index([shard], SearchOptions(mode="keyword"), terms=shard.keywords.query(text)).page
    return page.numbers.tolist(), page.scores


@pytest.mark.parametrize("apart", [False, True])
def test_a_mapped_shard_is_the_shard_in_memory(home: StateDir, apart: bool) -> None:
    plain, first = read_release(home).open_shard(home, 0), opened(home, apart=apart)
    (file,) = made()
    assert is_mapped(file)
    changed = file.stat().st_mtime_ns
    for shard in (first, opened(home)):
        assert_same(shard, plain)
        shard.warmup()
        assert_same(shard, plain)
        assert words_of(shard, "sort an array") == words_of(plain, "sort an array")
    assert [path.stat().st_mtime_ns for path in made()] == [changed]


@pytest.mark.parametrize("seed", range(2))
def test_a_mapped_shard_follows_writes(home: StateDir, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "_FEW_ROWS", 60 if seed else 65_536)  # some changes are too many to follow
    rng, shard = random.Random(seed), opened(home)
    shard.keywords.prepare()
    some = [row["id"] for row in shard.documents(shard.numbers[:80], [])]
    with IndexWriter.open(home) as writer:
        for step in range(5):
            writer.upsert(documents(*rng.sample(some, 20), f"new {step}", text="sort"), codes(21, step))
            writer.delete(ids=rng.sample(some, 20))
            if step == 3:
                writer.compact()
            state = writer.release.shards[0]
            shard = shard.advanced(state.version, state.checksum)
            plain = writer.release.open_shard(home, 0)
            for own in (shard, opened(home)):
                assert_same(own, plain)
                assert words_of(own, "sort the text") == words_of(plain, "sort the text")


@pytest.mark.parametrize("damage", ["truncated", "changed", "of another version"])
def test_a_damaged_file_is_made_again(home: StateDir, damage: str) -> None:
    plain = read_release(home).open_shard(home, 0)
    opened(home)
    (file,) = made()
    content = file.read_bytes()
    if damage == "of another version":
        with IndexWriter.open(home) as writer:
            writer.upsert(documents(*(f"new {number}" for number in range(9))), codes(9))
        assert opened(home) is not None
        (newer,) = made()
        file, content = newer, content
        plain = read_release(home).open_shard(home, 0)
    middle = len(content) // 2
    file.write_bytes(
        {
            "truncated": content[:middle],
            "changed": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
            "of another version": content,
        }[damage]
    )
    assert_same(opened(home), plain)
    assert file.read_bytes() != content or damage != "of another version"


def test_an_index_built_again_under_the_same_name_has_its_own_file(
    home: StateDir, small_corpus: PreparedCorpus, small_hasher: Path
) -> None:
    opened(home)
    before = made()
    shutil.rmtree(home.root / "index")
    publish(home, small_hasher, build_index(small_hasher, small_corpus.path, home, shards=2))
    shard = opened(home)
    assert shard.documents(shard.numbers[:3], ["title"]) == read_release(home).open_shard(home, 0).documents(
        shard.numbers[:3], ["title"]
    )
    assert len(made()) == len(before) == 1


def test_files_that_nobody_holds_go_with_the_next_version(home: StateDir) -> None:
    first, version = opened(home), 0
    with IndexWriter.open(home) as writer:
        for number in range(2):
            writer.upsert(documents(*(f"new {number} {n}" for n in range(9))), codes(9))
            version = opened(home).version
            assert len(made()) == 2, "the first one is in use"
    later = first.advanced(version)
    del first
    opened(home)
    assert len(made()) == 2, "a later version uses its codes"
    del later
    opened(home)
    assert len(made()) == 1


def test_without_room_each_process_has_its_own(home: StateDir, capfd: pytest.CaptureFixture[str]) -> None:
    shard = opened(home, most_bytes=1000)
    assert "service.mapped_files_bytes" in capfd.readouterr().err
    assert made() == []
    assert_same(shard, read_release(home).open_shard(home, 0))


@pytest.mark.parametrize("words", [[], ["b"], ["read", "csv", "Äpfel", "", "漢字", "read_csv", "zz"]])
def test_stored_terms_are_a_dictionary(words: list[str]) -> None:
    import pyarrow as pa

    column = pa.array(["left out", *words], pa.string())[1:]
    terms, expected = StoredTerms(column, StoredTerms.order_of(column)), {word: n for n, word in enumerate(words)}
    assert dict(terms) == expected
    for _ in range(2):
        for word in (*words, "absent", "a", "zzz", "\ud800"):
            assert terms.get(word) == expected.get(word)
            assert (word in terms) == (word in expected)
    with pytest.raises(KeyError):
        terms["absent"]
