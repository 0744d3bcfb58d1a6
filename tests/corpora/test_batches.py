"""What a method sees of a corpus: every document once, the same whatever the number of workers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import embedding_bag

from tests.conftest import VECTORS
from texthash.corpora.prepared.batches import Batch, batches, count_batches, take, text_batch
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.corpora.prepared.inputs import Inputs
from texthash.errors import CorpusError, UsageError


def dense(batch: Batch, vocabulary: int) -> torch.Tensor:
    return embedding_bag(
        batch.indices, torch.eye(vocabulary), batch.offsets, mode="sum", per_sample_weights=batch.values
    )


@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize("workers", [2, 3])
def test_workers_together_see_the_batches_of_one(small_corpus: PreparedCorpus, seed: int | None, workers: int) -> None:
    train = small_corpus.train
    alone = list(batches(train, 100, shuffle_seed=seed))
    shared = [list(batches(train, 100, shuffle_seed=seed, rank=rank, workers=workers)) for rank in range(workers)]
    assert {len(parts) for parts in shared} == {count_batches(train, 100, workers=workers)} == {len(alone)}
    for whole, *parts in zip(alone, *shared, strict=True):
        shared_rows = torch.cat([part.rows for part in parts])
        assert torch.equal(whole.rows[: len(shared_rows)], shared_rows)
        assert torch.equal(dense(whole, 2000)[: len(shared_rows)], torch.cat([dense(part, 2000) for part in parts]))
        assert {len(part) for part in parts} == {len(whole) // workers}, "means over workers ask for equal parts"
    rows = torch.cat([batch.rows for batch in alone])
    assert rows.sort().values.tolist() == list(range(len(train)))
    assert (seed is None) == (rows.tolist() == list(range(len(train))))


def test_the_order_follows_the_seed(small_corpus: PreparedCorpus) -> None:
    first, again, other = (next(batches(small_corpus.train, 50, shuffle_seed=seed)).rows.tolist() for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize("size", [7, 16, 100, 883, 10_000])
def test_no_batch_is_tiny(small_corpus: PreparedCorpus, size: int) -> None:
    sizes = [len(batch) for batch in batches(small_corpus.train, size)]
    assert sum(sizes) == len(small_corpus.train)
    assert min(sizes) >= min(size, 16)


def test_a_batch_holds_the_rows_of_the_matrix(small_corpus: PreparedCorpus) -> None:
    train = small_corpus.train
    inputs = Inputs("tfidf", needs={"labels", "tokens", "neighbours"}, neighbours=3)
    batch = next(batches(train, 64, inputs, shuffle_seed=0))
    rows = batch.rows.numpy()
    np.testing.assert_allclose(dense(batch, 2000).numpy(), train.matrix()[rows].toarray(), atol=1e-6)
    np.testing.assert_array_equal(batch.labels, train.labels[rows].toarray())
    np.testing.assert_array_equal(batch.neighbours, train.neighbours(3)[0][rows])
    assert batch.labelled.all()
    assert batch.document.tolist() == np.repeat(np.arange(64), np.diff(train.matrix().indptr)[rows]).tolist()
    indptr, tokens = train.tokens
    for i, row in enumerate(rows):
        words = tokens[indptr[row] : indptr[row + 1]][:512]
        assert batch.tokens[i][batch.mask[i]].tolist() == words.tolist()
        assert int(batch.mask[i].sum()) == len(words)


def test_raw_text_gives_what_the_prepared_document_gave(small_corpus: PreparedCorpus) -> None:
    table = next(small_corpus.validation.documents(20))
    inputs = Inputs("bm25", {"tokens"})
    raw = text_batch(table["text"].to_pylist(), small_corpus.analyzer, small_corpus.vocabulary, inputs)
    stored = take(small_corpus.validation, np.arange(20), inputs)
    for name in ("rows", "indices", "offsets", "values", "counts", "tokens", "mask"):
        assert torch.equal(getattr(raw, name), getattr(stored, name)), name


def test_texts_without_known_words_are_empty_documents(small_corpus: PreparedCorpus) -> None:
    batch = text_batch(["", "qqqqq"], small_corpus.analyzer, small_corpus.vocabulary, Inputs(needs={"tokens"}))
    assert len(batch) == 2
    assert dense(batch, 2000).abs().sum() == 0
    assert not batch.mask.any()
    assert len(text_batch([], small_corpus.analyzer, small_corpus.vocabulary)) == 0


def test_to_moves_every_field(small_corpus: PreparedCorpus) -> None:
    moved = next(batches(small_corpus.train, 8, Inputs(needs={"labels"}))).to("meta")
    assert moved.rows.is_meta
    assert moved.labels.is_meta
    assert moved.tokens is None


@pytest.mark.parametrize(("need", "said"), [("dense", "needs dense"), ("pairs", "has no queries")])
def test_a_missing_feature_is_named(small_corpus: PreparedCorpus, need: str, said: str) -> None:
    with pytest.raises(CorpusError, match=said):
        next(batches(small_corpus.train, 8, Inputs(needs={need})))


def test_rows_are_taken_with_all_that_their_text_gives(vector_corpus: PreparedCorpus) -> None:
    train = vector_corpus.train
    rows = np.array([5, 2, 2])
    batch = take(train, rows, Inputs(needs={"dense", "tokens", "labels"}, encoder=VECTORS))
    np.testing.assert_array_equal(batch.dense, train.dense(VECTORS)[rows])
    assert torch.equal(batch.tokens[1], batch.tokens[2])
    with pytest.raises(UsageError, match="cannot provide neighbours"):
        take(train, rows, Inputs(needs={"neighbours"}))


def test_wrong_use_is_an_error(small_corpus: PreparedCorpus) -> None:
    with pytest.raises(UsageError, match="colour"):
        next(batches(small_corpus.train, 8, Inputs(needs={"colour"})))
    with pytest.raises(UsageError, match="9 workers share batches of down to 8"):
        count_batches(small_corpus.train, 8, workers=9)
    with pytest.raises(UsageError, match="rank=2"):
        next(batches(small_corpus.train, 8, rank=2, workers=2))
