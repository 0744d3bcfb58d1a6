"""Calls of the HTTP API: each function builds one, and a client sends it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import quote

from pydantic import BaseModel

from texthash.api.answers import (
    CompactReply,
    CountReply,
    DeleteReply,
    EncodeReply,
    Health,
    Info,
    RestoreReply,
    SearchReply,
    SnapshotInfo,
    Snapshots,
    StoredDocument,
    UpsertReply,
)
from texthash.api.body import DocumentField
from texthash.api.facets import FacetsReply
from texthash.api.missing import is_missing
from texthash.api.requests import SNAPSHOT_NAME, Mode
from texthash.api.scroll import ScrollReply
from texthash.arguments import shown
from texthash.client import arguments
from texthash.errors import UsageError

Reply = TypeVar("Reply", bound=BaseModel)


@dataclass(frozen=True)
class Call(Generic[Reply]):
    """One HTTP request.

    Attributes:
        method: HTTP method.
        path: Path below the URL of the service.
        reply: Type of the response body.
        body: JSON object of the request body; None sends no body.
        answers: Statuses other than success whose response body has the type ``reply`` too.
    """

    method: str
    path: str
    reply: type[Reply]
    body: dict[str, Any] | None = None
    answers: tuple[int, ...] = ()


def search(
    queries: str | Iterable[str | Mapping[str, Any]] = (),
    *,
    vector: Any = None,
    mode: Mode | None = None,
    weight: float | None = None,
    limit: int = 10,
    offset: int = 0,
    radius: int | None = None,
    labels: str | Iterable[str] | None = None,
    filter: Mapping[str, Any] | None = None,
    facets: str | Iterable[str] | Mapping[str, Any] | None = None,
    fields: DocumentField | Iterable[DocumentField] = ("title",),
    include_code: bool = False,
    highlight: bool = False,
    rerank: bool = False,
    plan: Literal["auto", "flat", "mih"] = "auto",
    rescore: Literal["none", "asymmetric", "float"] | None = None,
    oversample: int = 4,
    allow_partial: bool = False,
) -> Call[SearchReply]:
    """Return the nearest documents of each query.

    Args:
        queries: One text, or an iterable of texts and mappings ``{"text": ...}``, ``{"code": ...}``, ``{"id": ...}``,
            ``{"vector": [...]}``.
        vector: Vector of a query, or an array of several, one a row; these follow ``queries``.
        mode: semantic searches by the codes, keyword by words (BM25), hybrid by both; None is hybrid for texts where
            the index has words, otherwise semantic.
        weight: Weight of the meaning in a hybrid search, 0 to 1; None takes that of the release.
        limit: Number of hits per query.
        offset: Number of hits to skip.
        radius: Maximum Hamming distance of a hit; None sets no maximum.
        labels: Label, or labels of which a hit has to have at least one; None allows all documents.
        filter: Filter of the documents in the form of the API, such as ``{"attributes": {"year": {"gte": 2020}}}``;
            ``labels`` have to hold too.
        facets: Facets to count, as of ``facets``, over the documents that the filter keeps; by keyword over those of
            them that have a word of the query, within a radius over those in it.
        fields: Document field, or fields, to return.
        include_code: True returns the codes of the hits.
        highlight: True returns the words of each returned title and text that are words of the query.
        rerank: True orders the first hits again by the re-ranker of the service, which ``info().reranker`` names.
        plan: Search strategy; all give the same hits.
        rescore: Finer order of the nearest documents, by scores: asymmetric by the query's activations, float by the
            cosine with the vectors of the index, if it stores any; none by distance. None is what
            was chosen for the release, and none within a radius.
        oversample: Number of reordered documents as a multiple of ``limit``; later ones follow by distance.
        allow_partial: True answers without the shards that are unavailable, which the reply lists.

    Raises:
        UsageError: An argument has another type; the error names it and the expected form.
        ServiceError: The service rejected the request, or was still busy after all attempts.
        TexthashError: No service answers at the URL.
    """
    asked = arguments.queries(queries)
    if vector is not None:
        asked += [{"vector": row} for row in arguments.vectors(vector)]
    body: dict[str, Any] = {
        "queries": asked,
        "limit": limit,
        "offset": offset,
        "radius": radius,
        "filter": arguments.filter_of(labels, filter),
        "fields": arguments.texts(fields, "fields"),
        "include_code": include_code,
        "highlight": highlight,
        "params": {"plan": plan},
        "allow_partial": allow_partial,
    }
    if mode is not None:
        body["mode"] = mode
    if _flag(rerank, "rerank") == "true":
        body["rerank"] = True
    if weight is not None:
        body["fusion"] = {"weight": weight}
    if facets is not None:
        body["facets"] = arguments.facets(facets)
    if rescore is not None:
        body["rescore"] = {"kind": rescore, "oversample": oversample}
    return Call("POST", "v1/search", SearchReply, body)


def encode(
    inputs: str | Iterable[str],
    *,
    role: Literal["document", "query"] = "document",
    format: Literal["hex", "base64", "bits"] = "hex",
    return_logits: bool = False,
) -> Call[EncodeReply]:
    """Return the codes of one text or of several. Raises as ``search``."""
    body = {
        "inputs": arguments.texts(inputs, "inputs", ordered=True),
        "role": role,
        "format": format,
        "return_logits": return_logits,
    }
    return Call("POST", "v1/encode", EncodeReply, body)


def upsert(documents: Iterable[Mapping[str, Any]], *, wait: bool = False) -> Call[UpsertReply]:
    """Insert or replace documents; the write is durable when this returns. Raises as ``search``.

    Args:
        documents: Mappings ``{"id": ..., "text": ...}``, optionally with ``title``, ``labels``, ``attributes``
            (dates may be those of Python), and ``vector`` for a model of your own vectors; a document of the same id is
            replaced.
        wait: True returns only when every search sees them.
    """
    body = {"documents": arguments.documents(documents)}
    return Call("PUT", f"v1/documents?wait={_flag(wait, 'wait')}", UpsertReply, body)


def delete(
    *,
    ids: str | Iterable[str] | None = None,
    labels: str | Iterable[str] | None = None,
    filter: Mapping[str, Any] | None = None,
    wait: bool = False,
) -> Call[DeleteReply]:
    """Delete documents by id, or by label and filter; the deletion is durable when this returns. Raises as ``search``.

    Args:
        ids: Id or ids of the documents; unknown ids are ignored. Give either ids, or labels or a filter or both.
        labels: Label or labels, of which a deleted document has at least one.
        filter: Filter that keeps the deleted documents, as of ``search``.
        wait: True returns only when no search finds them.
    """
    body = {"ids": None if ids is None else arguments.texts(ids, "ids"), "filter": arguments.filter_of(labels, filter)}
    return Call("POST", f"v1/documents/delete?wait={_flag(wait, 'wait')}", DeleteReply, body)


def document(id: str) -> Call[StoredDocument]:
    """Return one document with its code. Raises as ``search``; ServiceError with status 404 for an unknown id."""
    # The id is not in the path, which clients, proxies and servers normalize where it has dot segments.
    return Call("GET", f"v1/documents?id={quote(arguments.text(id, 'id'), safe='')}", StoredDocument)


def count(*, labels: str | Iterable[str] | None = None, filter: Mapping[str, Any] | None = None) -> Call[CountReply]:
    """Return the number of documents, or of those with one of the labels that a filter keeps. Raises as ``search``."""
    return Call("POST", "v1/documents/count", CountReply, {"filter": arguments.filter_of(labels, filter)})


def facets(
    facets: str | Iterable[str] | Mapping[str, Any],
    *,
    labels: str | Iterable[str] | None = None,
    filter: Mapping[str, Any] | None = None,
) -> Call[FacetsReply]:
    """Return how many documents have each label, value or range of values. Raises as ``search``.

    Args:
        facets: Name of an attribute or ``labels``, several of them, or a mapping of names to options: ``limit``, the
            number of values; ``ranges``, the number of ranges of equal width; ``edges``, the values between ranges.
        labels: Label or labels, of which a counted document has to have at least one.
        filter: Filter of the documents, as of ``search``.
    """
    body = {"facets": arguments.facets(facets), "filter": arguments.filter_of(labels, filter)}
    return Call("POST", "v1/facets", FacetsReply, body)


def scroll(
    *,
    labels: str | Iterable[str] | None = None,
    filter: Mapping[str, Any] | None = None,
    sort: str | None = None,
    descending: bool = False,
    limit: int = 100,
    fields: DocumentField | Iterable[DocumentField] = ("title",),
    include_code: bool = False,
    cursor: str | None = None,
) -> Call[ScrollReply]:
    """Return a page of documents, and the cursor of the next one. Raises as ``search``.

    Args:
        labels: Label or labels, of which a document has to have at least one; None allows all documents.
        filter: Filter of the documents, as of ``search``.
        sort: Attribute to sort by; documents without it come last. None is the order of first insertion.
        descending: True for the largest value first.
        limit: Number of documents of a page.
        fields: Document field, or fields, to return.
        include_code: True returns the codes.
        cursor: Cursor of the page before, which had the same filter and sort; None begins with the first document.
    """
    body: dict[str, Any] = {
        "filter": arguments.filter_of(labels, filter),
        "limit": limit,
        "fields": arguments.texts(fields, "fields"),
        "include_code": include_code,
        "cursor": None if cursor is None else arguments.text(cursor, "cursor"),
    }
    if sort is not None:
        body["sort"] = {"attribute": arguments.text(sort, "sort"), "order": "desc" if descending else "asc"}
    return Call("POST", "v1/documents/scroll", ScrollReply, body)


def next_page(call: Call[ScrollReply], cursor: str) -> Call[ScrollReply]:
    """Return the call of the page after one of ``scroll``; its arguments, which may be generators, were read once."""
    return replace(call, body={**(call.body or {}), "cursor": cursor})


def snapshots() -> Call[Snapshots]:
    """Return all snapshots, oldest first. Raises as ``search``."""
    return Call("GET", "v1/snapshots", Snapshots)


def take_snapshot(name: str) -> Call[SnapshotInfo]:
    """Take a snapshot of the current state. Raises as ``search``."""
    return Call("POST", "v1/snapshots", SnapshotInfo, {"name": _snapshot(name)})


def restore_snapshot(name: str) -> Call[RestoreReply]:
    """Restore the documents of a snapshot. Raises as ``search``."""
    return Call("POST", f"v1/snapshots/{_snapshot(name)}/restore", RestoreReply, {})


def compact() -> Call[CompactReply]:
    """Compact the index: join small fragments and free space. Raises as ``search``."""
    return Call("POST", "v1/compact", CompactReply, {})


def info() -> Call[Info]:
    """Return the release, model, index and limits of the service. Raises as ``search``."""
    return Call("GET", "v1/info", Info)


def ready() -> Call[Health]:
    """Return the state of the service, also while it is not ready."""
    return Call("GET", "health/ready", Health, answers=(503,))


def _flag(value: bool, name: str) -> str:
    # An array, a table or a missing value has no single truth.
    if is_missing(value) or getattr(value, "ndim", 0) != 0 or value not in (True, False):
        raise UsageError(f"{name}={shown(value)} is neither True nor False.", f"give {name}=True or {name}=False.")
    return "true" if value else "false"


def _snapshot(name: str) -> str:
    """Check the name of a snapshot: an invalid one must not lead to another path."""
    if not SNAPSHOT_NAME.fullmatch(arguments.text(name, "name")):
        raise UsageError(f"{name!r} cannot name a snapshot.", "use letters, digits, '.', '_' and '-', at most 100.")
    return name
