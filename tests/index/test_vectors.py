"""Stored vectors: the ones that the model makes, kept through every change of an index, and exact to rescore by."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.corpora.embeddings.conftest import tiny_encoder
from tests.index.test_shard import rows, write
from texthash.config import TrainingConfig
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.corpora.prepared.embeddings.cache import ensure_features
from texthash.deployment.promote import promote
from texthash.errors import ModelMismatchError, TexthashError
from texthash.index.releases.backup import back_up, restore_backup
from texthash.index.releases.publish import publish
from texthash.index.releases.release import OpenRelease, open_release, read_release
from texthash.index.releases.snapshots import read_snapshot, take_snapshot
from texthash.index.releases.verify import verify
from texthash.index.rescoring import cosines, search_rescored
from texthash.index.writing.build import build_index
from texthash.index.writing.writer import IndexDocument, IndexWriter
from texthash.methods.registry import build
from texthash.models.hasher import Hasher
from texthash.paths import StateDir
from texthash.training.loop import fit

__all__ = ["tiny_encoder"]  # fixture
TEXTS = {"new/1": "sort the rows of a sparse array", "new/2": "plot a histogram of the data"}


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_the_answer_is_that_of_brute_force_in_any_number_of_shards(data: st.DataObject, tmp_path_factory) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    count, width = data.draw(st.integers(1, 40)), data.draw(st.sampled_from([1, 2, 9]))
    codes, queries = rng.integers(0, 4, (count, width), np.uint8), rng.integers(0, 4, (3, width), np.uint8)
    # Small integers, of which every sum is exact and many tie.
    vectors, values = rng.integers(-2, 3, (count, 5)), rng.integers(-2, 3, (3, 5))
    limit, offset, oversample = (data.draw(st.integers(*span)) for span in ((1, 8), (0, 6), (1, 4)))
    table = rows(codes, [[] for _ in codes], vectors=vectors.astype(np.float16))
    for shards in (1, 3):
        opened = write(tmp_path_factory.mktemp("index"), table, shards)
        found = search_rescored(
            opened, queries, values.astype(np.float32), limit, offset, kind="float", oversample=oversample
        )
        for query in range(3):
            distances = np.bitwise_count(codes ^ queries[query]).sum(axis=1).tolist()
            near = sorted((d, n) for n, d in enumerate(distances))
            scored = [(-int(vectors[n] @ values[query]), d, n) for d, n in near]
            window = oversample * limit  # later documents follow by distance
            ordered = [*sorted(scored[:window]), *scored[window:]][offset : offset + limit]
            got = zip(found.scores[query], found.hits.distances[query], found.hits.numbers[query], strict=True)
            assert [(-int(s), int(d), int(n)) for s, d, n in got] == ordered


def test_a_score_does_not_depend_on_the_others() -> None:
    rng = np.random.default_rng(0)
    vectors, query = rng.standard_normal((500, 384)).astype(np.float16), rng.standard_normal(384)
    together = cosines(query, vectors)
    assert [cosines(query, vectors[row : row + 1])[0] for row in range(500)] == together.tolist()
    np.testing.assert_allclose(together, vectors.astype(np.float64) @ query)


def test_many_candidates_are_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    codes, vectors = rng.integers(0, 256, (200, 2), np.uint8), rng.standard_normal((200, 3)).astype(np.float16)
    opened = write(tmp_path, rows(codes, [[]] * 200, vectors=vectors), 2)
    queries, values = codes[:7], vectors[:7].astype(np.float32)
    whole = search_rescored(opened, queries, values, 10, kind="float")
    monkeypatch.setattr("texthash.index.rescoring._ROWS_AT_ONCE", 50)
    parts = search_rescored(opened, queries, values, 10, kind="float")
    assert [scores.tolist() for scores in parts.scores] == [scores.tolist() for scores in whole.scores]


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    codes, values = np.zeros((3, 1), np.uint8), np.ones((1, 4), np.float32)
    kept = write(tmp_path / "kept", rows(codes, [[]] * 3, vectors=np.ones((3, 4), np.float16)), 1)
    bare = write(tmp_path / "bare", rows(codes, [[]] * 3), 1)
    with pytest.raises(ModelMismatchError, match="stores no vectors"):
        search_rescored(bare, codes[:1], values, 1, kind="float")
    with pytest.raises(ModelMismatchError, match="stores no vectors"):
        bare[0].vectors_of(["doc '0'"])
    with pytest.raises(ModelMismatchError, match=r"shape \(3,\)"):
        search_rescored(kept, codes[:1], values[:, :3], 1, kind="float")
    with pytest.raises(ModelMismatchError, match="came with codes"):
        search_rescored(kept, codes[:2], values, 1, kind="float")
    with pytest.raises(TexthashError, match="not finite"):
        search_rescored(kept, codes[:1], np.full((1, 4), np.inf), 1, kind="float")
    with pytest.raises(TexthashError, match="does not hold"):
        kept[0].vectors(np.array([7]))


@pytest.fixture(scope="module")
def featured(small_corpus: PreparedCorpus, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that was trained beside a sentence encoder, whose vectors it does not need."""
    shape = small_corpus.shape_with(ensure_features(small_corpus, str(tiny_encoder)))
    method = fit(build("lsh", shape, 32), small_corpus.train, TrainingConfig()).method
    return Hasher.of(method, small_corpus).save(tmp_path_factory.mktemp("featured") / "lsh")


