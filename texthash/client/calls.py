"""What can be asked of the service: each function makes a call, which a client sends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
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
from texthash.api.requests import SNAPSHOT_NAME, DocumentField
from texthash.client import arguments
from texthash.errors import UsageError

Reply = TypeVar("Reply", bound=BaseModel)


@dataclass(frozen=True)
class Call(Generic[Reply]):
    """One request.

    Attributes:
        method: Of HTTP.
        path: Below the URL of the service.
        reply: Type of the answer.
        body: JSON; None for none.
        answers: Statuses other than success whose body is an answer too.
    """

    method: str
    path: str
    reply: type[Reply]
    body: dict[str, Any] | None = None
    answers: tuple[int, ...] = ()


def search(
    queries: str | Iterable[str | Mapping[str, str]],
    *,
    limit: int = 10,
    offset: int = 0,
    radius: int | None = None,
    labels: str | Iterable[str] | None = None,
    fields: DocumentField | Iterable[DocumentField] = ("title",),
    include_code: bool = False,
    plan: Literal["auto", "flat", "mih"] = "auto",
    rescore: Literal["none", "asymmetric", "float"] = "none",
    oversample: int = 4,
    allow_partial: bool = False,
) -> Call[SearchReply]:
    """Search.

    Args:
        queries: One text, or an iterable of texts and of ``{"text": ...}``, ``{"code": ...}``, ``{"id": ...}``.
        limit: Hits per query.
        offset: Hits to leave out first.
        radius: Only documents at most so many bits away.
        labels: Only documents with this label, or with one of these.
        fields: Part, or parts, of the documents to return.
        include_code: Return the codes of the hits.
        plan: How to search; the hits are the same.
        rescore: Put the nearest in a finer order; hits have scores. asymmetric: by the query before its cut to bits;
            float: by the cosine with the vectors that the index keeps, if it does.
        oversample: So many times ``limit`` documents are ordered again; ``offset`` pages through these.
        allow_partial: Where a shard is away, take what the others find; the answer says so.

    Raises:
        UsageError: an argument is of another type; it is named, with the right form.
        ServiceError: the service refused, or was still busy after all attempts.
        TexthashError: no service answers there.
    """
    body: dict[str, Any] = {
        "queries": arguments.queries(queries),
        "limit": limit,
        "offset": offset,
        "radius": radius,
        "filter": _filter(labels),
        "fields": arguments.texts(fields, "fields"),
        "include_code": include_code,
        "params": {"plan": plan},
        "allow_partial": allow_partial,
    }
    if rescore != "none":
        body["rescore"] = {"kind": rescore, "oversample": oversample}
    return Call("POST", "v1/search", SearchReply, body)


def encode(
    inputs: str | Iterable[str],
    *,
    role: Literal["document", "query"] = "document",
    format: Literal["hex", "base64", "bits"] = "hex",
    return_logits: bool = False,
) -> Call[EncodeReply]:
    """Codes of one text, or of several. Errors as ``search``."""
    body = {
        "inputs": arguments.texts(inputs, "inputs", ordered=True),
        "role": role,
        "format": format,
        "return_logits": return_logits,
    }
    return Call("POST", "v1/encode", EncodeReply, body)


def upsert(documents: Iterable[Mapping[str, Any]], *, wait: bool = False) -> Call[UpsertReply]:
    """Put documents in; durable when this returns. Errors as ``search``.

    Args:
        documents: ``{"id": ..., "text": ...}`` with ``title`` and ``labels`` where there are; a known id is replaced.
        wait: Return when every search sees them.
    """
    body = {"documents": arguments.documents(documents)}
    return Call("PUT", f"v1/documents?wait={_flag(wait, 'wait')}", UpsertReply, body)


def delete(
    *, ids: str | Iterable[str] | None = None, labels: str | Iterable[str] | None = None, wait: bool = False
) -> Call[DeleteReply]:
    """Take documents out: that with this id or those with these, or those with one of these labels; durable when this
    returns. Errors as ``search``."""
    body = {"ids": None if ids is None else arguments.texts(ids, "ids"), "filter": _filter(labels)}
    return Call("POST", f"v1/documents/delete?wait={_flag(wait, 'wait')}", DeleteReply, body)


def document(id: str) -> Call[StoredDocument]:
    """One document with its code. Errors as ``search``; 404 if there is none."""
    # Not in the path, of which clients, proxies and servers make another where it has dot segments.
    return Call("GET", f"v1/documents?id={quote(arguments.text(id, 'id'), safe='')}", StoredDocument)


def count(*, labels: str | Iterable[str] | None = None) -> Call[CountReply]:
    """How many documents there are, or have one of the labels. Errors as ``search``."""
    return Call("POST", "v1/documents/count", CountReply, {"filter": _filter(labels)})


def snapshots() -> Call[Snapshots]:
    """The snapshots. Errors as ``search``."""
    return Call("GET", "v1/snapshots", Snapshots)


def take_snapshot(name: str) -> Call[SnapshotInfo]:
    """Keep what is served now under a name. Errors as ``search``."""
    return Call("POST", "v1/snapshots", SnapshotInfo, {"name": _snapshot(name)})


def restore_snapshot(name: str) -> Call[RestoreReply]:
    """Bring back the documents of a snapshot. Errors as ``search``."""
    return Call("POST", f"v1/snapshots/{_snapshot(name)}/restore", RestoreReply, {})


def compact() -> Call[CompactReply]:
    """Write small pieces of the index together and free space. Errors as ``search``."""
    return Call("POST", "v1/compact", CompactReply, {})


def info() -> Call[Info]:
    """What is served, and within which limits. Errors as ``search``."""
    return Call("GET", "v1/info", Info)


def ready() -> Call[Health]:
    """State of the service; does not raise when it is not ready."""
    return Call("GET", "health/ready", Health, answers=(503,))


def _filter(labels: str | Iterable[str] | None) -> dict[str, list[str]] | None:
    return None if labels is None else {"labels": arguments.texts(labels, "labels")}


def _flag(value: bool, name: str) -> str:
    if value not in (True, False):
        raise UsageError(f"{name}={value!r} is neither True nor False.", f"give {name}=True or {name}=False.")
    return "true" if value else "false"


def _snapshot(name: str) -> str:
    """The name of a snapshot; one that no snapshot can have must not become another path."""
    if not SNAPSHOT_NAME.fullmatch(arguments.text(name, "name")):
        raise UsageError(f"{name!r} cannot name a snapshot.", "use letters, digits, '.', '_' and '-', at most 100.")
    return name
