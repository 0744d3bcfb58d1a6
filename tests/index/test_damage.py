"""One flipped bit anywhere in a release is found by verification, or changes nothing that anybody can ask for."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.index.test_writer import codes, documents
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.errors import TexthashError
from texthash.index.filters.language import Labels
from texthash.index.memory.hits import merge
from texthash.index.releases.backup import back_up, restore_backup
from texthash.index.releases.publish import publish
from texthash.index.releases.release import open_release, read_release
from texthash.index.releases.snapshots import list_snapshots, take_snapshot
from texthash.index.releases.verify import verify
from texthash.index.writing.build import build_index
from texthash.index.writing.writer import IndexDocument, IndexWriter
from texthash.paths import StateDir

FLIPS = 3


@pytest.fixture(scope="module")
def written(small_corpus: PreparedCorpus, small_hasher: Path, tmp_path_factory: pytest.TempPathFactory) -> StateDir:
    """A state directory with an index of 1 shard that was built, written to and deleted from."""
    home = StateDir(tmp_path_factory.mktemp("written"))
    model = Path(shutil.copytree(small_hasher, home.root / "models" / "itq"))
    release = publish(home, model, build_index(model, small_corpus.path, home, shards=1))
    hasher = release.open_hasher(home)
    with IndexWriter.open(home) as writer:
        texts = ["kernel density estimation", "qwrtz blorf", "sparse matrix"]
        read = hasher.read(texts)
        made = [IndexDocument(f"w{row}", text, "title", ("new",)) for row, text in enumerate(texts)]
        writer.upsert(made, hasher.binarize(read.values), known=read.known)
        writer.delete(ids=["w2"])
    take_snapshot(home, "kept")
    return home


@pytest.fixture
def home(written: StateDir, tmp_path: Path) -> StateDir:
    return StateDir(Path(shutil.copytree(written.root, tmp_path / "home")))


def answers(home: StateDir) -> Any:
    """All that can be asked for: every document by number and by id, searches, filters, snapshots."""
    opened = open_release(home)
    (shard,) = opened.shards
    fields = ["title", "text", "labels", "code"]
    rows = shard.documents(shard.numbers, fields)
    queries = np.random.default_rng(0).integers(0, 256, (20, 4), dtype=np.uint8)
    hits, _ = merge([shard.search(queries, 30)], 30)
    near = [numbers.tolist() for numbers in hits.numbers]
    ids = [row["id"] for row in rows]
    return rows, shard.codes_of(ids), near, shard.count(Labels(("new",))), asdict(opened.release), list_snapshots(home)


def found_wrong(home: StateDir) -> bool:
    try:
        return not all(finding.ok for finding in verify(home, sample=5))
    except TexthashError:
        return True


def flip(path: Path, place: int, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << bit
    path.write_bytes(content)


def test_every_flipped_bit_is_found_or_without_effect(home: StateDir) -> None:
    whole, rng = answers(home), random.Random(0)
    assert not found_wrong(home)
    files = sorted(path for path in home.root.rglob("*") if path.is_file() and path.parent.name != "locks")
    kinds = {path.relative_to(home.root).parts[0] for path in files}
    assert kinds == {"index", "models", "releases", "snapshots"}
    missed = []
    for path in files:
        kept = path.read_bytes()
        if not kept:
            continue
        for place in sorted({0, len(kept) - 1, *(rng.randrange(len(kept)) for _ in range(FLIPS))}):
            bit = rng.randrange(8)
            flip(path, place, bit)
            if not found_wrong(home) and answers(home) != whole:
                missed.append((str(path.relative_to(home.root)), place, bit))
            path.write_bytes(kept)
    assert missed == []
    assert answers(home) == whole


def lance_files(home: StateDir, folder: str) -> list[Path]:
    return sorted((home.path(read_release(home).shards[0].uri) / "documents.lance" / folder).rglob("*.*"))


@pytest.mark.parametrize("folder", ["data", "_deletions", "_indices", "_versions"])
def test_damage_to_the_files_of_a_shard_is_named_and_not_backed_up(home: StateDir, tmp_path: Path, folder: str) -> None:
    path = next(file for file in lance_files(home, folder) if file.suffix != ".json")
    flip(path, path.stat().st_size // 2, 3)
    (finding,) = [f for f in verify(home) if f.check == "shard 0: files"]
    assert not finding.ok
    assert path.name in finding.found
    if path.name in str(tuple(lance_files(home, "_versions")[1:])):
        return  # the manifest of an older version, of which no backup is taken
    with pytest.raises(TexthashError, match="is damaged"):
        back_up(home, str(tmp_path / "backup"))
    assert not (tmp_path / "backup" / "backup.json").exists()


@pytest.mark.parametrize("folder", ["_deletions", "_versions"])
def test_opening_finds_damage_to_what_says_which_rows_there_are(home: StateDir, folder: str) -> None:
    path = lance_files(home, folder)[0]
    flip(path, path.stat().st_size // 2, 3)
    with pytest.raises(TexthashError, match=rf"is damaged: .*{path.name} has other bytes"):
        open_release(home)


def test_opening_finds_a_file_that_was_cut(home: StateDir) -> None:
    path = lance_files(home, "data")[0]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(TexthashError, match=r"is damaged: .* bytes instead of"):
        open_release(home)


def test_a_backup_that_was_damaged_is_not_restored(home: StateDir, tmp_path: Path) -> None:
    back_up(home, str(tmp_path / "backup"))
    for file in sorted(path for path in (tmp_path / "backup").rglob("*") if path.is_file()):
        if "_transactions" in file.parts or file.name == "latest_version_hint.json" or "_versions" in file.parts:
            continue
        kept = file.read_bytes()
        flip(file, len(kept) // 2, 1)
        other = StateDir(tmp_path / "other")
        with pytest.raises(TexthashError):
            restore_backup(other, str(tmp_path / "backup"))
        assert not other.root.exists(), f"{file} was found too late"
        file.write_bytes(kept)
    assert (
        restore_backup(StateDir(tmp_path / "other"), str(tmp_path / "backup")).documents == read_release(home).documents
    )


def without_digests(home: StateDir) -> None:
    """Make of an index one that an earlier version wrote."""
    for release in (home.root / "releases").glob("r*.json"):
        _unseal(release, format=3)
    _unseal(home.root / "releases" / "current")
    for shard in home.index.glob("*/shard-*"):
        shutil.rmtree(shard / "digests")
        _unseal(shard / "manifest.json", format=3)


def _unseal(path: Path, **changes: object) -> None:
    record = json.loads(path.read_text())
    del record["digest"]
    path.write_text(json.dumps({**record, **changes}))


def test_an_index_without_checksums_opens_and_gets_them(home: StateDir, run_cli: Callable[..., Any]) -> None:
    whole = answers(home)
    without_digests(home)
    assert answers(home)[:4] == whole[:4]
    (finding,) = [f for f in verify(home) if f.check == "shard 0: files"]
    assert finding.ok
    assert "without checksums" in finding.found
    assert "--add-checksums" in finding.found
    status, _, told = run_cli("--home", str(home.root), "index", "verify", "--add-checksums")
    assert (status, "files were added" in told) == (0, True)
    path = lance_files(home, "data")[0]
    flip(path, path.stat().st_size // 2, 3)
    assert found_wrong(home)


def test_what_is_written_to_an_index_without_checksums_has_them(home: StateDir) -> None:
    without_digests(home)
    with IndexWriter.open(home) as writer:
        before = set(lance_files(home, "data"))
        writer.upsert(documents("later"), codes(1))
        (path,) = set(lance_files(home, "data")) - before
    flip(path, path.stat().st_size // 2, 3)
    assert found_wrong(home)


def test_checksums_follow_many_writes_and_compaction(home: StateDir) -> None:
    with IndexWriter.open(home) as writer:
        for turn in range(60):
            writer.upsert(documents(f"d{turn % 7}"), codes(1, turn))
        assert not found_wrong(home)
        writer.compact()
    assert not found_wrong(home)
    shard = home.path(read_release(home).shards[0].uri)
    assert len(list((shard / "digests").iterdir())) == 1


class Panic(BaseException):
    """A panic of Rust code: its class has this name, cannot be imported, and is no Exception."""


Panic.__module__, Panic.__name__ = "pyo3_runtime", "PanicException"


@pytest.mark.parametrize("method", ["to_table", "take", "scanner", "to_batches"])
def test_a_panic_while_reading_is_an_error_that_names_the_index(
    home: StateDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_cli: Callable[..., Any], method: str
) -> None:
    import lance

    def panic(*_: object, **__: object) -> None:
        raise Panic("range end index 9 out of range for slice of length 5")

    (shard,) = open_release(home).shards
    monkeypatch.setattr(lance.LanceDataset, method, panic)
    (tmp_path / "c.tsv").write_text("w0\t" + "01" * 16 + "\n")
    doors: list[Callable[[], Any]] = [
        lambda: shard.documents(shard.numbers[:2], ["title"]),
        lambda: shard.document("w0"),
        lambda: shard.codes_of(["w0"]),
        lambda: shard.count(Labels(("new",))),
        lambda: open_release(home),
        lambda: back_up(home, str(tmp_path / "backup")),
    ]
    errors = [error for call in doors if (error := error_of(call)) is not None]
    for error in errors:
        assert "cannot be read" in error.problem
        assert "texthash index verify" in error.remedy
    for words in (("verify",), ("show", "w0"), ("export", str(tmp_path / "e.parquet")), ("delete", "w0")):
        status, _, said = run_cli("--home", str(home.root), "index", *words)
        assert "Traceback" not in said
        assert status in (0, 1)


def error_of(call: Callable[[], Any]) -> TexthashError | None:
    try:
        call()
    except TexthashError as error:
        return error
    return None


def test_damage_that_no_checksum_finds_is_an_error_of_ours(home: StateDir) -> None:
    """An index of an earlier version has no digests, so that Lance meets the damage: with a panic, for some of it."""
    without_digests(home)
    rng = random.Random(0)
    outcomes = set()
    for folder in ("data", "_deletions", "_indices", "_versions"):
        for path in lance_files(home, folder):
            kept = path.read_bytes()
            for _ in range(FLIPS):
                flip(path, rng.randrange(len(kept)), rng.randrange(8))
                try:
                    answers(home)
                    outcomes.add("answered")
                except TexthashError:
                    outcomes.add("refused")
                path.write_bytes(kept)
    assert "refused" in outcomes