@pytest.fixture(params=["activations", "features"])
def home(request: pytest.FixtureRequest, small_corpus: PreparedCorpus, tmp_path: Path) -> StateDir:
    """A released index of 2 shards that keeps vectors."""
    saved: Path = request.getfixturevalue({"activations": "small_hasher", "features": "featured"}[request.param])
    found = StateDir(tmp_path / "home")
    model = Path(shutil.copytree(saved, found.root / "models" / "model"))
    publish(found, model, build_index(model, small_corpus.path, found, shards=2, vectors=request.param))
    return found


def put(home: StateDir, texts: dict[str, str]) -> None:
    release = read_release(home)
    assert release.vectors is not None
    read = release.open_hasher(home).read(list(texts.values()), vectors=release.vectors.kind)
    with IndexWriter.open(home) as writer:
        codes = np.packbits(release.open_hasher(home).pre_threshold_margins(read.values) > 0, axis=1)
        writer.upsert([IndexDocument(id_, text) for id_, text in texts.items()], codes, read.vectors)


def kept(opened: OpenRelease) -> dict[str, list[float]]:
    found = {}
    for shard in opened.shards:
        vectors = shard.vectors(shard.numbers)
        found |= {
            row["id"]: vector.tolist() for row, vector in zip(shard.documents(shard.numbers, []), vectors, strict=True)
        }
    return found


def check(home: StateDir) -> dict[str, list[float]]:
    """Documents have the vectors that their texts give: some of those that were built, all that were put in. Returns
    the vectors of all."""
    opened = open_release(home)
    assert opened.release.vectors is not None
    found = kept(opened)
    rows = [row for shard in opened.shards for row in shard.documents(shard.numbers, ["text"])]
    texts = {row["id"]: row["text"] for row in rows[::50] + [row for row in rows if row["id"] in TEXTS]}
    made = opened.hasher.read(list(texts.values()), vectors=opened.release.vectors.kind).vectors
    assert made is not None
    np.testing.assert_allclose([found[id_] for id_ in texts], made, atol=1e-3)
    lengths = np.linalg.norm(made, axis=1)
    assert np.all(np.isclose(lengths, 1, atol=1e-5) | (lengths == 0))
    assert [finding for finding in verify(home, sample=20) if not finding.ok] == []
    return found


def test_vectors_live_through_every_change_of_the_index(home: StateDir, tmp_path: Path) -> None:
    before = check(home)
    old = next(iter(before))
    take_snapshot(home, "before")
    put(home, {**TEXTS, old: "another text of an array"})
    after = check(home)
    assert after.keys() == before.keys() | TEXTS.keys()
    assert after[old] != before[old]
    with IndexWriter.open(home) as writer:
        writer.delete(ids=["new/1"])
        writer.compact()
        assert check(home).keys() == before.keys() | {"new/2"}
        back_up(home, str(tmp_path / "backup"))
        writer.restore(read_release(home, read_snapshot(home, "before").release))
    assert check(home) == before
    elsewhere = StateDir(tmp_path / "elsewhere")
    restored = restore_backup(elsewhere, str(tmp_path / "backup"))
    assert restored.vectors == read_release(home).vectors
    assert check(elsewhere).keys() == before.keys() | {"new/2"}


