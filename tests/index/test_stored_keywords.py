"""Words of documents follow every write, snapshot, backup and migration of an index."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from texthash.errors import NoKeywordsError
from texthash.index.keywords.weights import WordWeights
from texthash.index.releases.backup import back_up, restore_backup
from texthash.index.releases.publish import publish
from texthash.index.releases.release import Release, open_release, read_release
from texthash.index.releases.snapshots import take_snapshot
from texthash.index.search import SearchOptions, search_index
from texthash.index.shard import Shard
from texthash.index.writing.build import build_index
from texthash.index.writing.writer import IndexDocument, IndexWriter
from texthash.models.hasher import Hasher
from texthash.paths import StateDir

TEXT = "A quixotic read_parquet call. Quixotic indeed."


def published(home: StateDir, model: Path, corpus, keywords="english") -> Release:
    return publish(home, model, build_index(model, corpus.path, home, shards=2, keywords=keywords))


@pytest.fixture
def home(small_corpus, small_hasher, tmp_path):
    found = StateDir(tmp_path / "home")
    published(found, small_hasher, small_corpus)
    return found


def write(writer: IndexWriter, model: Path, *documents: IndexDocument) -> None:
    read = Hasher.load(model).read([document.text for document in documents])
    writer.upsert(documents, Hasher.load(model).binarize(read.values), known=read.known)


def found(shards: list[Shard], text: str, limit: int = 5) -> list[tuple[str, float]]:
    query = shards[0].keywords.query(text)
    page = search_index(shards, SearchOptions(mode="keyword", limit=limit), terms=query).page
    names = {}
    for shard, part in enumerate(shards):
        own = page.numbers[page.owners == shard]
        names.update(zip(own.tolist(), [row["id"] for row in part.documents(own, [])], strict=True))
    return [(names[number], score) for number, score in zip(page.numbers.tolist(), page.scores or [], strict=True)]


def opened(home: StateDir) -> list[Shard]:
    return list(open_release(home).shards)


def advanced(home: StateDir, shards: list[Shard]) -> list[Shard]:
    release = read_release(home)
    return [release.open_shard(home, number, shard) for number, shard in enumerate(shards)]


def test_a_write_is_found_by_words_at_once_and_as_if_it_had_always_been_there(home, small_hasher):
    shards = opened(home)
    for shard in shards:
        shard.keywords.prepare()
    with IndexWriter.open(home) as writer:
        write(
            writer,
            small_hasher,
            IndexDocument("new/1", TEXT, "title_word"),
            IndexDocument("new/2", "another quixotic text"),
        )
        shards = advanced(home, shards)
        assert [name for name, _ in found(shards, "quixotic")] == ["new/1", "new/2"]
        assert found(shards, "title_word")[0][0] == "new/1"
        assert found(shards, "read_parquet", 20) == found(opened(home), "read_parquet", 20)
        write(writer, small_hasher, IndexDocument("new/1", "replaced by other words"))
        writer.delete(ids=["new/2"])
        shards = advanced(home, shards)
        assert found(shards, "quixotic") == []
        assert found(shards, "replaced words", 20) == found(opened(home), "replaced words", 20)
        writer.compact()
    assert found(advanced(home, shards), "sort array", 20) == found(opened(home), "sort array", 20)


def test_other_words_are_read_where_only_some_were(home, small_hasher):
    shards, expected = opened(home), found(opened(home), "sort array", 20)
    for shard in shards:
        shard.keywords.prepare_only(shards[0].keywords.query("sort"))
    assert found(shards, "sort") == found(opened(home), "sort")
    with IndexWriter.open(home) as writer:
        write(writer, small_hasher, IndexDocument("new/1", TEXT))
    assert found(advanced(home, shards), "quixotic")[0][0] == "new/1"
    assert found(shards, "sort array", 20) == expected


def test_a_snapshot_brings_its_words_back(home, small_hasher):
    take_snapshot(home, "before")
    kept = read_release(home)
    with IndexWriter.open(home) as writer:
        write(writer, small_hasher, IndexDocument("new/1", TEXT))
        assert found(opened(home), "quixotic")
        writer.restore(kept)
    assert found(opened(home), "quixotic") == []


def test_a_backup_has_the_words(home, small_hasher, tmp_path):
    with IndexWriter.open(home) as writer:
        write(writer, small_hasher, IndexDocument("new/1", TEXT))
    back_up(home, str(tmp_path / "copy"))
    other = StateDir(tmp_path / "other")
    release = restore_backup(other, str(tmp_path / "copy"))
    assert release.keywords == "english"
    assert found(opened(other), "quixotic read", 10) == found(opened(home), "quixotic read", 10)


def test_words_are_added_to_an_index_that_was_built_without(small_corpus, small_hasher, home, tmp_path):
    bare = StateDir(tmp_path / "bare")
    assert published(bare, small_hasher, small_corpus, keywords=None).keywords is None
    shards = opened(bare)
    with pytest.raises(NoKeywordsError, match="add-keywords"):
        shards[0].keywords.query("sort")
    with IndexWriter.open(bare) as writer:
        write(writer, small_hasher, IndexDocument("new/1", TEXT))
        assert writer.add_keywords("english").keywords == "english"
        write(writer, small_hasher, IndexDocument("new/2", "quixotic too"))
    shards = advanced(bare, shards)
    assert {name for name, _ in found(shards, "quixotic")} == {"new/1", "new/2"}
    with IndexWriter.open(home) as writer:
        write(writer, small_hasher, IndexDocument("new/1", TEXT))
        write(writer, small_hasher, IndexDocument("new/2", "quixotic too"))
    for text in ("quixotic", "sort the values of an array"):
        assert found(shards, text, 20) == found(opened(home), text, 20)
    with IndexWriter.open(bare) as writer:
        assert writer.add_keywords("plain").keywords == "plain"
    changed = advanced(bare, shards)
    assert found(changed, "indeed")[0][0] == "new/1"
    assert changed[0].keywords.query("The files") == {"files": 1, "the": 1}


def test_an_index_without_words_serves_its_documents_as_before(small_corpus, small_hasher, tmp_path):
    home = StateDir(tmp_path)
    published(home, small_hasher, small_corpus, keywords=None)
    with IndexWriter.open(home) as writer:
        write(writer, small_hasher, IndexDocument("new/1", TEXT))
    shard = opened(home)[0]
    assert shard.keywords.analysis is None
    assert len(shard.search(np.zeros((1, shard.manifest.bits // 8), np.uint8), 3).numbers[0]) == 3


def test_words_of_titles_and_leads_count_by_the_weights_of_the_index_after_writes_too(
    small_corpus, small_hasher, tmp_path
):
    home = StateDir(tmp_path)
    index = build_index(small_hasher, small_corpus.path, home, shards=2, weights=WordWeights(title=20, lead=2))
    publish(home, small_hasher, index)
    with IndexWriter.open(home) as writer:
        long = " ".join(["filler"] * 30)
        write(
            writer,
            small_hasher,
            IndexDocument("late", f"{long} quixotic", "Other words"),
            IndexDocument("lead", f"quixotic {long}", "Other words"),
            IndexDocument("title", f"other {long}", "Quixotic words"),
        )
        assert [name for name, _ in found(opened(home), "quixotic")] == ["title", "lead", "late"]
        before = found(opened(home), "quixotic")
        writer.add_keywords("english", WordWeights(title=20, lead=2))
        assert found(opened(home), "quixotic") == before
        writer.add_keywords("english", WordWeights(title=1, lead=30))
        assert found(opened(home), "quixotic")[0][0] == "lead"
        long_title = IndexDocument("long", "quixotic", " ".join(["Title"] * 30))
        write(writer, small_hasher, IndexDocument("short", f"{long} quixotic", "Title"), long_title)
        assert [name for name, _ in found(opened(home), "quixotic")][-1] == "short"
        writer.add_keywords("english", WordWeights(title=1, lead=30, brevity=1))
    names = [name for name, _ in found(opened(home), "quixotic")]
    assert names.index("short") < names.index("long"), "divided by the number of words of the title"


def test_an_index_of_an_earlier_version_answers_as_before_and_gains_weights_by_add_keywords(
    small_corpus, small_hasher, home, monkeypatch, capfd
):
    """Such an index has words in a field without weights, those of the title three times."""
    with monkeypatch.context() as patched:
        patched.setattr(
            "texthash.index.storage.mutations.words_field",
            lambda analysis, weights: pa.field("words", pa.list_(pa.string()), metadata={"analysis": analysis}),
        )
        with IndexWriter.open(home) as writer:
            writer.add_keywords("english", WordWeights(title=3))
    with IndexWriter.open(home) as writer:
        write(writer, small_hasher, IndexDocument("new/1", "some text", "quixotic"))
    shards = opened(home)
    assert {shard.keywords.weights for shard in shards} == {None}
    assert found(shards, "quixotic")[0][0] == "new/1"
    assert "add-keywords" in capfd.readouterr().err
    earlier = found(shards, "sort array", 20)
    with IndexWriter.open(home) as writer:
        writer.add_keywords("english", WordWeights(title=3))
    assert found(opened(home), "sort array", 20) == [(name, pytest.approx(score)) for name, score in earlier]
