"""A shard that follows writes is the shard that is opened anew, in whatever order versions are visited."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from tests.index.test_writer import built, codes, documents, home
from texthash.api.attributes import Value
from texthash.api.filters import Filter
from texthash.errors import TexthashError
from texthash.index import shard as shards
from texthash.index.filters.language import All, Between, Exists, Ids, Labels, Not, OneOf, Where
from texthash.index.releases.release import list_releases, read_release
from texthash.index.shard import Shard
from texthash.index.writing.writer import IndexDocument, IndexWriter
from texthash.paths import StateDir

__all__ = ["built", "home"]  # fixtures
_LABELS = ("red", "green", "it's")
_FILTERS: list[Where | None] = [
    None,
    Labels(("red",)),
    Labels(("green", "it's")),
    Labels(("no such",)),
    Between("year", 2.0, None),
    Not(OneOf("lang", ("en",))),
    All((Exists("lang"), Labels(("red",)))),
    Ids(("n1", "n2", "n3", "no such")),
]


def assert_same(followed: Shard, opened: Shard) -> None:
    queries = np.random.default_rng(0).integers(0, 256, (5, 4), dtype=np.uint8)
    assert len(followed) == len(opened)
    np.testing.assert_array_equal(followed.numbers, opened.numbers)
    for where in _FILTERS:
        assert followed.count(where) == opened.count(where)
        for radius in (None, 9):
            found, expected = (shard.search(queries, 50, 3, radius=radius, where=where) for shard in (followed, opened))
            for query in range(len(queries)):
                np.testing.assert_array_equal(found.numbers[query], expected.numbers[query])
                np.testing.assert_array_equal(found.distances[query], expected.distances[query])
        totals = [shard.total_within_radius(queries, 12, where).tolist() for shard in (followed, opened)]
        assert totals[0] == totals[1]
    some = opened.numbers[:: max(1, len(opened) // 40)][::-1]
    fields = ["title", "text", "labels", "attributes", "code"]
    assert followed.documents(some, fields) == opened.documents(some, fields)
    ids = [row["id"] for row in opened.documents(some, [])]
    assert followed.codes_of([*ids, "absent"]) == opened.codes_of(ids)
    if ids:
        assert followed.document(ids[0]) == opened.document(ids[0])
    assert followed.document("absent") is None


def _some(rng: random.Random, step: int) -> dict[str, Value]:
    """Attributes of a document; a later step adds one to the index."""
    found: dict[str, Value] = {"year": float(rng.randint(0, 4))} if rng.random() < 0.7 else {}
    return found | ({"lang": rng.choice(["de", "en"])} if step > 6 else {})


@pytest.mark.parametrize("seed", range(4))
def test_following_is_opening(home: StateDir, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "_FEW_ROWS", 120 if seed % 2 else 65_536)  # some changes are too many to follow
    rng = random.Random(seed)
    states = [read_release(home).shards[0]]
    with IndexWriter.open(home) as writer:
        first = Shard.open(home.path(states[0].uri))
        known = [f"n{number}" for number in range(80)]
        known += [row["id"] for row in first.documents(first.numbers[:100], [])]
        for step in range(14):
            some = rng.sample(known, rng.randint(1, 40))
            kind = rng.choice(["upsert", "upsert", "delete", "label", "compact" if step % 5 == 4 else "upsert"])
            if kind == "upsert":
                made = [
                    IndexDocument(
                        id_, f"{id_} {step}", str(step), tuple(rng.sample(_LABELS, rng.randint(0, 2))), _some(rng, step)
                    )
                    for id_ in some
                ]
                writer.upsert(made, np.frombuffer(rng.randbytes(4 * len(some)), np.uint8).reshape(-1, 4))
            elif kind == "delete":
                writer.delete(ids=some)
            elif kind == "label":
                writer.delete(given=Filter(labels=["red"]))
            else:
                writer.compact()
            states.append(writer.release.shards[0])
            take = states[-1]
            first = first.advanced(take.version, take.checksum)
            assert_same(first, Shard.open(home.path(take.uri), take.version))


def test_an_older_version_is_reached_too(home: StateDir) -> None:
    with IndexWriter.open(home) as writer:
        for round_ in range(4):
            writer.upsert(documents("a", f"b{round_}", *[f"c{i}" for i in range(6)]), codes(8, round_))
    releases = list_releases(home)
    newest = releases[-1].open_shard(home, 1)
    for release in reversed(releases):
        newest = release.open_shard(home, 1, newest)
        assert_same(newest, release.open_shard(home, 1))


def test_a_shard_is_not_taken_for_another(home: StateDir) -> None:
    release = read_release(home)
    other = release.open_shard(home, 0)
    assert_same(release.open_shard(home, 1, other), release.open_shard(home, 1))


def test_documents_without_a_known_word_count_in_the_checksum_that_is_followed(home: StateDir) -> None:
    first = read_release(home)
    opened = first.open_shard(home, 0)
    known = np.array([True, False, True, False])
    with IndexWriter.open(home) as writer:
        writer.upsert(documents("a", "b", "c", "d"), codes(4), known=known)
        writer.upsert(documents("a", "b", "c", "d"), codes(4, 1), known=~known)
        writer.delete(ids=["a", "b"])
    releases = list_releases(home)
    for release in (*releases, first, releases[2], releases[1], releases[-1]):
        opened = release.open_shard(home, 0, opened)
        assert_same(opened, release.open_shard(home, 0))


@pytest.mark.parametrize(
    ("folder", "damaged"),
    [("data", "code"), ("data", "size"), ("_versions", "bit"), ("_deletions", "bit"), ("_deletions", "size")],
)
def test_what_was_damaged_before_it_is_followed_is_refused(home: StateDir, folder: str, damaged: str) -> None:
    first = read_release(home)
    documents_of = home.path(first.shards[0].uri) / "documents.lance"
    there, opened = set(documents_of.rglob("*.*")), first.open_shard(home, 0)
    some = [row["id"] for row in opened.documents(opened.numbers[:2], [])]
    written = np.frombuffer(b"\xd1\x7a\x0f\x93" * 2, np.uint8).reshape(2, 4)
    with IndexWriter.open(home) as writer:
        release = writer.upsert(documents(*some), written).release
    (path,) = set((documents_of / folder).rglob("*.*")) - there
    content = bytearray(path.read_bytes())
    if damaged == "size":
        del content[-1]
    else:
        content[content.index(b"\xd1\x7a\x0f\x93") if damaged == "code" else len(content) // 2] ^= 4
    path.write_bytes(content)
    with pytest.raises(TexthashError, match="is damaged"):
        release.open_shard(home, 0, opened)


def test_a_deleted_document_is_gone(home: StateDir) -> None:
    with IndexWriter.open(home) as writer:
        writer.upsert(documents("a"), codes(1))
        before = [release.open_shard(home, shard) for release in [writer.release] for shard in range(2)]
        holder = next(shard for shard in before if shard.document("a"))
        number = int(holder.numbers[-1])
        state = writer.delete(ids=["a"]).release.shards[holder.manifest.shard]
    gone = holder.advanced(state.version)
    with pytest.raises(TexthashError, match="does not hold"):
        gone.documents([number], [])
    assert holder.document("a") is not None  # who holds the older one still sees it
    assert Path(holder.uri).name == f"shard-{holder.manifest.shard:04d}"
