"""Pair corpora: questions in shards, in splits of their own, in batches, with hard negatives."""

from __future__ import annotations

import json
import pickle
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from texthash.config import CorpusConfig, Edition, SplitRule
from texthash.corpora.preparation.steps import prepare_corpus
from texthash.corpora.prepared.batches import NEGATIVES, batches, count_batches, take, text_batch
from texthash.corpora.prepared.corpus import PreparedCorpus, Split
from texthash.corpora.prepared.inputs import Inputs
from texthash.corpora.prepared.negatives import hard_negatives
from texthash.corpora.prepared.pairs import Queries, question_numbers
from texthash.errors import CorpusError, UsageError
from texthash.paths import StateDir

WORDS = ["apple", "bread", "cloud", "drink", "earth", "flame", "grass", "house", "ivory", "jelly"]


def prepared(rows: list[dict[str, Any]], folder: Path, **edition: Any) -> PreparedCorpus:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    rule = SplitRule(kind="given")
    config = CorpusConfig(name="made", path=str(path), edition=Edition(name="e", split=rule, **edition), shards=3)
    return PreparedCorpus.open(prepare_corpus(config, StateDir(folder / "home")))


def random_rows(count: int = 90) -> list[dict[str, Any]]:
    """Documents of random words; of every ten, two have no question and one has three, one names negatives."""
    generator = np.random.default_rng(0)

    def text(length: int) -> str:
        return " ".join(generator.choice(WORDS, length))

    rows = []
    for number in range(count):
        split = ("train", "train", "train", "validation", "test")[number % 5]
        row: dict[str, Any] = {"id": f"d{number}", "text": text(12), "split": split, "labels": [WORDS[number % 3]]}
        row["queries"] = [f"{text(3)} unseenword {number}?{i}" for i in range((1, 3, 1, 1, 0)[number // 5 % 5])]
        row["negatives"] = [f"d{number + 5}", "d3", "absent"] if number % 10 == 0 else []
        rows.append(row)
    return rows


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> PreparedCorpus:
    return prepared(random_rows(), tmp_path_factory.mktemp("made"))


def of_split(name: str) -> list[dict[str, Any]]:
    return [row for row in random_rows() if row["split"] == name]


def test_shards_and_manifest_carry_the_questions(made: PreparedCorpus) -> None:
    for name in ("train", "validation", "test"):
        rows = of_split(name)
        shards = sorted((made.path / name).glob("part-*.parquet"))
        held = [row for shard in shards for row in pq.read_table(shard).to_pylist()]
        assert [row["queries"] for row in held] == [row["queries"] for row in rows]
        assert [row["negatives"] for row in held] == [row["negatives"] for row in rows]
        counts = made.manifest.pairs[name]
        assert counts.queries == sum(len(row["queries"]) for row in rows)
        assert counts.documents == sum(bool(row["queries"]) for row in rows)
        assert counts.negatives == sum(len(row["negatives"]) for row in rows)
        known = [[made.analyzer.tokens(query) for query in row["queries"]] for row in rows]
        assert [[[made.vocabulary.terms[word] for word in query] for query in row["query_tokens"]] for row in held] == [
            [[word for word in query if word in made.vocabulary.index] for query in row] for row in known
        ]


def test_the_vocabulary_is_of_documents_alone(made: PreparedCorpus) -> None:
    assert made.vocabulary.terms == WORDS
    texts = [set(row["text"].split()) for row in of_split("train")]
    assert made.vocabulary.document_frequency.tolist() == [sum(word in text for text in texts) for word in WORDS]


def test_a_corpus_without_questions_has_nothing_of_them(small_corpus: PreparedCorpus) -> None:
    schema = pq.read_schema(next((small_corpus.path / "train").glob("*.parquet")))
    assert not {"queries", "query_tokens", "negatives"} & set(schema.names)
    assert "pairs" not in json.loads((small_corpus.path / "manifest.json").read_text())
    with pytest.raises(CorpusError, match="has no queries"):
        _ = Queries(small_corpus.train)
    with pytest.raises(CorpusError, match="has no queries"):
        hard_negatives(small_corpus.train, 3)
    with pytest.raises(CorpusError, match="has no queries"):
        next(batches(small_corpus.train, 8, Inputs(needs={"pairs"})))


def test_questions_are_a_split_of_their_own(made: PreparedCorpus) -> None:
    rows = of_split("train")
    queries = Queries(made.train)
    asked = [(row["id"], row["labels"], query) for row in rows for query in row["queries"]]
    assert len(queries) == len(asked)
    assert queries.indptr.tolist() == np.cumsum([0, *(len(row["queries"]) for row in rows)]).tolist()
    found = [row for table in queries.documents(7) for row in table.to_pylist()]
    assert [(row["id"], row["labels"], row["text"]) for row in found] == asked
    assert queries.ids[:4] == ["d0?0", "d1?0", "d2?0", "d5?0"]
    numbers, indices = queries.label_ids
    assert [[made.label_names[i] for i in indices[a:b]] for a, b in pairwise(numbers)] == [
        labels for _, labels, _ in asked
    ]
    inputs = Inputs("bm25", {"tokens"})
    stored = take(queries, np.arange(len(queries)), inputs)
    raw = text_batch([text for *_, text in asked], made.analyzer, made.vocabulary, inputs)
    for name in ("indices", "offsets", "values", "counts", "tokens", "mask"):
        assert torch.equal(getattr(raw, name), getattr(stored, name)), name
    again = pickle.loads(pickle.dumps(queries))
    assert len(again) == len(queries)
    np.testing.assert_array_equal(again.counts[1], queries.counts[1])


def test_equal_questions_have_equal_numbers_over_splits(tmp_path: Path) -> None:
    rows = random_rows()
    rows[0]["queries"] = rows[3]["queries"] = ["the same apple"]
    rows[1]["queries"] = ["the same apple", "another"]
    numbers = question_numbers(prepared(rows, tmp_path))
    assert numbers["train"][0] == numbers["train"][1] == numbers["validation"][0]
    together = np.concatenate(list(numbers.values()))
    assert len(np.unique(together)) == len({query for row in rows for query in row["queries"]})


def plain_negatives(made: PreparedCorpus, rows: list[dict[str, Any]], k: int) -> list[list[int]]:
    """Those of a plain loop, in float64: the named ones, then all others by score."""
    train, place = made.train, {row["id"]: number for number, row in enumerate(rows)}
    scores = made.train.matrix("bm25").astype(np.float64)
    found = []
    for number, row in enumerate(rows):
        for query in row["queries"]:
            bag = np.zeros(len(made.vocabulary))
            for word in made.analyzer.tokens(query):
                if word in made.vocabulary.index:
                    bag[made.vocabulary.index[word]] += 1
            score = (scores @ bag).round(4)
            others = [other for other in range(len(train)) if query not in rows[other]["queries"]]
            named = [place[id_] for id_ in row["negatives"] if id_ in place and place[id_] != number]
            best = sorted((o for o in others if score[o] > 0 and o not in named), key=lambda o: (-score[o], o))
            found.append((named + best)[:k])
    return found


@pytest.mark.parametrize("k", [3, 60])
def test_hard_negatives_are_the_named_ones_and_the_best_by_bm25(made: PreparedCorpus, k: int) -> None:
    expected = plain_negatives(made, of_split("train"), k)
    found = hard_negatives(made.train, k)
    assert found.shape == (len(Queries(made.train)), k)
    for row, wanted in zip(found.tolist(), expected, strict=True):
        there = [value for value in row if value >= 0]
        assert row == there + [-1] * (k - len(there))
        assert len(there) == len(wanted)
        assert set(there) == set(wanted) or k == 3  # equal scores may be rounded apart at the cut
    first = hard_negatives(made.train, k)
    np.testing.assert_array_equal(first, found)


def test_all_positives_of_a_question_are_kept_from_its_negatives(tmp_path: Path) -> None:
    rows = random_rows()
    same = "apple bread cloud drink earth"
    for number in (0, 1, 2):
        rows[number]["queries"], rows[number]["text"] = [same], same
        rows[number]["negatives"] = ["d1", "d5"]
    made = prepared(rows, tmp_path)
    found = hard_negatives(made.train, 40)[:3]
    assert not np.isin(found, [0, 1, 2]).any()
    assert found[:, 0].tolist() == [3, 3, 3], "d5 is the fourth document of train"
    assert len(np.unique(found[0])) == len(set(found[0].tolist()))


def test_negatives_are_for_training(made: PreparedCorpus) -> None:
    with pytest.raises(CorpusError, match="validation split has no hard negatives"):
        hard_negatives(made.validation, 3)
    with pytest.raises(UsageError, match="k=0"):
        hard_negatives(made.train, 0)


def sides(train: Split, **settings: Any) -> list[tuple[int, int, int]]:
    """Document, question and negative, as drawn."""
    drawn = []
    for batch in batches(train, 16, Inputs(needs={"pairs", "tokens"}), **settings):
        assert batch.query is not None
        assert batch.positive is not None
        assert batch.negative is not None
        assert torch.equal(batch.positive.rows, batch.rows)
        assert batch.query.tokens is not None
        drawn += zip(batch.rows.tolist(), batch.query.rows.tolist(), batch.negative.rows.tolist(), strict=True)
    return drawn


def test_an_epoch_of_pairs(made: PreparedCorpus) -> None:
    train, indptr = made.train, Queries(made.train).indptr
    with_questions = np.flatnonzero(np.diff(indptr))
    negatives = hard_negatives(train, NEGATIVES)
    epochs = [sides(train, shuffle_seed=seed) for seed in range(30)]
    for drawn in epochs:
        assert sorted(row for row, *_ in drawn) == with_questions.tolist()
        for row, question, negative in drawn:
            assert indptr[row] <= question < indptr[row + 1]
            assert negative in negatives[question]
    assert {question for drawn in epochs for _, question, _ in drawn} == set(range(len(Queries(train))))
    assert len({negative for drawn in epochs for row, _, negative in drawn if row == 0}) > 5
    assert epochs[3] == sides(train, shuffle_seed=3) != epochs[4]
    first = sides(train)
    assert [row for row, *_ in first] == with_questions.tolist()
    assert [question for _, question, _ in first] == indptr[with_questions].tolist()
    assert [negative for *_, negative in first] == negatives[indptr[with_questions], 0].tolist()


@pytest.mark.parametrize("workers", [2, 3])
def test_workers_together_draw_what_one_draws(made: PreparedCorpus, workers: int) -> None:
    inputs = Inputs(needs={"pairs"})
    alone = list(batches(made.train, 16, inputs, shuffle_seed=5))
    all_documents = count_batches(made.train, 16, workers=workers)
    assert count_batches(made.train, 16, inputs, workers) == len(alone) < all_documents
    shared = [
        list(batches(made.train, 16, inputs, shuffle_seed=5, rank=rank, workers=workers)) for rank in range(workers)
    ]
    for whole, *parts in zip(alone, *shared, strict=True):
        size = len(whole) // workers * workers
        assert {len(part) for part in parts} == {len(whole) // workers}
        for side in ("query", "positive", "negative"):
            together = torch.cat([getattr(part, side).rows for part in parts])
            assert torch.equal(getattr(whole, side).rows[:size], together)
            values = torch.cat([getattr(part, side).values for part in parts])
            assert torch.equal(getattr(whole, side).values[: len(values)], values)


def test_a_question_of_unknown_words_still_has_a_negative(tmp_path: Path) -> None:
    rows = random_rows()
    rows[0] |= {"queries": ["zzz"], "negatives": []}
    made = prepared(rows, tmp_path)
    assert (hard_negatives(made.train, 5)[0] == -1).all()
    drawn = [negative for seed in range(20) for row, _, negative in sides(made.train, shuffle_seed=seed) if row == 0]
    assert 0 not in drawn
    assert len(set(drawn)) > 5


def test_sides_move_with_their_batch(made: PreparedCorpus) -> None:
    moved = next(batches(made.train, 16, Inputs(needs={"pairs"}))).to("meta")
    assert moved.query is not None
    assert moved.negative is not None
    assert moved.query.values.is_meta
    assert moved.negative.indices.is_meta
