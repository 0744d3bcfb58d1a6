"""Questions of a pair corpus have sentence vectors as documents have."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from texthash.config import CorpusConfig, Edition
from texthash.corpora.preparation.steps import prepare_corpus
from texthash.corpora.prepared.batches import batches
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.corpora.prepared.embeddings.cache import ensure_features
from texthash.corpora.prepared.embeddings.encoder import open_encoder
from texthash.corpora.prepared.inputs import Inputs
from texthash.corpora.prepared.pairs import Queries
from texthash.paths import StateDir


def test_all_sides_of_a_pair_carry_their_vectors(tiny_encoder: Path, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [{"text": f"the data of frame {n}", "queries": [f"index a {n}", "array"][: n % 3]} for n in range(60)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = CorpusConfig(name="asked", path=str(path), edition=Edition(), shards=2)
    corpus = PreparedCorpus.open(prepare_corpus(config, StateDir(tmp_path / "home")))
    encoder = ensure_features(corpus, str(tiny_encoder))
    queries = Queries(corpus.train)
    texts = [text for table in queries.documents() for text in table["text"].to_pylist()]
    np.testing.assert_array_equal(queries.dense(encoder), open_encoder(encoder).encode(texts))
    batch = next(batches(corpus.train, 16, Inputs(needs={"pairs", "dense"}, encoder=encoder), shuffle_seed=0))
    for side, split in ((batch.query, queries), (batch.positive, corpus.train), (batch.negative, corpus.train)):
        assert side is not None
        assert side.dense is not None
        assert torch.equal(side.dense, torch.from_numpy(split.dense(encoder)[side.rows.numpy()]))
