"""One interface of documents over a running service and over an index in this process."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from texthash.api.attributes import AttributeType, read_attributes, write_attributes
from texthash.api.requests import DocumentField, Mode
from texthash.client import Client, ServiceError
from texthash.client.batches import delete_in_requests, in_requests
from texthash.errors import TexthashError, UsageError
from texthash.integrations.filters import EVERYTHING, Filter
from texthash.integrations.metadata import join_metadata, split_metadata
from texthash.local.index import Index

_FIELDS: tuple[DocumentField, ...] = ("title", "text", "labels", "attributes")
_ENVELOPE = 1_000  # bytes of a request beside its documents


@dataclass(frozen=True)
class Entry:
    """Document to write.

    Attributes:
        id: Its id.
        text: Its text.
        metadata: Its metadata.
        vector: Its vector, for a model that learned from vectors.
        kept: Values that come back with it beside the metadata.
    """

    id: str
    text: str
    metadata: Mapping[str, Any]
    vector: Sequence[float] | None = None
    kept: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Stored:
    """Document of a store; the attributes are those of :class:`Entry`, and its code, uint8 [bits / 8]."""

    id: str
    text: str
    metadata: dict[str, Any]
    kept: dict[str, Any]
    code: NDArray[np.uint8]


@dataclass(frozen=True)
class Hit:
    """Document that a search found.

    Attributes:
        stored: The document.
        score: The larger, the nearer: 1 - distance / bits in a search by meaning, BM25 in one by words, and the fused
            score in a hybrid one, 0 to 1.
    """

    stored: Stored
    score: float


@dataclass(frozen=True, kw_only=True)
class Query:
    """Query of a search: a text, a vector, or in a hybrid search of an index both.

    Attributes:
        text: Text of the query.
        vector: Its vector, for a model that learned from vectors.
        mode: By meaning, by words, or by both.
        weight: Weight of the meaning in a hybrid search; None for that of the release, or 0.4.
        filter: Filter in the form of the HTTP API; None for all documents.
    """

    text: str | None = None
    vector: Sequence[float] | None = None
    mode: Mode = "semantic"
    weight: float | None = None
    filter: Filter | None = None


class Store(ABC):
    """Documents of an index, wherever it is."""

    @property
    @abstractmethod
    def bits(self) -> int:
        """Length of the code."""

    @property
    @abstractmethod
    def attributes(self) -> Mapping[str, AttributeType]:
        """Type of each attribute that a document has had."""

    @abstractmethod
    def add(self, entries: Sequence[Entry]) -> None:
        """Insert documents, or replace those with their ids; every search that follows sees them."""

    @abstractmethod
    def delete(self, ids: Sequence[str]) -> int:
        """Delete documents by id and return their number; unknown ids are ignored."""

    @abstractmethod
    def delete_where(self, filter: Filter | None) -> int:
        """Delete the documents that a filter keeps, all without one, and return their number."""

    @abstractmethod
    def get(self, ids: Sequence[str]) -> list[Stored]:
        """Return documents by id, in the order of the ids; those that are not there are left out."""

    @abstractmethod
    def select(self, filter: Filter | None) -> list[Stored]:
        """Return the documents that a filter keeps, all without one."""

    @abstractmethod
    def count(self, filter: Filter | None = None) -> int:
        """Return the number of documents, or of those that a filter keeps."""

    @abstractmethod
    def search(self, query: Query, k: int) -> list[Hit]:
        """Return the best k documents of a query, the best first."""


def store_of(target: Index | Client) -> Store:
    """Return the store over an index in this process, or over the service of a client.

    Raises:
        UsageError: It is neither.
    """
    if isinstance(target, Index):
        return IndexStore(target)
    if isinstance(target, Client):
        return ClientStore(target)
    raise UsageError(
        f"{target!r} is neither an index nor a client.", "give texthash.Index(model, texts) or texthash.Client(url)."
    )


class IndexStore(Store):
    """Documents of an index in this process."""

    def __init__(self, index: Index) -> None:
        self._index = index

    @property
    def bits(self) -> int:
        """Length of the code."""
        return self._index.model.bits

    @property
    def attributes(self) -> Mapping[str, AttributeType]:
        """Type of each attribute that a document has had."""
        return self._index.attributes

    def add(self, entries: Sequence[Entry]) -> None:
        if not entries:
            return
        split = [split_metadata(entry.metadata, entry.kept) for entry in entries]
        self._index.upsert(
            [entry.text for entry in entries],
            ids=[entry.id for entry in entries],
            vectors=_vectors(entries),
            labels=[labels for _, labels in split],
            attributes=[attributes for attributes, _ in split],
        )

    def delete(self, ids: Sequence[str]) -> int:
        return self._index.delete(ids)

    def delete_where(self, filter: Filter | None) -> int:
        return self._index.delete(filter=EVERYTHING if filter is None else filter)

    def get(self, ids: Sequence[str]) -> list[Stored]:
        return self._stored(self._index.get(ids))

    def select(self, filter: Filter | None) -> list[Stored]:
        return self._stored(self._index.get(filter=EVERYTHING if filter is None else filter))

    def count(self, filter: Filter | None = None) -> int:
        return self._index.count(filter)

    def search(self, query: Query, k: int) -> list[Hit]:
        vectors = None if query.vector is None else [query.vector]
        if query.text is None or (vectors is not None and query.mode == "semantic"):
            if vectors is None:
                raise UsageError("a query has neither a text nor a vector.", "give one of them.")
            (found,) = self._index.search(vectors=vectors, k=k, mode=query.mode, filter=query.filter)
        else:
            found = self._index.search(
                query.text, k, vectors=vectors, mode=query.mode, filter=query.filter, weight=query.weight
            )
        stored = self._stored(self._index.get(found.ids))
        scores = 1 - found.distances / self.bits if query.mode == "semantic" or found.scores is None else found.scores
        return [Hit(one, score) for one, score in zip(stored, scores.tolist(), strict=True)]

    def _stored(self, documents: Sequence[Any]) -> list[Stored]:
        return [
            Stored(one.id, one.text, *join_metadata(one.attributes, one.labels), np.frombuffer(one.code, np.uint8))
            for one in documents
        ]


class ClientStore(Store):
    """Documents of a running service."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._info = client.info()

    @property
    def bits(self) -> int:
        """Length of the code."""
        return self._info.model.bits

    @property
    def attributes(self) -> Mapping[str, AttributeType]:
        """Type of each attribute that a document has had."""
        return self._client.info().index.attributes

    def add(self, entries: Sequence[Entry]) -> None:
        limits = self._info.limits
        documents = map(_sent, entries)
        for batch in in_requests(documents, _bytes_of, limits.max_batch, limits.max_body_bytes - _ENVELOPE):
            self._client.upsert(batch, wait=True)

    def delete(self, ids: Sequence[str]) -> int:
        return delete_in_requests(self._client, ids)

    def delete_where(self, filter: Filter | None) -> int:
        return self._client.delete(filter=EVERYTHING if filter is None else filter, wait=True).deleted

    def get(self, ids: Sequence[str]) -> list[Stored]:
        found = []
        for id_ in ids:
            try:
                one = self._client.document(id_)
            except ServiceError as error:
                if error.status != 404:
                    raise
                continue
            found.append(Stored(one.id, one.text, *_joined(one.model_dump()), _code(one.code)))
        return found

    def select(self, filter: Filter | None) -> list[Stored]:
        """Return the documents that a filter keeps, as a search of them all from an arbitrary code.

        Raises:
            TexthashError: They are more than a search returns, or some have no word that the model knows.
        """
        limits, code = self._info.limits, "0" * (self.bits // 4)
        found: list[Stored] = []
        while len(found) + limits.max_limit <= limits.max_window:
            hits = self._search([{"code": code}], limits.max_limit, offset=len(found), filter=filter)
            found += [stored for _, stored in hits]
            if len(hits) < limits.max_limit:
                break
        total = self.count(filter)
        if total > len(found):
            raise TexthashError(
                f"the filter keeps {total} documents, of which the service lists {len(found)}.",
                f"narrow the filter: at most {limits.max_window} are listed, and those without a known word are not.",
            )
        return found

    def count(self, filter: Filter | None = None) -> int:
        return self._client.count(filter=filter).count

    def search(self, query: Query, k: int) -> list[Hit]:
        if query.vector is not None and query.mode == "semantic":
            asked: Any = [{"vector": query.vector}]
        elif query.vector is None and query.text is not None:
            asked = [query.text]
        else:
            raise UsageError(
                f"a service takes a text or a vector, and a search with mode={query.mode!r} a text.",
                "give mode='semantic' with vectors, or an index in this process.",
            )
        found = self._search(asked, k, mode=query.mode, weight=query.weight, filter=query.filter)
        if query.mode == "semantic":
            return [Hit(stored, 1 - (hit.distance or 0) / self.bits) for hit, stored in found]
        return [Hit(stored, hit.score) for hit, stored in found]

    def _search(self, queries: Any, k: int, **options: Any) -> list[tuple[Any, Stored]]:
        (result,) = self._client.search(queries, limit=k, fields=_FIELDS, include_code=True, **options).results
        return [
            (hit, Stored(hit.id, hit.document.get("text") or "", *_joined(hit.document), _code(hit.code or "")))
            for hit in result.hits
        ]


def _vectors(entries: Sequence[Entry]) -> list[Sequence[float]] | None:
    vectors = [entry.vector for entry in entries if entry.vector is not None]
    if vectors and len(vectors) != len(entries):
        missing = next(entry.id for entry in entries if entry.vector is None)
        raise UsageError(f"the document {missing!r} has no vector, others have one.", "give all of them a vector.")
    return vectors or None


def _sent(entry: Entry) -> dict[str, Any]:
    """Return a document as a service takes it."""
    attributes, labels = split_metadata(entry.metadata, entry.kept)
    vector = {} if entry.vector is None else {"vector": list(entry.vector)}
    return {"id": entry.id, "text": entry.text, "labels": labels, "attributes": _written(attributes), **vector}


def _bytes_of(document: Mapping[str, Any]) -> int:
    return len(json.dumps(document, ensure_ascii=False).encode()) + 1


def _written(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return write_attributes(read_attributes(attributes))


def _joined(document: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    return join_metadata(document.get("attributes") or {}, document.get("labels") or (), document.get("title") or "")


def _code(digits: str) -> NDArray[np.uint8]:
    return np.frombuffer(bytes.fromhex(digits), np.uint8)