def test_a_reader_that_follows_has_the_vectors_of_its_version(home: StateDir) -> None:
    opened = open_release(home)
    put(home, TEXTS)
    release = read_release(home)
    advanced = [release.open_shard(home, number, shard) for number, shard in enumerate(opened.shards)]
    assert kept(OpenRelease(release, opened.hasher, advanced)) == kept(open_release(home))
    some = [*TEXTS, "nobody"]
    by_id = {id_: vector.tolist() for shard in advanced for id_, vector in shard.vectors_of(some).items()}
    assert by_id == {id_: kept(open_release(home))[id_] for id_ in TEXTS}


def test_vectors_are_of_the_write_that_was_acknowledged_when_the_writer_is_killed(home: StateDir) -> None:
    from tests.index.killed_writer import check_after_kill

    check_after_kill(home, seed=3)


def test_a_write_without_its_vectors_is_refused(home: StateDir) -> None:
    document, code = [IndexDocument("a", "text")], np.zeros((1, 4), np.uint8)
    release = read_release(home)
    with IndexWriter.open(home) as writer:
        with pytest.raises(ModelMismatchError, match="came with no vectors"):
            writer.upsert(document, code)
        with pytest.raises(ModelMismatchError, match=r"vectors of shape \(1, 3\)"):
            writer.upsert(document, code, np.ones((1, 3)))
    assert read_release(home) == release


def test_other_vectors_than_the_model_makes_are_found(home: StateDir) -> None:
    release = read_release(home)
    text = TEXTS["new/1"]
    read = release.open_hasher(home).read([text], vectors=release.vectors and release.vectors.kind)
    with IndexWriter.open(home) as writer:
        code = release.open_hasher(home).encode([text])
        writer.upsert([IndexDocument("new/1", text)], code, -np.asarray(read.vectors))
    (wrong,) = [finding for finding in verify(home, sample=10_000) if not finding.ok]
    assert wrong.check.endswith("vectors")
    assert "another vector now (first: 'new/1')" in wrong.found


def test_another_model_brings_its_own_vectors(home: StateDir, small_corpus: PreparedCorpus) -> None:
    kind = (read_release(home).vectors or pytest.fail("no vectors")).kind
    put(home, TEXTS)
    shutil.copytree(small_corpus.path, home.corpus("small", "random60"))
    bare = fit(build("pcah", small_corpus.shape, 32), small_corpus.train, TrainingConfig()).method
    model = Hasher.of(bare, small_corpus).save(home.root / "models" / "pcah")
    if kind == "features":
        with pytest.raises(ModelMismatchError, match=r"trained without corpus\.features"):
            promote(home, model)
        return
    before = kept(open_release(home))
    assert promote(home, model).vectors == read_release(home).vectors
    after = check(home)
    assert after.keys() == before.keys()
    assert sum(after[id_] != before[id_] for id_ in after) > len(after) / 2


def test_an_index_without_vectors_stays_readable_as_it_was_written_before(
    small_corpus: PreparedCorpus, small_hasher: Path, tmp_path: Path
) -> None:
    home = StateDir(tmp_path)
    index = build_index(small_hasher, small_corpus.path, home, shards=2)
    release = publish(home, small_hasher, index)
    for path in [home.root / "releases" / f"{release.name}.json", *index.glob("*/manifest.json")]:
        record = json.loads(path.read_text())
        assert record.pop("vectors") is None
        del record["digest"]
        path.write_text(json.dumps({**record, "format": 2}))
    with IndexWriter.open(home) as writer:
        writer.upsert([IndexDocument("a", "text")], np.zeros((1, 4), np.uint8))
    assert len(open_release(home).shards) == 2
    assert [finding for finding in verify(home, sample=0) if not finding.ok] == []


def test_an_index_with_and_one_without_do_not_mix(
    small_corpus: PreparedCorpus, small_hasher: Path, tmp_path: Path
) -> None:
    home = StateDir(tmp_path)
    bare, full = (
        build_index(small_hasher, small_corpus.path, home, shards=2, vectors=kind) for kind in (None, "activations")
    )
    assert bare != full
    shutil.rmtree(full / "shard-0001")
    shutil.copytree(bare / "shard-0001", full / "shard-0001")
    with pytest.raises(ModelMismatchError, match="activations of width 32"):
        publish(home, small_hasher, full)
    with pytest.raises(ModelMismatchError, match=r"corpus.features=minilm"):
        build_index(small_hasher, small_corpus.path, home, vectors="features")
