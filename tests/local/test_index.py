"""The index in memory against a scan by hand, and against a release of the same documents."""

from __future__ import annotations

import json

import numpy as np
import pytest

import texthash
from tests.local.conftest import LABELS, TEXTS
from texthash.errors import ModelMismatchError, TexthashError, UsageError
from texthash.hamming.codes import unpack


def by_hand(model: texthash.Hasher, query: str, rows: list[int]) -> list[tuple[int, int]]:
    """Return (distance, row) of some documents, nearest first, equal ones by row."""
    bits = unpack(model.encode([query])) != unpack(model.encode([TEXTS[row] for row in rows]))
    return sorted(zip(bits.sum(axis=1).tolist(), rows, strict=True))


def test_a_search_is_a_scan(model):
    index = texthash.Index(model, TEXTS, labels=LABELS)
    found = index.search("open a file", k=7)
    expected = by_hand(model, "open a file", list(range(len(TEXTS))))[:7]
    assert list(zip(found.distances.tolist(), map(int, found.ids), strict=True)) == expected
    assert found.texts == [TEXTS[row] for _, row in expected]
    assert found.labels == [[LABELS[row]] for _, row in expected]
    several = index.search(["open a file", "sort numbers"], k=7)
    assert several[0].ids == found.ids


def test_a_notebook_shows_what_a_model_and_an_index_are(model):
    shown = f"Hasher(itq, {model.bits} bits, {len(model.vocabulary)} words of "
    assert repr(model).startswith(shown)
    index = texthash.Index(model, ["sort an array", "open a file"])
    assert repr(index).startswith(f"Index(2 documents, {shown}")
    assert repr(index.search("zzyzx")) == "(no documents)"


def test_labels_and_a_radius_narrow_a_search(model):
    index = texthash.Index(model, TEXTS, labels=LABELS)
    rows = [row for row, label in enumerate(LABELS) if label == "file"]
    expected = by_hand(model, "sort numbers", rows)
    found = index.search("sort numbers", k=100, labels="file")
    assert list(map(int, found.ids)) == [row for _, row in expected]
    assert index.search("sort numbers", k=100, labels=["file"]).ids == found.ids
    radius = expected[0][0]
    near = index.search("sort numbers", k=100, labels="file", radius=radius)
    assert list(map(int, near.ids)) == [row for distance, row in expected if distance <= radius]
    assert len(index.search("sort numbers", labels="nothing")) == 0


def test_what_has_no_known_word_finds_nothing_and_is_never_found(model):
    index = texthash.Index(model, [*TEXTS, "zzyzx"])
    assert len(index) == len(TEXTS) + 1
    assert len(index.search("qwrtz")) == 0
    assert len(index.search("open a file", k=100)) == len(TEXTS)


