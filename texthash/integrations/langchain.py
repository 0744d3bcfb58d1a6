"""Vector store of LangChain over an index in this process or a running service (``pip install "texthash[langchain]"``).

>>> import texthash
>>> from texthash.integrations.langchain import TexthashVectorStore
>>> texts = ["sort an array", "sort a list of numbers", "open a file", "read a table", "plot a graph"]
>>> store = TexthashVectorStore(texthash.Index(texthash.train("nash", texts, bits=8), []))
>>> ids = store.add_texts(texts, [{"place": place} for place in range(5)])
>>> len(store.similarity_search("sort an array", k=2, filter={"place": {"lt": 3}}))
2
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from texthash.api.requests import Mode
from texthash.client import Client
from texthash.errors import UsageError
from texthash.integrations.diversity import diverse_hits
from texthash.integrations.filters import of_mapping
from texthash.integrations.store import Entry, Hit, Query, Stored, store_of
from texthash.local.index import Index
from texthash.models.hasher import Hasher


class TexthashVectorStore(VectorStore):
    """Documents under binary codes, searched exactly.

    Metadata are attributes of the documents (:mod:`texthash.integrations.metadata`). A filter has the values of
    metadata by name, ``{"source": "a.txt", "year": {"gte": 2020}}``, or is one of the HTTP API.

    Args:
        target: ``texthash.Index(model, [])`` in this process, or ``texthash.Client(url)`` of a running service.
        embedding: Embeddings of documents and queries, for a model that learned from vectors of that kind; None: the
            model encodes the texts.
        mode: Searches by meaning, by words (BM25), or by both; the diverse search (MMR) is always by meaning.
        weight: Weight of the meaning in a hybrid search; None for that of the release, or 0.4.

    Raises:
        UsageError: The target is neither an index nor a client.
    """

    def __init__(
        self,
        target: Index | Client,
        *,
        embedding: Embeddings | None = None,
        mode: Mode = "semantic",
        weight: float | None = None,
    ) -> None:
        self._store = store_of(target)
        self._embedding, self._mode, self._weight = embedding, mode, weight

    @property
    def embeddings(self) -> Embeddings | None:
        """Embeddings of documents and queries, if the model learned from vectors."""
        return self._embedding

    def add_documents(self, documents: list[Document], ids: list[str] | None = None, **_: Any) -> list[str]:
        """Insert documents, or replace those with their ids, and return the ids.

        Args:
            documents: Documents; one without an id gets a random one.
            ids: Ids in place of those of the documents.

        Raises:
            UsageError: There is another number of ids, or metadata that cannot be stored.
        """
        given = [document.id for document in documents] if ids is None else list(ids)
        if len(given) != len(documents):
            raise UsageError(f"there are {len(given)} ids for {len(documents)} documents.", "give one id for each.")
        names = [name or str(uuid.uuid4()) for name in given]
        texts = [document.page_content for document in documents]
        vectors = [None] * len(texts) if self._embedding is None else self._embedding.embed_documents(texts)
        # Of several documents with one id, the last one stays, as if they were added one after the other.
        entries = {
            name: Entry(name, document.page_content, document.metadata, vector)
            for name, document, vector in zip(names, documents, vectors, strict=True)
        }
        self._store.add(list(entries.values()))
        return names

    def delete(self, ids: list[str] | None = None, *, filter: Mapping[str, Any] | None = None, **_: Any) -> bool:
        """Delete documents by id, or those that a filter keeps; all of them without both.

        Raises:
            UsageError: Both are given.
        """
        if ids is not None and filter is not None:
            raise UsageError("a deletion has either ids or a filter.", "leave one of them out.")
        if ids is None:
            self._store.delete_where(of_mapping(filter))
        else:
            self._store.delete(ids)
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Return documents by id; those that are not there are left out."""
        return [_document(stored) for stored in self._store.get(list(ids))]

    def similarity_search(self, query: str, k: int = 4, **options: Any) -> list[Document]:
        """Return the best k documents of a query; the options are those of :meth:`similarity_search_with_score`."""
        return [document for document, _ in self.similarity_search_with_score(query, k, **options)]

    def similarity_search_with_score(
        self, query: str, k: int = 4, *, filter: Mapping[str, Any] | None = None, **_: Any
    ) -> list[tuple[Document, float]]:
        """Return the best k documents of a query, each with its score.

        Args:
            query: Text of the query.
            k: Largest number of documents.
            filter: Filter of the documents; None for all.

        Returns:
            Documents, the best first, with 1 - distance / bits in a search by meaning, BM25 in one by words, and the
            fused score in a hybrid one, 0 to 1.
        """
        vector = None if self._mode == "keyword" else self._vector(query)
        found = self._store.search(
            Query(text=query, vector=vector, mode=self._mode, weight=self._weight, filter=of_mapping(filter)), k
        )
        return [(_document(hit.stored), hit.score) for hit in found]

    def similarity_search_by_vector(
        self, embedding: list[float], k: int = 4, *, filter: Mapping[str, Any] | None = None, **_: Any
    ) -> list[Document]:
        """Return the best k documents of a vector of the kind that the model learned from."""
        found = self._store.search(Query(vector=embedding, filter=of_mapping(filter)), k)
        return [_document(hit.stored) for hit in found]

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        filter: Mapping[str, Any] | None = None,
        **_: Any,
    ) -> list[Document]:
        """Return k of the nearest ``fetch_k`` documents that are relevant and unlike each other, by their codes.

        Args:
            query: Text of the query.
            k: Largest number of documents.
            fetch_k: Number of nearest documents from which they are taken.
            lambda_mult: 1 takes the nearest, 0 the most different ones.
            filter: Filter of the documents; None for all.
        """
        found = self._store.search(Query(text=query, vector=self._vector(query), filter=of_mapping(filter)), fetch_k)
        return _diverse(found, k, lambda_mult)

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        filter: Mapping[str, Any] | None = None,
        **_: Any,
    ) -> list[Document]:
        """Return the same as :meth:`max_marginal_relevance_search` for a vector."""
        found = self._store.search(Query(vector=embedding, filter=of_mapping(filter)), fetch_k)
        return _diverse(found, k, lambda_mult)

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings | None = None,
        metadatas: list[dict] | None = None,
        *,
        ids: list[str] | None = None,
        model: Hasher | None = None,
        **options: Any,
    ) -> Self:
        """Return a store over a new index in this process, with these texts.

        Args:
            texts: Texts of the documents.
            embedding: Embeddings; used where the model learned from vectors.
            metadatas: Metadata of each text.
            ids: Ids of the texts; None for random ones.
            model: Trained model, which is required.
            options: Further arguments of the store, such as ``mode``.

        Raises:
            UsageError: There is no model.
        """
        if model is None:
            raise UsageError("a store needs a trained model.", "give model=texthash.train('nash', texts).")
        used = embedding if model.method.reads_features else None
        store = cls(Index(model, []), embedding=used, **options)
        store.add_texts(texts, metadatas, ids=ids)
        return store

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        if self._mode == "keyword":
            raise UsageError("scores of a search by words have no upper bound.", "use mode='semantic' or 'hybrid'.")
        return lambda score: score

    def _vector(self, query: str) -> list[float] | None:
        return None if self._embedding is None else self._embedding.embed_query(query)


def _document(stored: Stored) -> Document:
    return Document(page_content=stored.text, metadata=stored.metadata, id=stored.id)


def _diverse(found: Sequence[Hit], k: int, weight: float) -> list[Document]:
    return [_document(hit.stored) for hit in diverse_hits(found, k, weight)]
