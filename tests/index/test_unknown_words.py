"""A document without a known word is kept, found by id and label, counted, and near to nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.index.test_writer import built, home, rewrite
from texthash.index.filters.language import Labels
from texthash.index.memory.cost_model import Plan
from texthash.index.memory.hits import merge
from texthash.index.releases.backup import back_up, restore_backup
from texthash.index.releases.release import OpenRelease, open_release, read_release
from texthash.index.releases.verify import verify
from texthash.index.writing.writer import IndexDocument, IndexWriter, WriteResult
from texthash.models.hasher import Hasher
from texthash.paths import StateDir

__all__ = ["built", "home"]  # fixtures
UNKNOWN = "qwrtz blorf"


def put_in(home: StateDir, **texts: str) -> WriteResult:
    read = read_release(home).open_hasher(home).read(list(texts.values()))
    with IndexWriter.open(home) as writer:
        hasher = read_release(home).open_hasher(home)
        made = [IndexDocument(id_, text, "Zzyzx", ("odd",)) for id_, text in texts.items()]
        return writer.upsert(made, hasher.binarize(read.values), known=read.known)


def near(opened: OpenRelease, plan: Plan = "flat", labels: list[str] | None = None, radius: int | None = None) -> set:
    """Ids of everything that a search for the code of an empty text finds."""
    code = opened.hasher.encode([""])
    parts = [
        shard.search(code, 5_000, plan=plan, where=labels and Labels(tuple(labels)), radius=radius)
        for shard in opened.shards
    ]
    hits, owners = merge(parts, 5_000)
    return {
        row["id"]
        for place, shard in enumerate(opened.shards)
        for row in shard.documents(hits.numbers[0][owners[0] == place], [])
    }


def is_apart(home: StateDir, id_: str) -> bool:
    """Whether a document is stored, counted, found by id and label, and found by no search."""
    opened = open_release(home)
    (stored,) = [found for shard in opened.shards if (found := shard.document(id_)) is not None]
    assert stored["text"] == UNKNOWN
    assert stored["known_words"] is False
    assert sum(shard.count(Labels(("odd",))) for shard in opened.shards) >= 1
    assert sum(len(shard) for shard in opened.shards) == opened.release.documents
    code, radius = opened.hasher.encode([""]), opened.release.bits
    totals = sum(int(shard.total_within_radius(code, radius)[0]) for shard in opened.shards)
    found = [near(opened), near(opened, "mih"), near(opened, labels=["odd"]), near(opened, radius=radius)]
    assert len(found[0]) == totals
    return not any(id_ in ids for ids in found) and totals < opened.release.documents


def test_it_is_kept_and_no_neighbour_until_it_has_a_known_word(home: StateDir) -> None:
    put_in(home, odd=UNKNOWN, even="kernel density estimation")
    assert is_apart(home, "odd")
    assert "even" in near(open_release(home))
    put_in(home, odd="sparse matrix factorisation")
    opened = open_release(home)
    assert "odd" in near(opened) & near(opened, "mih") & near(opened, labels=["odd"])
    put_in(home, odd=UNKNOWN)
    assert is_apart(home, "odd")
    assert [finding for finding in verify(home, sample=5_000) if not finding.ok] == []


def test_following_a_release_keeps_it_apart(home: StateDir) -> None:
    before = open_release(home)
    put_in(home, odd=UNKNOWN, even="kernel density")
    release = read_release(home)
    shards = [release.open_shard(home, number, before.shards[number]) for number in range(len(release.shards))]
    followed = OpenRelease(release, before.hasher, shards)
    assert {"odd", "even"} & near(followed) == {"even"}
    assert sum(len(shard) for shard in shards) == release.documents
    put_in(home, odd="kernel density")
    release = read_release(home)
    later = [release.open_shard(home, number, shards[number]) for number in range(len(release.shards))]
    assert "odd" in near(OpenRelease(release, before.hasher, later))
    assert sum(len(shard) for shard in later) == release.documents


def test_compaction_backup_and_restore_keep_it_apart(home: StateDir, tmp_path: Path) -> None:
    put_in(home, odd=UNKNOWN)
    with IndexWriter.open(home) as writer:
        writer.compact()
    assert is_apart(home, "odd")
    back_up(home, str(tmp_path / "backup"))
    restore_backup(StateDir(tmp_path / "other"), str(tmp_path / "backup"))
    assert is_apart(StateDir(tmp_path / "other"), "odd")


def test_an_index_without_the_column_gets_it_with_the_first_such_document(home: StateDir) -> None:
    import lance

    release = read_release(home)
    states = []
    for state in release.shards:
        shard = home.path(state.uri)
        dataset = lance.dataset(str(shard / "documents.lance"))
        dataset.drop_columns(["known_words"])
        rewrite(shard / "manifest.json", format=3)  # an earlier version, which did not list its files
        states.append({**json.loads(json.dumps(state.__dict__)), "version": dataset.version})
    rewrite(home.root / "releases" / f"{release.name}.json", shards=states, format=3)
    everything = near(open_release(home))
    put_in(home, even="kernel density")
    put_in(home, odd=UNKNOWN)
    assert is_apart(home, "odd")
    assert near(open_release(home)) == everything | {"even"}
    with IndexWriter.open(home) as writer:
        writer.delete(ids=["odd"])
        writer.compact()
    assert near(open_release(home)) == everything | {"even"}


def test_an_upsert_of_a_file_says_how_many(home: StateDir, tmp_path: Path, run_cli: Callable[..., Any]) -> None:
    rows = tmp_path / "more.jsonl"
    rows.write_text(
        "".join(json.dumps({"id": id_, "text": text}) + "\n" for id_, text in (("a", UNKNOWN), ("b", "array")))
    )
    status, out, _ = run_cli("--home", str(home.root), "index", "upsert", str(rows))
    assert status == 0
    assert json.loads(out)["without_known_words"] == 1
    assert json.loads(out)["upserted"] == 2


def test_a_code_is_enough_to_be_near(home: StateDir) -> None:
    """Documents that come as ready codes have no text of which a word could be known."""
    with IndexWriter.open(home) as writer:
        writer.upsert([IndexDocument("bare", "")], np.zeros((1, 4), np.uint8))
    assert "bare" in near(open_release(home))


@pytest.mark.parametrize("known", [[True, False], None])
def test_whether_a_word_is_known_is_part_of_the_checksum(home: StateDir, known: list[bool] | None) -> None:
    with IndexWriter.open(home) as writer:
        both = [IndexDocument("x", "kernel"), IndexDocument("y", UNKNOWN)]
        hasher: Hasher = read_release(home).open_hasher(home)
        made = hasher.encode([document.text for document in both])
        writer.upsert(both, made, known=None if known is None else np.array(known))
    wrong = [finding.found for finding in verify(home, sample=5_000) if not finding.ok]
    assert len(wrong) == (0 if known else 1)
