"""The vector store of LlamaIndex, alone and under its index and retriever."""

from __future__ import annotations

import pytest

pytest.importorskip("llama_index.core", reason="the extra llamaindex is not installed")

from llama_index.core import MockEmbedding, StorageContext, VectorStoreIndex
from llama_index.core.schema import Document, NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)
from llama_index.core.vector_stores.utils import build_metadata_filter_fn

import texthash
from texthash.errors import UsageError
from texthash.integrations.llama_index import TexthashVectorStore


def nodes_of(texts: list[str]) -> list[TextNode]:
    return [
        TextNode(
            id_=f"n{place}",
            text=text,
            metadata={"place": place, "parity": "even" if place % 2 == 0 else "odd", "list": [place]},
            relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=f"doc{place // 10}")},
        )
        for place, text in enumerate(texts)
    ]


@pytest.fixture
def filled(target, texts: list[str]) -> TexthashVectorStore:
    store = TexthashVectorStore(target)
    store.delete("doc0")  # nothing is there yet
    assert store.add(nodes_of(texts)) == [f"n{place}" for place in range(len(texts))]
    return store


def test_nodes_come_back_whole(filled: TexthashVectorStore, texts: list[str]) -> None:
    found = filled.get_nodes(["n5", "missing", "n3"])
    assert found == [nodes_of(texts)[5], nodes_of(texts)[3]]
    result = filled.query(VectorStoreQuery(query_str=texts[5], similarity_top_k=4))
    assert (result.ids[0], result.similarities[0]) == ("n5", 1.0)
    assert result.nodes[0] == nodes_of(texts)[5]


@pytest.mark.parametrize(
    "mode", [VectorStoreQueryMode.HYBRID, VectorStoreQueryMode.TEXT_SEARCH, VectorStoreQueryMode.MMR]
)
def test_modes(filled: TexthashVectorStore, texts: list[str], mode: VectorStoreQueryMode) -> None:
    query = VectorStoreQuery(query_str=texts[5], similarity_top_k=4, mode=mode, alpha=0.4)
    assert filled.query(query).ids[0] == "n5"
    assert len(filled.query(query).ids) == 4


def test_filters_mean_what_they_mean_to_the_library(filled: TexthashVectorStore, texts: list[str]) -> None:
    metadata = {node.node_id: node.metadata for node in nodes_of(texts)}
    single = [
        MetadataFilter(key="place", value=value, operator=operator)
        for operator, value in [("==", 7), ("!=", 7), (">", 7), (">=", 7), ("<", 7), ("<=", 7), ("in", [3, 7, 900])]
    ]
    single += [MetadataFilter(key="place", value=[3, 7], operator="nin"), MetadataFilter(key="parity", value="odd")]
    cases = [MetadataFilters(filters=[one]) for one in single]
    cases += [
        MetadataFilters(filters=single[4:6], condition=FilterCondition.OR),
        MetadataFilters(filters=[single[4], single[-1]], condition=FilterCondition.AND),
    ]
    for case in cases:
        keeps = build_metadata_filter_fn(metadata.__getitem__, case)
        expected = {id_ for id_ in metadata if keeps(id_)}
        assert {node.node_id for node in filled.get_nodes(filters=case)} == expected
    neither = MetadataFilters(filters=[single[2], MetadataFilters(filters=[single[-1]])], condition=FilterCondition.NOT)
    assert len(filled.get_nodes(filters=neither)) == sum(not (n > 7 and n % 2) for n in range(len(texts)))
    with pytest.raises(UsageError, match="text_match"):
        filled.get_nodes(
            filters=MetadataFilters(
                filters=[MetadataFilter(key="parity", value="o", operator=FilterOperator.TEXT_MATCH)]
            )
        )


def test_nodes_are_deleted(filled: TexthashVectorStore, texts: list[str]) -> None:
    filled.delete("doc0")
    assert filled.get_nodes(["n9", "n10"])[0].node_id == "n10"
    filled.delete_nodes(["n10", "n11"])
    filled.delete_nodes(filters=MetadataFilters(filters=[MetadataFilter(key="place", value=90, operator=">=")]))
    assert {node.metadata["place"] for node in filled.get_nodes()} == set(range(12, 90))
    kept = filled.query(VectorStoreQuery(query_str=texts[20], similarity_top_k=100, doc_ids=["doc2"]))
    assert {node.metadata["place"] for node in kept.nodes} <= set(range(20, 30))
    with pytest.raises(UsageError, match="clear"):
        filled.delete_nodes()
    filled.clear()
    assert filled.get_nodes() == []


def test_an_index_of_the_library_needs_no_embedding_model(target, texts: list[str]) -> None:
    store = TexthashVectorStore(target)
    index = VectorStoreIndex.from_documents(
        [Document(text=text, id_=f"d{place}") for place, text in enumerate(texts[:20])],
        storage_context=StorageContext.from_defaults(vector_store=store),
        embed_model=MockEmbedding(4),
    )
    found = index.as_retriever(similarity_top_k=3).retrieve(texts[5])
    assert found[0].node.ref_doc_id == "d5"
    index.delete_ref_doc("d5")
    assert index.as_retriever(similarity_top_k=1).retrieve(texts[5])[0].node.ref_doc_id != "d5"


def test_embeddings_of_the_library_are_what_the_model_reads(texts: list[str]) -> None:
    import numpy as np

    vectors = np.random.default_rng(0).normal(size=(len(texts), 16)).tolist()
    model = texthash.train("itq", vectors=vectors, bits=16, params={"input": "features"})
    store = TexthashVectorStore(texthash.Index(model, []), embeddings=True)
    nodes = nodes_of(texts)
    for node, vector in zip(nodes, vectors, strict=True):
        node.embedding = vector
    store.add(nodes)
    (expected,) = texthash.Index(model, vectors=vectors).search(vectors=[vectors[5]], k=4)
    found = store.query(VectorStoreQuery(query_embedding=vectors[5], query_str="unused", similarity_top_k=4))
    assert found.ids == [f"n{place}" for place in expected.ids]
