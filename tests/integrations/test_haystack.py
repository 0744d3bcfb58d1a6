"""The document store of Haystack: the library's own suite, and its retriever in a pipeline."""

from __future__ import annotations

import os

import pytest

os.environ.setdefault("HAYSTACK_TELEMETRY_ENABLED", "False")  # no calls to other servers
pytest.importorskip("haystack", reason="the extra haystack is not installed")

from haystack import Document, Pipeline
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.document_stores.types import DuplicatePolicy
from haystack.errors import FilterError
from haystack.testing.document_store import CountDocumentsByFilterTest, DocumentStoreBaseExtendedTests

import texthash
from texthash.errors import UsageError
from texthash.integrations.haystack import TexthashDocumentStore, TexthashRetriever


def without_embedding(documents: list[Document]) -> list[dict]:
    return sorted(({**one.to_dict(flatten=False), "embedding": None} for one in documents), key=lambda one: one["id"])


class TestOverAnIndex(DocumentStoreBaseExtendedTests, CountDocumentsByFilterTest):
    @pytest.fixture
    def document_store(self, index: texthash.Index) -> TexthashDocumentStore:
        return WithoutEmbeddings(index)

    @staticmethod
    def assert_documents_are_equal(received: list[Document], expected: list[Document]) -> None:
        """Compare all but embeddings, which are not kept."""
        assert without_embedding(received) == without_embedding(expected)

    def test_write_documents(self, document_store: TexthashDocumentStore) -> None:
        document = Document(content="a text")
        assert document_store.write_documents([document]) == 1
        with pytest.raises(DuplicateDocumentError, match=document.id):
            document_store.write_documents([document])


class WithoutEmbeddings(TexthashDocumentStore):
    """The suite gives embeddings that are not for the model, which reads words."""

    def write_documents(self, documents, policy=DuplicatePolicy.NONE):
        if isinstance(documents, list):
            documents = [
                Document.from_dict({**one.to_dict(flatten=False), "embedding": None})
                if isinstance(one, Document)
                else one
                for one in documents
            ]
        return super().write_documents(documents, policy)


@pytest.fixture
def filled(target, texts: list[str]) -> TexthashDocumentStore:
    store = TexthashDocumentStore(target)
    store.write_documents([Document(id=f"n{n}", content=text, meta={"n": n}) for n, text in enumerate(texts)])
    return store


def test_a_retriever_in_a_pipeline(filled: TexthashDocumentStore, texts: list[str]) -> None:
    pipeline = Pipeline()
    pipeline.add_component("retriever", TexthashRetriever(filled, top_k=5))
    found = pipeline.run({"retriever": {"query": texts[5]}})["retriever"]["documents"]
    assert (found[0].score, len(found)) == (1.0, 5)
    few = {"operator": "AND", "conditions": [{"field": "meta.n", "operator": "<", "value": 3}]}
    kept = pipeline.run({"retriever": {"query": texts[5], "filters": few, "top_k": 10}})["retriever"]["documents"]
    assert {one.id for one in kept} == {"n0", "n1", "n2"}
    by_words = TexthashRetriever(filled, mode="hybrid", top_k=3).run(texts[5])["documents"]
    assert by_words[0].id == "n5"
    assert len(TexthashRetriever(filled, diversity=0.3, top_k=3).run(texts[5])["documents"]) == 3
    one = {"field": "id", "operator": "==", "value": "n7"}
    assert [document.content for document in filled.filter_documents(one)] == [texts[7]]


def test_filters_of_a_service_fail_as_those_of_an_index(filled: TexthashDocumentStore) -> None:
    for value in ("1", [1]):
        with pytest.raises(FilterError):
            filled.filter_documents({"field": "meta.n", "operator": ">", "value": value})
    with pytest.raises(FilterError, match="empty"):
        filled.delete_by_filter({})
    with pytest.raises(UsageError, match="no mode 'best'"):
        TexthashRetriever(filled, mode="best")


def test_a_pipeline_is_written_and_read(model, texts: list[str], tmp_path) -> None:
    saved = texthash.Index(model, texts).save(tmp_path / "index")
    pipeline = Pipeline()
    pipeline.add_component("retriever", TexthashRetriever(TexthashDocumentStore(str(saved)), top_k=2))
    again = Pipeline.from_dict(pipeline.to_dict(), allowed_modules=["texthash.integrations.haystack"])
    asked = {"retriever": {"query": texts[3]}}
    assert again.run(asked) == pipeline.run(asked)
    with pytest.raises(UsageError, match="this process alone"):
        TexthashDocumentStore(texthash.Index(model, [])).to_dict()
    with pytest.raises(UsageError, match="neither the URL of a service nor an index"):
        TexthashDocumentStore(str(tmp_path / "nothing"))