def test_a_saved_index_answers_alike(model, tmp_path, monkeypatch):
    index = texthash.Index(model, [*TEXTS, "zzyzx"], ids=[f"d{n}" for n in range(len(TEXTS) + 1)])
    opened = texthash.Index.open(index.save(tmp_path / "index"))
    assert len(opened) == len(index)
    assert opened.search("open a file", k=100).ids == index.search("open a file", k=100).ids
    with pytest.raises(FileExistsError):
        index.save(tmp_path / "index")
    (tmp_path / "index" / "documents.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(TexthashError, match=r"documents\.parquet is broken"):
        texthash.Index.open(tmp_path / "index")
    with pytest.raises(TexthashError, match="is not a saved index"):
        texthash.Index.open(tmp_path)
    model.save(tmp_path / "trained" / "hasher")
    monkeypatch.chdir(tmp_path)
    for name in ("trained", tmp_path / "trained", "trained/hasher"):
        with pytest.raises(UsageError, match=r"trained.* is a model, not an index\.") as raised:
            texthash.Index.open(name)
        assert "texthash.Index(texthash.load(...), texts)" in raised.value.remedy


def test_words_of_titles_and_leads_count_by_their_weights_after_writes_and_reopening(model, tmp_path):
    long = " ".join(["filler"] * 30)
    texts, titles, ids = [f"{long} quux", f"quux {long}", f"other {long}"], ["", "", "quux"], ["late", "lead", "title"]
    index = texthash.Index(model, [*texts, *TEXTS], ids=[*ids, *map(str, range(len(TEXTS)))], titles=[*titles, *TEXTS])
    assert index.search("quux", mode="keyword").ids[0] == "title"
    given = {"titles": titles, "title_weight": 20, "lead_weight": 3}
    index = texthash.Index(model, texts, ids=ids, **given)
    assert index.search("quux", mode="keyword").ids == ["title", "lead", "late"]
    index.upsert([long], ids=["new"], titles=["quux quux"])
    index.delete("lead")
    found = index.search("quux", mode="keyword")
    assert found.ids == ["new", "title", "late"]
    opened = texthash.Index.open(index.save(tmp_path / "index")).search("quux", mode="keyword")
    assert (opened.ids, opened.scores.tolist()) == (found.ids, found.scores.tolist())


def test_short_titles_are_preferred_by_brevity_after_writes_and_reopening(model, tmp_path):
    texts, titles = ["quux", "words without it"], ["quux quux quux in a title", "quux"]
    assert texthash.Index(model, texts, titles=titles).search("quux", mode="keyword").ids == ["0", "1"]
    index = texthash.Index(model, texts, titles=titles, title_brevity=1)
    assert index.search("quux", mode="keyword").ids == ["1", "0"]
    index.upsert(["quux"], ids=["new"], titles=["quux quux quux in a very long title"])
    found = index.search("quux", mode="keyword")
    assert found.ids == ["1", "0", "new"]
    opened = texthash.Index.open(index.save(tmp_path / "index")).search("quux", mode="keyword")
    assert (opened.ids, opened.scores.tolist()) == (found.ids, found.scores.tolist())


def test_long_texts_lose_nothing_without_a_share_of_their_length(model, tmp_path):
    texts = ["quux and words " * 2, "quux " + "filler " * 10]
    assert texthash.Index(model, texts).search("quux", mode="keyword").ids == ["0", "1"]
    index = texthash.Index(model, ["quux", *texts], bm25_b=0, bm25_k1=3)
    scores = index.search("quux", mode="keyword").scores.tolist()
    assert scores[1:] == pytest.approx([scores[0] * (1 / 4) / (2 / 5)] * 2), "count / (count + k1)"
    opened = texthash.Index.open(index.save(tmp_path / "index"))
    assert opened.search("quux", mode="keyword").scores.tolist() == scores


def test_words_and_both_sides_find_what_a_release_finds(model, tmp_path):
    index = texthash.Index(model, [*TEXTS, "zzyzx quux"], labels=[*LABELS, "rare"])
    words = index.search("quux", mode="keyword")
    assert (words.texts, words.distances.tolist()) == (["zzyzx quux"], [-1])
    near, both = index.search("open a file", k=100), index.search("open a file", k=5, mode="hybrid")
    assert set(both.ids) <= {*near.ids, *index.search("open a file", k=100, mode="keyword").ids}
    assert both.scores.tolist() == sorted(both.scores.tolist(), reverse=True)
    assert index.search("open a file", k=5, mode="hybrid", weight=1).ids == near.ids[:5]
    assert index.search("quux open", mode="keyword", labels="rare").texts == ["zzyzx quux"]
    several = index.search(["open a file", "quux"], mode="hybrid")
    assert several[0].ids == index.search("open a file", mode="hybrid").ids
    opened = texthash.Index.open(index.save(tmp_path / "index"))
    assert opened.search("open a file", mode="hybrid").ids == index.search("open a file", mode="hybrid").ids
    with pytest.raises(UsageError, match="weight=2 is not a share"):
        index.search("a", mode="hybrid", weight=2)


def test_plain_words_are_kept_plain_in_a_file(model, tmp_path):
    index = texthash.Index(model, ["The files", "a list"], keywords="plain")
    for found in (index, texthash.Index.open(index.save(tmp_path / "index"))):
        assert found.search("the", mode="keyword").texts == ["The files"]
        assert len(found.search("file", mode="keyword")) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ids": ["a"]}, "1 ids for"),
        ({"ids": ["a"] * len(TEXTS)}, "'a' twice"),
        ({"labels": ["a"]}, "1 labels for"),
        ({"titles": ["a"]}, "1 titles for"),
        ({"title_weight": 0}, "title_weight=0 is no weight"),
        ({"lead_weight": 1.5}, r"lead_weight=1\.5 is no weight"),
        ({"title_brevity": -0.1}, r"title_brevity=-0\.1 is no power"),
        ({"bm25_b": 1.5}, r"bm25_b=1\.5: out of range"),
    ],
    ids=["few ids", "double ids", "few labels", "few titles", "no weight", "half a weight", "no power", "no share"],
)
def test_arguments_that_do_not_fit_are_refused(model, arguments, message):
    with pytest.raises(UsageError, match=message):
        texthash.Index(model, TEXTS, **arguments)


