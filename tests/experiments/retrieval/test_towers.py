"""Rows of two towers against their definition: all cosines, and the candidates that codes and categories find."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from texthash.config import TrainingConfig
from texthash.corpora.prepared.pairs import Queries
from texthash.evaluation.retrieval.collection import Collection
from texthash.experiments.retrieval.judged import evaluate_model
from texthash.experiments.retrieval.rows import ModelRows
from texthash.experiments.retrieval.towers import tower_rows
from texthash.hamming.codes import unpack
from texthash.methods.registry import build
from texthash.models.encoding import split_batches
from texthash.models.hasher import Hasher
from texthash.training.loop import fit

N = 12


@pytest.fixture(scope="module")
def model(pair_corpus) -> Hasher:
    params = {"tower_width": 32, "categories": 4, "tower_epochs": 2, "epochs": 2}
    method = fit(build("coshc", pair_corpus.shape, 16, params), pair_corpus.train, TrainingConfig(batch_size=64)).method
    return Hasher.of(method, pair_corpus)


@pytest.fixture(scope="module")
def collection(pair_corpus) -> Collection:
    return Collection.of_pairs(pair_corpus, "validation")


@torch.no_grad()
def of_towers(model, pair_corpus):
    """Return e of the questions and of all documents, in the order of the collection."""
    method = model.method.eval()
    splits = [pair_corpus.split(name) for name in ("train", "validation", "test")]
    asked = [method.encoded(batch, "query") for batch in split_batches(method, Queries(splits[1]))]
    documents = [method.encoded(batch, "document") for split in splits for batch in split_batches(method, split)]
    return torch.cat(asked), torch.cat(documents)


def test_lists_are_those_of_the_two_stages(model, collection, pair_corpus):
    towers, rescored, by_category = tower_rows(ModelRows(model, collection.documents), N)
    asked, documents = of_towers(model, pair_corpus)
    codes = unpack(model.encode(list(collection.documents)))
    places = {id_: number for number, id_ in enumerate(collection.document_ids)}
    ids = [id_ for name in ("train", "validation", "test") for id_ in pair_corpus.split(name).ids]
    documents = documents[[ids.index(id_) for id_ in places]]
    texts = collection.queries
    questions = dict(zip(Queries(pair_corpus.validation).ids, asked, strict=True))
    cosines = torch.nn.functional.cosine_similarity
    quotas = model.method.quotas(torch.stack([questions[id_] for id_ in collection.query_ids]), N)
    categories = model.method.category(documents).numpy()
    lists = zip(*(row.search(texts) for row in (towers, rescored, by_category)), strict=True)
    differ = 0
    known = model.read(list(texts), "query").known
    for query, (everything, nearest, divided) in enumerate(lists):
        if not known[query]:
            assert [len(own.documents) for own in (everything, nearest, divided)] == [0, 0, 0]
            continue
        expected = cosines(questions[collection.query_ids[query]][None], documents).numpy()
        np.testing.assert_allclose(everything.scores, expected[everything.documents], atol=1e-5)
        assert len(everything.documents) == len(documents)
        distances = (unpack(model.encode([texts[query]], "query")) != codes).sum(axis=1)
        near = np.lexsort((np.arange(len(codes)), distances))
        assert sorted(nearest.documents) == sorted(near[:N])
        of_each = [near[categories[near] == one][:quota] for one, quota in enumerate(quotas[query])]
        assert sorted(divided.documents) == sorted(np.concatenate(of_each))
        np.testing.assert_allclose(divided.scores, expected[divided.documents], atol=1e-5)
        differ += sorted(divided.documents) != sorted(nearest.documents)
    assert differ


def test_a_table_of_a_model_with_towers_shows_them(model, collection):
    table = evaluate_model(model, collection)
    assert [row.name for row in table.rows][3:6] == ["coshc 16 towers", "coshc 16 rescored", "coshc 16 by category"]


def test_other_methods_have_no_towers(small_hasher, collection):
    assert tower_rows(ModelRows(Hasher.load(small_hasher), collection.documents)) == []
