"""A graph found by the tasks of a cluster is that of one process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.corpora.prepared.neighbours import search
from texthash.corpora.prepared.neighbours.cache import GraphName, make_graph
from texthash.corpora.prepared.neighbours.cosine import CosineSearch
from texthash.corpora.prepared.neighbours.hamming import HammingSearch
from texthash.executor import RayExecutor

pytestmark = pytest.mark.ray


@pytest.mark.parametrize("block", [97, 2048])
def test_a_graph_is_that_of_one_process(
    ray_cluster: Any, small_corpus: PreparedCorpus, tmp_path: Path, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "_REMOTE_BLOCK_ROWS", block)
    train = small_corpus.train
    codes = np.random.default_rng(0).integers(0, 256, (len(train), 8), dtype=np.uint8)
    name = GraphName.parse("cosine:bm25")
    made = make_graph(tmp_path, name, 9, len(train), lambda: CosineSearch.of(train.matrix("bm25")), RayExecutor())
    for array, expected in zip(made, train.neighbours(9, "cosine:bm25"), strict=True):
        np.testing.assert_array_equal(array, expected)
    name = GraphName.parse("hamming:random-64")
    made = make_graph(tmp_path, name, 9, len(train), lambda: HammingSearch.of(codes), RayExecutor())
    for array, expected in zip(made, search.all_nearest(HammingSearch.of(codes), 9), strict=True):
        np.testing.assert_array_equal(array, expected)
