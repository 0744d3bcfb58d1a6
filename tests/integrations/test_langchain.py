"""The vector store of LangChain: the library's standard suite, and what this store does more."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

pytest.importorskip("langchain_tests", reason="the extra langchain and langchain-tests are not installed")

from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.vectorstores import VectorStore
from langchain_core.vectorstores.utils import maximal_marginal_relevance
from langchain_tests.integration_tests import VectorStoreIntegrationTests

import texthash
from texthash.errors import UsageError
from texthash.integrations.langchain import TexthashVectorStore

for member in vars(VectorStoreIntegrationTests).values():  # the suite leaves the mode of pytest-asyncio to its users
    if inspect.iscoroutinefunction(member):
        pytest.mark.asyncio(member)


class TestOverAnIndex(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, index: texthash.Index) -> VectorStore:
        return TexthashVectorStore(index)


class TestOverAService(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, client: texthash.Client) -> VectorStore:
        return TexthashVectorStore(client)


class TestOverEmbeddings(VectorStoreIntegrationTests):
    """The model learned from vectors of the suite's own embeddings."""

    @pytest.fixture
    def vectorstore(self) -> VectorStore:
        embedding = self.get_embeddings()
        vectors = embedding.embed_documents([f"text {number}" for number in range(40)])
        model = texthash.train("lsh", vectors=vectors, bits=64)
        return TexthashVectorStore(texthash.Index(model, []), embedding=embedding)


@pytest.fixture
def filled(target, texts: list[str]) -> TexthashVectorStore:
    store = TexthashVectorStore(target)
    store.add_texts(texts, [{"place": place} for place in range(len(texts))], ids=list(map(str, range(len(texts)))))
    return store


def test_scores_filters_and_the_retriever(filled: TexthashVectorStore, texts: list[str]) -> None:
    found = filled.similarity_search_with_score(texts[5], k=10)
    scores = [score for _, score in found]
    assert (scores[0], scores == sorted(scores, reverse=True)) == (1.0, True)
    assert filled.similarity_search_with_relevance_scores(texts[5], k=10) == found
    above = filled.as_retriever(
        search_type="similarity_score_threshold", search_kwargs={"score_threshold": scores[3], "k": 10}
    )
    assert len(above.invoke(texts[5])) == sum(score >= scores[3] for score in scores)
    kept = filled.similarity_search(texts[5], k=100, filter={"place": {"gte": 10, "lt": 20}})
    assert {document.metadata["place"] for document in kept} == set(range(10, 20))
    (one,) = filled.similarity_search(texts[5], k=100, filter={"place": 17})
    assert (one.id, one.page_content) == ("17", texts[17])
    filled.delete(filter={"place": {"lt": 10}})
    assert filled.get_by_ids(["9", "10"])[0].id == "10"
    filled.delete()
    assert filled.similarity_search(texts[5]) == []


@pytest.mark.parametrize("weight", [0.0, 0.4, 1.0])
def test_the_diverse_search_is_that_of_the_library_over_codes(target, filled, texts: list[str], weight: float) -> None:
    from texthash.integrations.store import Query, store_of

    hits = store_of(target).search(Query(text=texts[5]), 20)
    signs = np.stack([np.unpackbits(hit.stored.code) * 2.0 - 1 for hit in hits])
    expected = maximal_marginal_relevance(signs[0], signs, lambda_mult=weight, k=6)  # the query is the first hit's code
    found = filled.max_marginal_relevance_search(texts[5], k=6, fetch_k=20, lambda_mult=weight)
    gains = [hits[place].score for place in expected]
    assert [document.id for document in found] == [hits[place].stored.id for place in expected], gains


@pytest.mark.parametrize("mode", ["keyword", "hybrid"])
def test_searches_by_words(target, filled, texts: list[str], mode) -> None:
    store = TexthashVectorStore(target, mode=mode)
    found = store.similarity_search_with_score(texts[5], k=5)
    assert found[0][0].id == "5"
    if mode == "hybrid":
        assert store.similarity_search_with_relevance_scores(texts[5], k=5)[0][1] == pytest.approx(1)
    else:
        with pytest.raises(UsageError, match="no upper bound"):
            store.similarity_search_with_relevance_scores(texts[5], k=5)


def test_a_store_of_embeddings_searches_by_vectors(texts: list[str]) -> None:
    embedding = DeterministicFakeEmbedding(size=16)
    vectors = embedding.embed_documents(texts)
    model = texthash.train("itq", vectors=vectors, bits=16, params={"input": "features"})
    documents = [Document(page_content=text, id=str(place)) for place, text in enumerate(texts)]
    store = TexthashVectorStore.from_documents(documents, embedding, model=model)
    index = texthash.Index(model, vectors=vectors)
    (expected,) = index.search(vectors=[vectors[7]], k=5)
    assert [one.id for one in store.similarity_search(texts[7], k=5)] == expected.ids
    assert [one.id for one in store.similarity_search_by_vector(vectors[7], k=5)] == expected.ids
    assert len(store.max_marginal_relevance_search_by_vector(vectors[7], k=3)) == 3
    with pytest.raises(UsageError, match="needs a trained model"):
        TexthashVectorStore.from_texts(texts, embedding)
