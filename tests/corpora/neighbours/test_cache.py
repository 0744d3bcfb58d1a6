"""Graphs that are kept beside a corpus."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import VECTORS
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.corpora.prepared.embeddings.stored import feature_folder
from texthash.corpora.prepared.inputs import Inputs
from texthash.corpora.prepared.neighbours.cache import GraphName, make_graph
from texthash.corpora.prepared.neighbours.cosine import CosineSearch
from texthash.corpora.prepared.neighbours.search import Search, all_nearest
from texthash.errors import CorpusError, UsageError
from texthash.executor import LocalExecutor

TFIDF = GraphName.parse("cosine:tfidf")


@pytest.mark.parametrize("weighting", ["tfidf", "bm25", "binary", "counts", "sublinear_tfidf", "binary_tfidf"])
def test_a_graph_is_of_the_weighting_that_it_names(small_corpus: PreparedCorpus, weighting: str) -> None:
    train = small_corpus.train
    rows, weights = train.neighbours(5, f"cosine:{weighting}")
    expected = all_nearest(CosineSearch.of(train.matrix(weighting)), 5)
    np.testing.assert_array_equal(rows, expected[0])
    np.testing.assert_array_equal(weights, expected[1])


def test_a_graph_of_many_neighbours_serves_few(small_corpus: PreparedCorpus, tmp_path: Path) -> None:
    train, calls = small_corpus.train, []

    def search() -> Search:
        calls.append(1)
        return CosineSearch.of(train.matrix())

    for k, made in ((5, 1), (100, 1), (150, 2), (120, 2), (len(train) - 1, 3)):
        rows, weights = make_graph(tmp_path, TFIDF, k, len(train), search)
        assert len(calls) == made
        assert isinstance(rows, np.memmap)
        expected = all_nearest(CosineSearch.of(train.matrix()), k)
        np.testing.assert_array_equal(rows, expected[0])
        np.testing.assert_array_equal(weights, expected[1])


def test_of_several_that_need_a_graph_one_finds_it(small_corpus: PreparedCorpus, tmp_path: Path) -> None:
    calls = []

    def search() -> Search:
        calls.append(1)
        return CosineSearch.of(small_corpus.train.matrix())

    with ThreadPoolExecutor(3) as pool:
        graphs = list(
            pool.map(lambda _: make_graph(tmp_path, TFIDF, 5, len(small_corpus.train), search), range(3)),
        )
    assert len(calls) == 1
    for rows, _ in graphs:
        np.testing.assert_array_equal(rows, small_corpus.train.neighbours(5, "cosine:tfidf")[0])


def test_an_interrupted_graph_is_not_taken_for_one(small_corpus: PreparedCorpus, tmp_path: Path) -> None:
    train = small_corpus.train

    class Interrupted(LocalExecutor):
        def map(self, *arguments: Any, **options: Any) -> Iterator[Any]:
            yield next(super().map(*arguments, **options))
            raise KeyboardInterrupt

    def make(executor: LocalExecutor = LocalExecutor()):
        return make_graph(tmp_path, TFIDF, 5, len(train), lambda: CosineSearch.of(train.matrix()), executor)

    with pytest.raises(KeyboardInterrupt):
        make(Interrupted())
    np.testing.assert_array_equal(make()[0], train.neighbours(5, "cosine:tfidf")[0])


def test_a_graph_is_by_bm25_unless_named(small_corpus: PreparedCorpus) -> None:
    train = small_corpus.train
    for found, expected in zip(train.neighbours(5), train.neighbours(5, "cosine:bm25"), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert Inputs().graph == "cosine:bm25"


def test_neighbours_of_an_edition_that_changed_are_refused(small_corpus: PreparedCorpus, tmp_path: Path) -> None:
    matrix = small_corpus.train.matrix()
    make_graph(tmp_path, TFIDF, 5, 300, lambda: CosineSearch.of(matrix[:300]))
    with pytest.raises(CorpusError, match=r"are of 300 training documents, the corpus has 301") as raised:
        make_graph(tmp_path, TFIDF, 5, 301, lambda: CosineSearch.of(matrix[:301]))
    assert f"delete {tmp_path / 'graphs' / 'cosine-tfidf'}" in raised.value.remedy


def test_a_graph_of_vectors_is_deleted_with_them(vector_corpus: PreparedCorpus) -> None:
    train = vector_corpus.train
    rows, weights = train.neighbours(5, f"dense:{VECTORS}")
    vectors = np.array(train.dense(VECTORS), np.float64)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(weights, np.einsum("nd,nkd->nk", unit, unit[rows]), atol=1e-5)
    assert (feature_folder(train.cache, VECTORS) / "graph" / "100").is_dir()
    with pytest.raises(CorpusError, match="no sentence vectors") as error:
        train.neighbours(5, "dense:minilm")
    assert "corpus.features=minilm" in error.value.remedy


def test_only_train_has_graphs_and_codes(small_corpus: PreparedCorpus) -> None:
    with pytest.raises(CorpusError, match="the validation split has no neighbour graph"):
        small_corpus.validation.neighbours(5)
    with pytest.raises(CorpusError, match=r"the validation split .* has no codes"):
        small_corpus.validation.codes("sth-64")


def test_a_graph_of_codes_is_made_elsewhere(small_corpus: PreparedCorpus) -> None:
    with pytest.raises(CorpusError, match="ensure_graph"):
        small_corpus.train.neighbours(5, "hamming:lsh-128")
    with pytest.raises(CorpusError, match="ensure_codes"):
        small_corpus.train.codes("lsh-128")


@pytest.mark.parametrize("name", ["cosine", "dense:", "cosine:tfidff", "hamming:sth", "euclid:tfidf", "hamming:../x-8"])
def test_an_unknown_graph_is_named(small_corpus: PreparedCorpus, name: str) -> None:
    with pytest.raises(UsageError, match=f"no graph '{name}'"):
        small_corpus.train.neighbours(5, name)