def test_a_release_answers_in_process(small_corpus, small_hasher, tmp_path, monkeypatch):
    from texthash.index.releases.publish import publish
    from texthash.index.writing.build import build_index
    from texthash.paths import StateDir

    home = StateDir(tmp_path)
    publish(home, small_hasher, build_index(small_hasher, small_corpus.path, home, 2))
    monkeypatch.setenv("TEXTHASH_HOME", str(tmp_path))
    opened = texthash.Index.open()
    documents = small_corpus.manifest.documents
    assert len(opened) == sum(documents.values())
    query = "sort the values of an array"
    found = opened.search(query, k=20, mode="semantic")
    splits = [small_corpus.split(name) for name in ("train", "validation", "test")]
    codes = np.concatenate([opened.model.encode_split(split) for split in splits])
    distances = (unpack(opened.model.encode([query], "query")) != unpack(codes)).sum(axis=1)
    ids = [id_ for split in splits for id_ in split.ids]
    expected = np.argsort(distances, kind="stable")[:20]
    assert found.ids == [ids[row] for row in expected]
    assert found.distances.tolist() == distances[expected].tolist()
    assert len(opened.search([query, "zzyzx"])) == 2
    rows = [row for split in splits for table in split.documents() for row in table.to_pylist()]
    texts, titles = [row["text"] for row in rows], [row["title"] for row in rows]
    memory = texthash.Index(opened.model, texts, ids=ids, titles=titles)
    for text in (query, titles[7]):
        in_memory = memory.search(text, k=20, mode="keyword")
        assert opened.search(text, k=20, mode="keyword").ids == in_memory.ids
        np.testing.assert_array_equal(opened.search(text, k=20, mode="keyword").scores, in_memory.scores)
    with pytest.raises(TexthashError, match="is a release"):
        opened.save(tmp_path / "copy")


def test_a_release_is_searched_as_by_the_service(small_corpus, small_hasher, tmp_path, monkeypatch, capsys):
    from texthash.cli.app import main
    from texthash.index.releases.publish import publish
    from texthash.index.releases.release import SearchDefaults
    from texthash.index.writing.build import build_index
    from texthash.paths import StateDir

    home = StateDir(tmp_path)
    chosen = SearchDefaults(weight=0.2, rescoring="asymmetric", queries=9, semantic=0.1, keyword=0.2, hybrid=0.3)
    index = build_index(small_hasher, small_corpus.path, home, 2, keywords="english", vectors="activations")
    publish(home, small_hasher, index, defaults=chosen)
    monkeypatch.setenv("TEXTHASH_HOME", str(tmp_path))
    opened = texthash.Index.open()
    query = "sort the values of an array"
    ways = [{}, {"mode": "semantic"}, {"mode": "keyword"}, {"weight": 0.9}, {"rescore": "none"}, {"rescore": "float"}]
    orders = set()
    for way in ways:
        found = opened.search(query, k=20, **way)
        options = [part for name, value in way.items() for part in (f"--{name}", str(value))]
        with pytest.raises(SystemExit, match=r"^0$"):
            main(["search", query, "--service", "none", "--limit", "20", "--json", *options])
        hits = json.loads(capsys.readouterr().out)["hits"]
        assert found.ids == [hit["id"] for hit in hits]
        np.testing.assert_array_equal(found.scores, [hit["score"] for hit in hits])
        orders.add(tuple(found.ids))
    assert len(orders) > 3
    within = opened.search(query, k=20, radius=20)
    assert within.scores is None
    assert within.distances.max() <= 20
    assert opened.search(query, k=5, mode="semantic", rescore="none").scores is None
    with pytest.raises(ModelMismatchError, match="stores no vectors"):
        texthash.Index(opened.model, TEXTS).search("open a file", rescore="float")
