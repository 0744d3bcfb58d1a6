"""A model and an index on a test collection."""

from __future__ import annotations

import numpy as np
import pytest

import texthash
from tests.evaluation.retrieval.small import DOCUMENTS, QRELS, QUERIES, write_collection
from texthash.errors import UsageError
from texthash.hamming.codes import unpack

TEXTS = {id_: text if text.startswith(title) else f"{title}\n{text}" for id_, (title, text) in DOCUMENTS.items()}


@pytest.fixture
def folder(tmp_path):
    return write_collection(tmp_path / "small")


def test_codes_have_the_figures_of_the_same_queries_documents_and_judgements(model, folder):
    table = texthash.evaluate(model, judged=folder)
    asked = {query: QUERIES[query] for query in QRELS}
    figures = texthash.evaluate(model, asked, TEXTS, QRELS, k=[10])
    name = f"{model.method.card.name} {model.bits}"
    codes = [f"{name} hamming", f"{name} asymmetric", f"{name} asymmetric + bm25"]
    assert [row.name for row in table.rows] == ["random", "tf-idf cosine", "bm25", *codes]
    for metric in ("ndcg_at_10", "p_at_10", "recall_at_10", "map"):
        assert table[f"{name} hamming"].metrics[metric] == pytest.approx(figures[metric]), metric
    assert table["bm25"]["success_at_10"] == 1


def test_asymmetric_scores_are_products_of_real_values_and_bits(model, folder):
    table = texthash.evaluate(model, judged=folder)
    signs = 2.0 * unpack(model.encode(list(TEXTS.values()))) - 1
    asked = [QUERIES[query] for query in QRELS]
    margins = model.query_values(model.read(asked, role="query").values)
    scores = margins @ signs.T
    nearest = [np.flatnonzero(own >= own.max() - 1e-5).tolist() for own in scores]  # documents may share a code
    relevant = [[list(TEXTS).index(id_) for id_, grade in own.items() if grade] for own in QRELS.values()]
    found = table[f"{model.method.card.name} {model.bits} asymmetric"].by_query["mrr_at_10"].expected
    expected = [set(first) <= set(own) for first, own in zip(nearest, relevant, strict=True)]
    assert [value == 1 for value in found[:2]] == expected[:2]


def test_an_index_has_the_figures_of_its_model_where_it_holds_the_collection(model, folder):
    index = texthash.Index(model, list(TEXTS.values()), ids=list(TEXTS))
    table = texthash.evaluate(index, judged=folder, split="test")
    codes = texthash.evaluate(model, judged=folder)
    assert table.rows[-1].metrics == codes[f"{model.method.card.name} {model.bits} hamming"].metrics


def test_documents_of_an_index_that_the_collection_lacks_take_ranks(model, folder):
    more = [*TEXTS.values(), *TEXTS.values()]
    ids = [*TEXTS, *(f"copy of {id_}" for id_ in TEXTS)]
    table = texthash.evaluate(texthash.Index(model, more, ids=ids), judged=folder)
    alone = texthash.evaluate(texthash.Index(model, list(TEXTS.values()), ids=list(TEXTS)), judged=folder)
    assert table.rows[-1]["map"] < alone.rows[-1]["map"]
    with pytest.raises(UsageError, match="the index has no document of small, whose first id is 'd1'"):
        texthash.evaluate(texthash.Index(model, more), judged=folder)


def test_what_does_not_belong_together_is_named(model, folder):
    with pytest.raises(UsageError, match="judged= has queries"):
        texthash.evaluate(model, ["sort"], judged=folder)
    with pytest.raises(UsageError, match="queries, documents or qrels are missing"):
        texthash.evaluate(model, ["sort"])
    index = texthash.Index(model, list(TEXTS.values()))
    with pytest.raises(UsageError, match="an index can only be evaluated on a test collection"):
        texthash.evaluate(index, ["sort"], ["sort"], {"0": ["0"]})
    with pytest.raises(UsageError, match="no judgements of train"):
        texthash.evaluate(model, judged=folder, split="train")
