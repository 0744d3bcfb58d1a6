"""Vector store of LlamaIndex, over an index or a service (``pip install "texthash[llamaindex]"``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.schema import BaseNode, MetadataMode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
    VectorStoreQueryResult,
)
from llama_index.core.vector_stores.utils import metadata_dict_to_node, node_to_metadata_dict

from texthash.api.requests import Mode
from texthash.client import Client
from texthash.errors import UsageError
from texthash.integrations.diversity import diverse_hits
from texthash.integrations.filters import Filter, compare, every, negate, some
from texthash.integrations.store import Entry, Hit, Query, Store, Stored, store_of
from texthash.local.index import Index

_NODE = ("_node_content", "_node_type")
_REPEATED = ("document_id", "ref_doc_id")  # besides doc_id, for other stores
_SOURCE = "doc_id"
_MODES: dict[VectorStoreQueryMode, Mode] = {
    VectorStoreQueryMode.DEFAULT: "semantic",
    VectorStoreQueryMode.MMR: "semantic",
    VectorStoreQueryMode.SPARSE: "keyword",
    VectorStoreQueryMode.TEXT_SEARCH: "keyword",
    VectorStoreQueryMode.HYBRID: "hybrid",
    VectorStoreQueryMode.SEMANTIC_HYBRID: "hybrid",
}
_OPERATORS = {"==", "!=", ">", ">=", "<", "<=", "in"}


class TexthashVectorStore(BasePydanticVectorStore):
    """Nodes under binary codes, searched exactly.

    Args:
        target: ``texthash.Index(model, [])`` in this process, or ``texthash.Client(url)`` of a running service.
        embeddings: True for a model that learned from vectors of the embedding model of LlamaIndex; False: the model
            encodes texts, and no embedding model is needed.

    Raises:
        UsageError: The target is neither an index nor a client.
    """

    stores_text: bool = True
    is_embedding_query: bool = False
    _store: Store = PrivateAttr()
    _target: Any = PrivateAttr()

    def __init__(self, target: Index | Client, *, embeddings: bool = False) -> None:
        super().__init__(stores_text=True, is_embedding_query=embeddings)
        self._target, self._store = target, store_of(target)

    @classmethod
    def class_name(cls) -> str:
        """Return the name of the class, by which LlamaIndex stores it."""
        return "TexthashVectorStore"

    @property
    def client(self) -> Index | Client:
        """Index or client of the store."""
        return self._target

    def add(self, nodes: Sequence[BaseNode], **_: Any) -> list[str]:
        """Insert nodes, or replace those with their ids, and return the ids."""
        entries = {node.node_id: self._entry(node) for node in nodes}
        self._store.add(list(entries.values()))
        return [node.node_id for node in nodes]

    def delete(self, ref_doc_id: str, **_: Any) -> None:
        """Delete the nodes of a source document."""
        if _SOURCE in self._store.attributes:
            self._store.delete_where(compare(_SOURCE, "==", ref_doc_id))

    def delete_nodes(self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **_: Any) -> None:
        """Delete nodes by id, those that a filter keeps, or those by id that it keeps.

        Raises:
            UsageError: Neither is given; :meth:`clear` deletes all nodes.
        """
        chosen = _conditions(node_ids=node_ids, filters=filters)
        if chosen is None:
            raise UsageError("neither node_ids nor filters are given.", "call clear() to delete all nodes.")
        self._store.delete_where(chosen)

    def clear(self) -> None:
        """Delete all nodes."""
        self._store.delete_where(None)

    def get_nodes(self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None) -> list[BaseNode]:
        """Return nodes by id, in the order of the ids, or those that a filter keeps."""
        if node_ids is not None and filters is None:
            return [_node(stored) for stored in self._store.get(node_ids)]
        return [_node(stored) for stored in self._store.select(_conditions(node_ids=node_ids, filters=filters))]

    def query(self, query: VectorStoreQuery, **options: Any) -> VectorStoreQueryResult:
        """Return the best nodes of a query.

        Args:
            query: Query; its mode is DEFAULT (by meaning), SPARSE or TEXT_SEARCH (by words), HYBRID (by both, with
                ``alpha`` as the weight of the meaning), or MMR (relevant nodes with codes unlike each other).
            options: ``mmr_threshold`` and ``mmr_prefetch_factor`` of a query of the mode MMR, as in other stores.

        Raises:
            UsageError: The mode or an operator of a filter does not exist here.
        """
        mode = _MODES.get(query.mode)
        if mode is None:
            raise UsageError(
                f"there is no mode {query.mode.value}.", f"use {', '.join(known.value for known in _MODES)}."
            )
        vector = query.query_embedding if self.is_embedding_query and mode != "keyword" else None
        # The retrievers of the library give an empty list for all nodes.
        where = _conditions(node_ids=query.node_ids or None, doc_ids=query.doc_ids or None, filters=query.filters)
        asked = Query(text=query.query_str, vector=vector, mode=mode, weight=query.alpha, filter=where)
        if query.mode == VectorStoreQueryMode.MMR:
            return _result(self._diverse(asked, query, options))
        best = query.similarity_top_k
        if mode == "hybrid":
            best = query.hybrid_top_k or best
        elif mode == "keyword":
            best = query.sparse_top_k or best
        return _result(self._store.search(asked, best))

    def _diverse(self, asked: Query, query: VectorStoreQuery, options: dict[str, Any]) -> list[Hit]:
        weight = options.get("mmr_threshold", query.mmr_threshold)
        near = self._store.search(asked, int(query.similarity_top_k * options.get("mmr_prefetch_factor", 4)))
        return diverse_hits(near, query.similarity_top_k, 0.5 if weight is None else weight)

    def _entry(self, node: BaseNode) -> Entry:
        metadata = node_to_metadata_dict(node, remove_text=True)
        kept = {name: metadata.pop(name) for name in _NODE}
        for name in _REPEATED:
            metadata.pop(name)
        vector = node.get_embedding() if self.is_embedding_query else None
        return Entry(node.node_id, node.get_content(metadata_mode=MetadataMode.NONE), metadata, vector, kept)


def filter_of(given: MetadataFilters | MetadataFilter) -> Filter:
    """Return the filter in the form of the HTTP API.

    Raises:
        UsageError: An operator does not exist here.
    """
    if isinstance(given, MetadataFilter):
        return _comparison(given)
    parts = [filter_of(one) for one in given.filters]
    if given.condition == FilterCondition.OR:
        return some(parts)
    return negate(every(parts)) if given.condition == FilterCondition.NOT else every(parts)


def _comparison(given: MetadataFilter) -> Filter:
    operator = given.operator
    if operator == FilterOperator.IS_EMPTY:
        return compare(given.key, "==", None)
    if operator == FilterOperator.NIN:
        return compare(given.key, "not in", given.value)
    if given.key == "labels" and operator in (FilterOperator.ANY, FilterOperator.CONTAINS):
        return compare("labels", "in", given.value)
    if operator.value not in _OPERATORS:
        raise UsageError(
            f"the operator {operator.value} of the filter on {given.key!r} does not exist here.",
            f"use {', '.join(sorted(_OPERATORS))}, nin or is_empty; any and contains for labels.",
        )
    return compare(given.key, operator.value, given.value)


def _conditions(
    *,
    node_ids: Sequence[str] | None = None,
    doc_ids: Sequence[str] | None = None,
    filters: MetadataFilters | None = None,
) -> Filter | None:
    parts: list[Filter] = [] if node_ids is None else [{"ids": list(node_ids) or [""]}]
    parts += [] if doc_ids is None else [compare(_SOURCE, "in", list(doc_ids))]
    parts += [] if filters is None or not filters.filters else [filter_of(filters)]
    return every(parts) if parts else None


def _node(stored: Stored) -> BaseNode:
    return metadata_dict_to_node(stored.kept, text=stored.text)


def _result(hits: Sequence[Hit]) -> VectorStoreQueryResult:
    return VectorStoreQueryResult(
        nodes=[_node(hit.stored) for hit in hits],
        similarities=[hit.score for hit in hits],
        ids=[hit.stored.id for hit in hits],
    )
