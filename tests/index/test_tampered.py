"""Models and releases whose files and records were exchanged: what is not listed with its checksum is not read."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import texthash
from tests.index import test_damage
from texthash.corpora.words import Vocabulary
from texthash.errors import ModelMismatchError, TexthashError
from texthash.index.releases.backup import back_up
from texthash.index.releases.release import open_release
from texthash.index.releases.verify import verify
from texthash.io.digests import size_and_sha256
from texthash.io.records import sealed
from texthash.models.hasher import Hasher
from texthash.models.query_encoder import QueryEncoder
from texthash.paths import StateDir

home, written = test_damage.home, test_damage.written
OPEN: list[Callable[[Path], object]] = [Hasher.load, QueryEncoder.open, texthash.load]
WEIGHTS, WORDS, RECORD = "model.safetensors", "vocabulary.json", "hasher.json"


class Harmful:
    def __reduce__(self) -> Any:
        return os.mkdir, (os.environ["TEXTHASH_TEST_HARM"],)


@pytest.fixture
def model(small_hasher: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_hasher, tmp_path / "model"))


def change(file: Path, act: Callable[[dict[str, Any]], object]) -> None:
    """Change a record, and seal it again."""
    record = json.loads(file.read_text(encoding="utf-8"))
    act(record)
    record.pop("digest", None)
    file.write_text(json.dumps(sealed(record)), encoding="utf-8")


def relisted(model: Path, *names: str) -> None:
    for name in names:
        change(
            model / RECORD, lambda record, name=name: record["files"].update({name: size_and_sha256(model / name)[1]})
        )


@pytest.mark.parametrize("opened", OPEN)
@pytest.mark.parametrize(
    ("act", "says"),
    [
        (lambda record: record.update(files={}), "has none of this file"),
        (lambda record: record.pop("files"), "lists no files"),
        (lambda record: record.update(files=None), "lists no files"),
        (lambda record: record["files"].pop(WEIGHTS), "model.safetensors is damaged.*has none of this file"),
        (lambda record: record["files"].pop(WORDS), "vocabulary.json is damaged.*has none of this file"),
        (lambda record: record["files"].update({"../x": "0" * 64}), "is broken: files"),
        (lambda record: record["files"].update({WORDS: "0" * 63}), "is broken: files"),
        (lambda record: record.update(files=[]), "is broken: files"),
    ],
)
def test_a_list_of_files_that_leaves_one_out(
    model: Path, act: Callable[[dict[str, Any]], object], says: str, opened: Callable[[Path], object]
) -> None:
    change(model / RECORD, act)
    with pytest.raises(ModelMismatchError, match=says):
        opened(model)


@pytest.mark.parametrize("opened", OPEN)
def test_another_vocabulary_is_refused_though_it_is_listed(model: Path, opened: Callable[[Path], object]) -> None:
    found = Vocabulary.read(model / WORDS, "")
    swapped = Vocabulary(
        [*found.terms[1::-1], *found.terms[2:]], found.document_frequency, found.documents, found.occurrences
    )
    (model / WORDS).write_text(swapped.to_json(), encoding="utf-8")
    relisted(model, WORDS)
    with pytest.raises(ModelMismatchError, match=r"vocabulary \w{12} is not the model's"):
        opened(model)


@pytest.mark.parametrize("opened", OPEN)
def test_a_pickle_is_not_run(
    model: Path, opened: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEXTHASH_TEST_HARM", str(tmp_path / "harm"))
    (model / WEIGHTS).write_bytes(pickle.dumps(Harmful()))
    relisted(model, WEIGHTS)
    with pytest.raises(ModelMismatchError, match="remedy: "):
        opened(model)
    assert not (tmp_path / "harm").exists()


def test_a_link_is_read_as_what_it_names(model: Path, tmp_path: Path) -> None:
    """As in the cache of a hub, whose files are links; another file behind a link has another checksum."""
    (model / WORDS).rename(tmp_path / "words")
    (model / WORDS).symlink_to(tmp_path / "words")
    assert texthash.load(model).encode(["sort"]).shape == (1, 4)
    (tmp_path / "words").write_text((tmp_path / "words").read_text(encoding="utf-8") + " ", encoding="utf-8")
    with pytest.raises(ModelMismatchError, match=r"vocabulary.json is damaged"):
        Hasher.load(model)
    (model / WORDS).unlink()
    (model / WORDS).symlink_to(tmp_path)
    with pytest.raises(ModelMismatchError, match="missing"):
        Hasher.load(model)


def digests(home: StateDir) -> list[Path]:
    return sorted(home.index.glob("*/shard-*/digests/*.json"))


def refused(home: StateDir, says: str, target: Path) -> None:
    for act in (lambda: open_release(home), lambda: back_up(home, str(target))):
        with pytest.raises(TexthashError, match=says):
            act()
    assert any(says in finding.found for finding in verify(home) if not finding.ok)


def test_a_shard_without_checksums_is_not_read(home: StateDir, tmp_path: Path) -> None:
    open_release(home)
    for file in digests(home):
        file.unlink()
    refused(home, "has no checksum in digests/", tmp_path / "backup")


def test_a_file_that_is_not_listed_is_not_read(home: StateDir, tmp_path: Path) -> None:
    kept = {file: file.read_text(encoding="utf-8") for file in digests(home)}
    names = [name for text in kept.values() for name in json.loads(text)["files"] if "/data/" in name]
    assert names
    for file in kept:
        change(file, lambda record: record["files"].pop(names[0], None))
    refused(home, f"{names[0]} has no checksum", tmp_path / "backup")


def test_a_list_that_leads_out_of_the_shard_is_broken(home: StateDir, tmp_path: Path) -> None:
    for name in ("../../outside", "/etc/hostname", "documents.lance/../../x"):
        file = digests(home)[0]
        kept = file.read_text(encoding="utf-8")
        change(file, lambda record, name=name: record["files"].update({name: [1, "0" * 64]}))
        refused(home, "is no file of the shard", tmp_path / "backup")
        file.write_text(kept, encoding="utf-8")
    open_release(home)
