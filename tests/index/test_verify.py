"""Verification finds what is wrong with an index and says where."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import asdict, replace

import lance
import pytest

from tests.index.test_writer import built, codes, documents, home
from texthash.index.releases.release import read_release
from texthash.index.releases.verify import verify
from texthash.index.storage.file_digests import files_of, record_added
from texthash.index.storage.shard_format import DOCUMENTS
from texthash.index.writing.writer import IndexWriter
from texthash.paths import StateDir

__all__ = ["built", "home"]  # fixtures


def failed(home: StateDir) -> dict[str, str]:
    return {finding.check: finding.found for finding in verify(home, sample=10_000) if not finding.ok}


def test_a_whole_index_passes_before_and_after_writes(home: StateDir) -> None:
    assert failed(home) == {}
    with IndexWriter.open(home) as writer:
        fresh = documents("a", "b", text="sparse matrix factorisation")
        hasher = read_release(home).open_hasher(home)
        writer.upsert(fresh, hasher.encode([document.text for document in fresh]))
        writer.delete(ids=["a"])
        assert failed(home) == {}
        writer.compact()
    assert failed(home) == {}
    names = [finding.check for finding in verify(home)]
    assert names == [
        "records",
        "model",
        *(f"shard {shard}: {part}" for shard in range(2) for part in ("files", "rows", "ids", "codes")),
        "document numbers",
    ]


def test_codes_that_the_model_does_not_make_are_found(home: StateDir) -> None:
    with IndexWriter.open(home) as writer:
        writer.upsert(documents("a", text="kernel density"), codes(1, 0b10101010))
    (found,) = failed(home).values()
    assert "have another code now (first: 'a')" in found
    assert found.startswith("1 of ")


def _drop_rows(home: StateDir) -> None:
    """Publish, by hand, a version of shard 0 that lacks rows, with the digests of its files."""
    release = read_release(home)
    path = home.path(release.shards[0].uri) / DOCUMENTS
    dataset = lance.dataset(str(path))
    before = files_of(dataset)
    dataset.delete("number < 100")
    record_added(before, dataset)
    _rewrite(home, 0, version=dataset.version)


def _truncate(home: StateDir) -> None:
    for file in (home.path(read_release(home).shards[0].uri) / DOCUMENTS / "data").glob("*.lance"):
        file.write_bytes(file.read_bytes()[:-100])


def _rewrite(home: StateDir, shard: int, **changes: object) -> None:
    release = read_release(home)
    states = list(release.shards)
    states[shard] = replace(states[shard], **changes)  # type: ignore[arg-type]
    record = asdict(replace(release, shards=tuple(states)))
    (home.root / "releases" / f"{release.name}.json").write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("damage", "check", "message"),
    [
        (_drop_rows, "shard 0: rows", "but the release has"),
        (lambda home: _rewrite(home, 1, checksum="0" * 16), "shard 1: rows", r"checksum .* but the release has 0000"),
        (_truncate, "shard 0: rows", "cannot be read"),
        (
            lambda home: shutil.rmtree(home.path(read_release(home).shards[1].uri)),
            "shard 1: files",
            "there is no shard at",
        ),
        (
            lambda home: (home.root / "models" / "itq" / "vocabulary.json").write_text("{}"),
            "model",
            "digest",
        ),
    ],
)
def test_damage_is_found_and_named(home: StateDir, damage, check: str, message: str) -> None:
    damage(home)
    found = failed(home)
    assert re.search(message, found[check])
