"""Vectors of word pieces: the states of the encoder, reduced to what can be kept, the same of stored and raw text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from texthash.corpora.prepared.batches import batches, text_batch
from texthash.corpora.prepared.corpus import CorpusShape, PreparedCorpus
from texthash.corpora.prepared.embeddings import token_vectors
from texthash.corpora.prepared.embeddings.cache import ensure_features
from texthash.corpora.prepared.embeddings.encoder import open_encoder
from texthash.corpora.prepared.embeddings.token_vectors import (
    WIDTH,
    ensure_token_vectors,
    open_token_embedder,
    projection_of,
)
from texthash.corpora.prepared.inputs import Inputs
from texthash.errors import CorpusError, ModelMismatchError, UsageError
from texthash.executor import LocalExecutor
from texthash.nn.tokens import TokenProjection

from .conftest import save_transformer

Corpora = Callable[[int], PreparedCorpus]
TEXTS = ["data of the frame", "", "index", "the array " * 50, "\ud800 data"]


def texts_of(corpus: PreparedCorpus, split: str) -> list[str]:
    return [text for table in corpus.split(split).documents() for text in table["text"].to_pylist()]


@pytest.fixture(scope="module")
def wide_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_transformer(tmp_path_factory.mktemp("encoders") / "wide", 72)


def test_they_are_the_states_of_the_transformer(wide_encoder: Path) -> None:
    """The text's own pieces, without [CLS], [SEP] and padding; its limit of 16 pieces includes these two."""
    expected = open_encoder(f"{wide_encoder}[torch]").token_vectors(TEXTS[:-1])
    assert [part.shape for part in expected] == [(4, 72), (0, 72), (1, 72), (14, 72)]
    exact, near = (open_encoder(f"{wide_encoder}{engine}").token_vectors(TEXTS) for engine in ("[float32]", ""))
    for one, two, three in zip(expected, exact, near, strict=False):
        np.testing.assert_allclose(two, one, atol=1e-4)
        np.testing.assert_allclose(three, one, atol=0.2)
    assert len(exact[-1]) == 2, "what is no character is a piece"
    encoder = open_encoder(str(wide_encoder))
    alone = [encoder.token_vectors([text])[0] for text in TEXTS]
    for one, two in zip(alone, near, strict=True):
        np.testing.assert_array_equal(one, two)


def test_they_are_reduced_to_the_components_of_the_training_pieces(corpus_of: Corpora, wide_encoder: Path) -> None:
    corpus = corpus_of(60)
    name = ensure_features(corpus, str(wide_encoder))
    indptr, values = corpus.train.token_vectors(name)
    assert values.dtype == np.float16
    assert values.shape[1] == WIDTH
    raw = open_encoder(str(wide_encoder)).token_vectors(texts_of(corpus, "train"))
    assert np.diff(indptr).tolist() == [len(part) for part in raw]
    pieces = np.concatenate(raw).astype(np.float64)
    mean, weight = projection_of(corpus.train, name)
    np.testing.assert_allclose(mean, pieces.mean(axis=0), atol=1e-4)
    np.testing.assert_allclose(weight.T @ weight, np.eye(WIDTH), atol=1e-4)
    spread = np.linalg.eigvalsh(np.cov(pieces.T, bias=True))[::-1]
    np.testing.assert_allclose(np.var(values.astype(np.float64), axis=0), spread[:WIDTH], rtol=0.02, atol=1e-4)
    np.testing.assert_array_equal(values, ((pieces - mean) @ weight.astype(np.float64)).astype(np.float16))


def test_raw_text_has_the_vectors_that_are_stored(corpus_of: Corpora, wide_encoder: Path) -> None:
    corpus = corpus_of(40)
    inputs = Inputs(needs={"token_vectors"}, encoder=ensure_features(corpus, str(wide_encoder)), max_length=9)
    layer = TokenProjection(72, WIDTH)
    mean, weight = projection_of(corpus.train, inputs.encoder)
    layer.mean.copy_(torch.from_numpy(mean))
    layer.weight.copy_(torch.from_numpy(weight))
    stored = next(batches(corpus.validation, 100, inputs))
    texts = texts_of(corpus, "validation")
    raw = text_batch(texts, corpus.analyzer, corpus.vocabulary, inputs)
    assert stored.token_vectors.shape == (len(texts), 9, WIDTH)
    assert torch.equal(stored.token_mask, raw.token_mask)
    mask = stored.token_mask[:, :, None]
    assert torch.equal(layer(stored.token_vectors) * mask, layer(raw.token_vectors) * mask)
    assert text_batch([], corpus.analyzer, corpus.vocabulary, inputs).token_mask.shape[0] == 0


def test_encoding_goes_on_where_it_ended(
    corpus_of: Corpora, wide_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_vectors, "BLOCK_ROWS", 8)
    corpus, encoded = corpus_of(50), []
    name = ensure_features(corpus, str(wide_encoder))

    class Dying(LocalExecutor):
        def map_with(self, *arguments: Any, **options: Any) -> Iterator[Any]:
            yield from islice(super().map_with(*arguments, **options), 2)
            raise KeyboardInterrupt

    class Counting(LocalExecutor):
        def map_with(self, *arguments: Any, **options: Any) -> Iterator[Any]:
            for done in super().map_with(*arguments, **options):
                encoded.append(done[0])
                yield done

    with pytest.raises(KeyboardInterrupt):
        ensure_token_vectors(corpus.train, name, Dying())
    found = ensure_token_vectors(corpus.train, name, Counting())
    assert encoded[0] == 16, "two blocks of train were done"
    assert len(found.indptr) == len(corpus.train) + 1
    whole = corpus_of(50)
    ensure_features(whole, str(wide_encoder))
    np.testing.assert_array_equal(found.values, whole.train.token_vectors(name).values)
    ensure_token_vectors(corpus.train, name, Dying())


def test_sources_without_word_pieces_are_refused(
    corpus_of: Corpora, tiny_encoder: Path, encoded_shape: CorpusShape, small_corpus: PreparedCorpus
) -> None:
    corpus = corpus_of(30)
    with pytest.raises(CorpusError, match="no sentence vectors"):
        corpus.train.token_vectors("minilm")
    static = ensure_features(corpus, str(tiny_encoder))
    with pytest.raises(UsageError, match="no transformer") as error:
        corpus.train.token_vectors(static)
    assert "minilm" in error.value.remedy
    for given in ("column:v", "npy:v.npy", "tei:http://127.0.0.1:9"):
        with pytest.raises(UsageError, match="gives one vector for each text"):
            open_token_embedder(given)
    other = f"{encoded_shape.encoder.rpartition('@')[0]}@0123456789ab"
    with pytest.raises(ModelMismatchError, match="not by"):
        small_corpus.train.token_vectors(other)
