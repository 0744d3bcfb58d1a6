"""Builds and releases: what is published is what is opened, and what does not fit is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from texthash.corpora.document import SPLITS
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.errors import ModelMismatchError, TexthashError
from texthash.executor import RayExecutor
from texthash.index.memory.hits import merge
from texthash.index.releases.publish import publish, rollback, switch_to
from texthash.index.releases.release import current_name, list_releases, open_release, read_release
from texthash.index.storage.shard_format import shard_path
from texthash.index.writing.build import build_index
from texthash.methods.registry import build
from texthash.models.hasher import Hasher
from texthash.paths import StateDir


@pytest.fixture(scope="module")
def built(small_corpus: PreparedCorpus, small_hasher: Path, tmp_path_factory) -> tuple[StateDir, Path, Path]:
    """A state directory with a model and its index of 3 shards."""
    home = StateDir(tmp_path_factory.mktemp("built"))
    model = Path(shutil.copytree(small_hasher, home.root / "models" / "itq"))
    return home, model, build_index(model, small_corpus.path, home, shards=3)


@pytest.fixture
def home(built: tuple[StateDir, Path, Path], tmp_path: Path) -> StateDir:
    """A copy that a test may spoil."""
    return StateDir(Path(shutil.copytree(built[0].root, tmp_path / "home")))


def paths(home: StateDir) -> tuple[Path, Path]:
    return home.root / "models" / "itq", next(home.index.iterdir())


def test_every_document_of_every_split_is_found(home: StateDir, small_corpus: PreparedCorpus) -> None:
    publish(home, *paths(home))
    opened = open_release(home)
    ids = [name for split in SPLITS for name in small_corpus.split(split).ids]
    codes = np.concatenate([opened.hasher.encode_split(small_corpus.split(split)) for split in SPLITS])
    queries = codes[::97]

    parts = [shard.search(queries, len(ids)) for shard in opened.shards]
    hits, owners = merge(parts, len(ids))

    assert opened.release.documents == opened.release.next_number == len(ids)
    for row, query in enumerate(queries):
        distances = np.bitwise_count(codes ^ query).sum(axis=1)
        expected = np.lexsort((np.arange(len(ids)), distances))
        assert hits.numbers[row].tolist() == expected.tolist()
        assert hits.distances[row].tolist() == distances[expected].tolist()
    owner = opened.shards[owners[0][0]]
    assert owner.documents(hits.numbers[0][:1], ["code"]) == [{"id": ids[0], "code": codes[0].tobytes()}]


def test_shards_divide_the_documents(home: StateDir) -> None:
    release = publish(home, *paths(home))
    sizes = [state.documents for state in release.shards]
    assert len(sizes) == 3
    assert min(sizes) > release.documents / 6


def test_a_build_resumes_with_the_shards_that_are_missing(
    home: StateDir, small_corpus: PreparedCorpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, index = paths(home)
    kept = shard_path(index, 0) / "manifest.json"
    before = kept.stat().st_mtime_ns
    documents = json.loads((shard_path(index, 1) / "manifest.json").read_text())["documents"]
    shutil.rmtree(shard_path(index, 1))

    assert build_index(model, small_corpus.path, home, shards=3) == index

    assert kept.stat().st_mtime_ns == before
    assert json.loads((shard_path(index, 1) / "manifest.json").read_text())["documents"] == documents
    assert sorted(path.name for path in index.iterdir()) == ["shard-0000", "shard-0001", "shard-0002"]


def test_the_pointer_goes_forward_and_back(home: StateDir) -> None:
    with pytest.raises(TexthashError, match="nothing has been released"):
        read_release(home)
    first = publish(home, *paths(home), model_version="7", run="abc", commit="c0ffee")
    second = publish(home, *paths(home))
    third = publish(home, *paths(home), switch=False)

    assert [release.version for release in list_releases(home)] == [1, 2, 3]
    assert read_release(home) == second
    assert read_release(home, first.name) == first
    assert (first.model_version, first.run, first.commit) == ("7", "abc", "c0ffee")
    assert rollback(home) == first
    assert current_name(home) == first.name
    assert rollback(home) == second
    assert switch_to(home, third.name) == third


def test_there_is_nothing_before_the_first_release(home: StateDir) -> None:
    publish(home, *paths(home))
    with pytest.raises(TexthashError, match="no earlier release"):
        rollback(home)


def test_an_unknown_release_is_answered_with_the_nearest(home: StateDir) -> None:
    publish(home, *paths(home))
    for name in ("r000002", "../r000001", "nonsense"):
        with pytest.raises(TexthashError, match="no release"):
            read_release(home, name)


def test_a_state_directory_can_be_moved(home: StateDir, tmp_path: Path) -> None:
    publish(home, *paths(home))
    moved = StateDir(home.root.rename(tmp_path / "moved"))
    assert open_release(moved).release.documents > 0


def test_a_model_that_did_not_make_the_index_is_refused(
    home: StateDir, small_corpus: PreparedCorpus, tmp_path: Path
) -> None:
    for bits in (32, 64):
        other = Hasher.of(build("lsh", small_corpus.shape, bits), small_corpus).save(tmp_path / f"lsh-{bits}")
        with pytest.raises(ModelMismatchError, match="does not fit the index"):
            publish(home, other, paths(home)[1])
    assert list_releases(home) == []
    assert current_name(home) is None


def test_a_model_of_another_vocabulary_cannot_build(
    home: StateDir, small_corpus: PreparedCorpus, tmp_path: Path
) -> None:
    model = tmp_path / "other"
    shutil.copytree(paths(home)[0], model)
    vocabulary = json.loads((model / "vocabulary.json").read_text())
    record = json.loads((model / "hasher.json").read_text())
    vocabulary["documents"] += 1
    (model / "vocabulary.json").write_text(json.dumps(vocabulary))
    from texthash.corpora.words import Vocabulary

    del record["digest"], record["files"]
    record["vocabulary_hash"] = Vocabulary.read(model / "vocabulary.json", "").hash
    (model / "hasher.json").write_text(json.dumps(record))
    with pytest.raises(ModelMismatchError, match="vocabulary"):
        build_index(model, small_corpus.path, home, shards=1)


@pytest.mark.parametrize("part", ["model", "shard", "manifest", "record"])
def test_a_release_whose_parts_were_changed_is_refused(home: StateDir, part: str) -> None:
    release = publish(home, *paths(home))
    if part == "model":
        weights = home.root / release.model_uri / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    elif part == "shard":
        shutil.rmtree(home.root / release.shards[1].uri)
    elif part == "manifest":
        path = home.root / release.shards[2].uri / "manifest.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "model": "another"}))
    else:
        (home.root / "releases" / f"{release.name}.json").write_text('{"format": 1}')
    with pytest.raises(TexthashError, match={"shard": "shard-0001"}.get(part, "release|broken")):
        open_release(home)


def test_an_index_cannot_have_no_shards(home: StateDir, small_corpus: PreparedCorpus) -> None:
    with pytest.raises(TexthashError, match="0 shards"):
        build_index(paths(home)[0], small_corpus.path, home, shards=0)


@pytest.mark.ray
def test_ray_builds_the_same_index(
    ray_cluster, built: tuple[StateDir, Path, Path], small_corpus, tmp_path: Path
) -> None:
    _, model, index = built
    elsewhere = build_index(model, small_corpus.path, StateDir(tmp_path), shards=3, executor=RayExecutor())

    assert elsewhere.name == index.name
    for number in range(3):
        from texthash.index.shard import Shard

        ours, theirs = (Shard.open(shard_path(place, number)) for place in (index, elsewhere))
        assert ours.numbers.tolist() == theirs.numbers.tolist()
        fields = ["title", "text", "labels", "code"]
        assert ours.documents(ours.numbers, fields) == theirs.documents(theirs.numbers, fields)
