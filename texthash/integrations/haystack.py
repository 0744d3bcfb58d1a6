"""Document store and retriever of Haystack, over an index or a service (``pip install "texthash[haystack]"``)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, get_args

from haystack import Document, component, default_from_dict, default_to_dict
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.document_stores.types import DuplicatePolicy
from haystack.errors import FilterError

from texthash.api.requests import Mode
from texthash.client import Client, ServiceError
from texthash.errors import TexthashError, UsageError
from texthash.integrations.diversity import diverse_hits
from texthash.integrations.filters import Filter, compare, every, negate, some
from texthash.integrations.store import Entry, Hit, Query, Stored, store_of
from texthash.local.index import Index

_META = "meta."
_REFUSED = (400, 409, 422)  # statuses of a service for a filter that it does not accept
_FETCHED = 4  # nearest documents per result of a diverse search


class TexthashDocumentStore:
    """Documents under binary codes, searched exactly.

    Embeddings encode documents, for a model that learned from them, and are not kept.

    Args:
        target: ``texthash.Index(model, [])``, ``texthash.Client(url)``, the URL of a service, or a directory that
            ``Index.save`` wrote. Only a URL or a directory can be written into a pipeline's YAML.

    Raises:
        UsageError: The target is none of these.
    """

    def __init__(self, target: Index | Client | str) -> None:
        self.target = target
        self._store = store_of(_opened(target) if isinstance(target, str) else target)

    def to_dict(self) -> dict[str, Any]:
        """Return the store as a part of a pipeline.

        Raises:
            UsageError: The target is an object of this process.
        """
        if not isinstance(self.target, str):
            raise UsageError(
                f"a store over {type(self.target).__name__} lives in this process alone.",
                "give the URL of a service, or a directory that Index.save wrote.",
            )
        return default_to_dict(self, target=self.target)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> TexthashDocumentStore:
        """Return the store of a part of a pipeline."""
        return default_from_dict(cls, data)

    def count_documents(self) -> int:
        """Return the number of documents."""
        return self._store.count()

    def count_documents_by_filter(self, filters: dict[str, Any]) -> int:
        """Return the number of documents that a filter keeps."""
        if not self.count_documents():  # no attribute is known, and a filter on one would be an error
            return 0
        with _filter_errors():
            return self._store.count(filter_of(filters))

    def filter_documents(self, filters: dict[str, Any] | None = None) -> list[Document]:
        """Return the documents that a filter keeps, all without one.

        Raises:
            FilterError: The filter is malformed, or compares values of two types.
        """
        with _filter_errors():
            return [_document(stored) for stored in self._store.select(filter_of(filters))]

    def write_documents(self, documents: list[Document], policy: DuplicatePolicy = DuplicatePolicy.NONE) -> int:
        """Write documents and return their number.

        Args:
            documents: Documents.
            policy: What is done with the id of a document that is there already; NONE fails.

        Raises:
            DuplicateDocumentError: An id is there already, and the policy is FAIL or NONE.
            ValueError: The documents are not a list of documents.
        """
        if not isinstance(documents, list) or not all(isinstance(one, Document) for one in documents):
            raise ValueError("give a list of haystack.Document")
        chosen = {one.id: one for one in documents}
        if policy != DuplicatePolicy.OVERWRITE:
            there = {stored.id for stored in self._store.get(list(chosen))}
            if policy != DuplicatePolicy.SKIP and (there or len(chosen) < len(documents)):
                repeated = next((one.id for one in documents if one.id in there), "of one of them")
                raise DuplicateDocumentError(f"the id {repeated} is there already")
            chosen = {id_: one for id_, one in chosen.items() if id_ not in there}
        self._store.add([_entry(one) for one in chosen.values()])
        return len(documents) if policy == DuplicatePolicy.OVERWRITE else len(chosen)

    def delete_documents(self, document_ids: list[str]) -> None:
        """Delete documents by id; unknown ids are ignored."""
        self._store.delete(document_ids)

    def delete_all_documents(self) -> None:
        """Delete all documents."""
        self._store.delete_where(None)

    def delete_by_filter(self, filters: dict[str, Any]) -> int:
        """Delete the documents that a filter keeps, and return their number.

        Raises:
            FilterError: The filter is empty or malformed.
        """
        where = filter_of(filters)
        if where is None:
            raise FilterError("the filter is empty: call delete_all_documents()")
        with _filter_errors():
            return self._store.delete_where(where)

    def update_by_filter(self, filters: dict[str, Any], meta: dict[str, Any]) -> int:
        """Set values of the metadata of the documents that a filter keeps, and return their number.

        Raises:
            UsageError: The model encodes embeddings, which are not kept.
        """
        with _filter_errors():
            found = self._store.select(filter_of(filters))
        self._store.add([Entry(one.id, one.text, one.metadata | meta, kept=one.kept) for one in found])
        return len(found)

    def search(self, query: Query, top_k: int, diversity: float | None = None) -> list[Document]:
        """Return the best documents of a query, with scores.

        Args:
            query: Query.
            top_k: Largest number of documents.
            diversity: Weight of the relevance in a search by maximal marginal relevance of the codes; None for none.
        """
        with _filter_errors():
            if diversity is None:
                hits = self._store.search(query, top_k)
            else:
                hits = diverse_hits(self._store.search(query, _FETCHED * top_k), top_k, diversity)
        return [_document(hit.stored, hit) for hit in hits]


@component
class TexthashRetriever:
    """Component that retrieves the best documents of a query.

    Args:
        document_store: Store of the documents.
        mode: ``semantic``: by meaning; ``keyword``: by words (BM25); ``hybrid``: by both.
        top_k: Largest number of documents.
        filters: Filter of the documents.
        weight: Weight of the meaning in a hybrid search; None for that of the release, or 0.4.
        diversity: Weight of the relevance, 0 to 1, in a search by meaning that also prefers documents unlike each
            other, by their codes; None for none.

    Raises:
        UsageError: There is no such mode, or a diverse search is not by meaning.
    """

    def __init__(
        self,
        document_store: TexthashDocumentStore,
        *,
        mode: str = "semantic",
        top_k: int = 10,
        filters: dict[str, Any] | None = None,
        weight: float | None = None,
        diversity: float | None = None,
    ) -> None:
        if mode not in get_args(Mode):
            raise UsageError(f"there is no mode {mode!r}.", f"use {', '.join(get_args(Mode))}.")
        if diversity is not None and mode != "semantic":
            raise UsageError(f"a diverse search by mode={mode!r} does not exist.", "leave mode or diversity out.")
        self.document_store, self.mode, self.top_k = document_store, mode, top_k
        self.filters, self.weight, self.diversity = filters, weight, diversity

    def to_dict(self) -> dict[str, Any]:
        """Return the component as a part of a pipeline."""
        options = {name: getattr(self, name) for name in ("mode", "top_k", "filters", "weight", "diversity")}
        return default_to_dict(self, document_store=self.document_store.to_dict(), **options)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> TexthashRetriever:
        """Return the component of a part of a pipeline."""
        parameters = dict(data["init_parameters"])
        store = parameters["document_store"]
        if isinstance(store, dict):
            store = TexthashDocumentStore.from_dict(store)
        parameters["document_store"] = store
        return default_from_dict(cls, {**data, "init_parameters": parameters})

    @component.output_types(documents=list[Document])
    def run(
        self,
        query: str | None = None,
        query_embedding: list[float] | None = None,
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
    ) -> dict[str, list[Document]]:
        """Retrieve documents.

        Args:
            query: Text of the query.
            query_embedding: Embedding of the query, for a model that learned from embeddings.
            filters: Filter in place of that of the component.
            top_k: Largest number of documents in place of that of the component.
        """
        asked = Query(
            text=query,
            vector=query_embedding,
            mode=self.mode,  # type: ignore[arg-type]  # checked above
            weight=self.weight,
            filter=filter_of(self.filters if filters is None else filters),
        )
        found = self.document_store.search(asked, self.top_k if top_k is None else top_k, self.diversity)
        return {"documents": found}


def filter_of(filters: dict[str, Any] | None) -> Filter | None:
    """Return a filter of Haystack in the form of the HTTP API; None for an empty one.

    Raises:
        FilterError: The filter is malformed.
    """
    return _part(filters) if filters else None


def _part(given: Any) -> Filter:
    if not isinstance(given, dict) or "operator" not in given:
        raise FilterError(f"{given!r} has no operator")
    operator = given["operator"]
    if "field" not in given:
        if operator not in ("AND", "OR", "NOT") or not given.get("conditions"):
            raise FilterError(f"{given!r} is neither a comparison with a field nor AND, OR or NOT of conditions")
        parts = [_part(one) for one in given["conditions"]]
        if operator == "OR":
            return some(parts)
        return negate(every(parts)) if operator == "NOT" else every(parts)
    if "value" not in given:
        raise FilterError(f"{given!r} has no value")
    name, value = str(given["field"]).removeprefix(_META), given["value"]
    if name == "id" and operator in ("==", "in"):
        return {"ids": [value] if operator == "==" else list(value) or [""]}
    try:
        return compare(name, operator, value)
    except UsageError as error:
        raise FilterError(str(error)) from error


@contextmanager
def _filter_errors() -> Iterator[None]:
    """Raise errors of a filter as those of Haystack."""
    try:
        yield
    except UsageError as error:
        raise FilterError(str(error)) from error
    except ServiceError as error:
        if error.status in _REFUSED:
            raise FilterError(str(error)) from error
        raise


def _opened(name: str) -> Index | Client:
    if name.startswith(("http://", "https://")):
        return Client(name)
    try:
        return Index.open(name)
    except TexthashError as error:
        raise UsageError(
            f"{name} is neither the URL of a service nor an index: {error.problem}", error.remedy
        ) from None


def _entry(document: Document) -> Entry:
    kept = {"content": None} if document.content is None else {}
    written = document.to_dict(flatten=False)
    kept |= {name: written[name] for name in ("blob", "sparse_embedding") if written[name] is not None}
    return Entry(document.id, document.content or "", document.meta, document.embedding, kept)


def _document(stored: Stored, hit: Hit | None = None) -> Document:
    values = {"content": stored.text, **stored.kept}
    score = None if hit is None else hit.score
    return Document.from_dict({"id": stored.id, "meta": stored.metadata, "score": score, **values})
