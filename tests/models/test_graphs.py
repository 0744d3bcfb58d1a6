"""Graphs and codes that training makes before it begins."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.methods.test_contract import FewNeighboursOfShortTexts
from texthash.config import CorpusConfig, TrainingConfig
from texthash.corpora.preparation.steps import prepare_corpus
from texthash.corpora.prepared.batches import batches
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.corpora.prepared.inputs import Inputs
from texthash.corpora.prepared.neighbours.hamming import HammingSearch
from texthash.corpora.prepared.neighbours.search import all_nearest
from texthash.errors import UsageError
from texthash.methods.registry import build
from texthash.models.encoding import encode_split
from texthash.models.graphs import ensure_codes, ensure_graph
from texthash.paths import StateDir
from texthash.training.loop import fit


def test_a_graph_over_codes_is_of_a_method_fitted_on_train(small_corpus: PreparedCorpus) -> None:
    train, state = small_corpus.train, torch.get_rng_state()
    ensure_graph(train, "hamming:sth-16", 7)
    assert torch.equal(torch.get_rng_state(), state), "training that follows is not disturbed"
    fitted = fit(build("sth", small_corpus.shape, 16), train, TrainingConfig()).method
    np.testing.assert_array_equal(train.codes("sth-16"), fitted.database_codes())
    rows, weights = train.neighbours(7, "hamming:sth-16")
    expected = all_nearest(HammingSearch.of(fitted.database_codes()), 7)
    np.testing.assert_array_equal(rows, expected[0])
    np.testing.assert_array_equal(weights, expected[1])
    inputs = Inputs(needs={"neighbours"}, neighbours=7, graph="hamming:sth-16")
    batch = next(batches(train, 32, inputs, shuffle_seed=1))
    np.testing.assert_array_equal(batch.neighbours, rows[batch.rows])
    np.testing.assert_array_equal(batch.neighbour_weights, weights[batch.rows])


def test_codes_are_of_any_method_in_closed_form(small_corpus: PreparedCorpus) -> None:
    codes = ensure_codes(small_corpus.train, "pcah-24")
    fitted = fit(build("pcah", small_corpus.shape, 24), small_corpus.train, TrainingConfig()).method
    np.testing.assert_array_equal(codes, encode_split(fitted, small_corpus.train))
    with pytest.raises(UsageError, match="nash learns by gradients"):
        ensure_graph(small_corpus.train, "hamming:nash-16", 5)
    with pytest.raises(UsageError, match="no method 'sthh'"):
        ensure_graph(small_corpus.train, "hamming:sthh-16", 5)


class NeighboursByCodes(FewNeighboursOfShortTexts):
    def __init__(self, shape, bits):
        super().__init__(shape, bits)
        self.inputs = replace(self.inputs, graph="hamming:lsh-16")


def test_training_makes_the_graph_that_a_method_asks_for(small_config: CorpusConfig, tmp_path: Path) -> None:
    corpus = PreparedCorpus.open(prepare_corpus(small_config, StateDir(tmp_path)))
    method = NeighboursByCodes(corpus.shape, 8)
    fit(method, corpus.train, TrainingConfig())
    assert method.seen == {(5, 3)}
    assert corpus.train.neighbours(3, "hamming:lsh-16")[0].shape == (len(corpus.train), 3)
