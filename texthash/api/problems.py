"""Kinds of problem, and the body of an error (RFC 9457)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, Field

MEDIA_TYPE = "application/problem+json"
MOST_ERRORS = 20


@dataclass(frozen=True)
class Kind:
    """Kind of problem: its HTTP status, its title, and an explanation with the remedy."""

    status: int
    title: str
    explanation: str


KINDS: dict[str, Kind] = {
    "malformed-json": Kind(400, "the body is not JSON", "Send one JSON object, in UTF-8, as the request body."),
    "malformed-request": Kind(
        400,
        "the request is not HTTP as this server reads it",
        "Send a request line and headers of at most about 16,000 bytes in all. HAProxy 2.8 says this in HTML.",
    ),
    "malformed-message": Kind(
        400,
        "the message of a gRPC call cannot be read",
        "Send the request message of the method, as search.proto of this version describes it.",
    ),
    "not-found": Kind(404, "no such path exists", "The paths that exist are listed in /docs."),
    "unknown-document": Kind(
        404,
        "no document has this id",
        "Ids are compared as they are written, and hits of a search show them. A deleted document is not found any "
        "more, a written one a moment later, or at once if it was written with ?wait=true.",
    ),
    "unknown-snapshot": Kind(404, "no snapshot has this name", "GET /v1/snapshots lists those that exist."),
    "unauthorized": Kind(
        401,
        "the key is missing or wrong",
        "This server requires a key: send it in the header Authorization: Bearer <key>.",
    ),
    "read-only-key": Kind(
        403,
        "this key may not write",
        "This key searches, encodes and reads. Writes need the read-write key, TEXTHASH_API_KEY of the server.",
    ),
    "foreign-origin": Kind(
        403,
        "a page of another origin may not do this",
        "The browser says that another site sent this request. Its operator can allow the origin of that site with "
        "service.cors_origins.",
    ),
    "unknown-host": Kind(
        421,
        "the server is not known by this name",
        "Without a key, a server on a loopback address answers to the names of this machine only. This prevents DNS "
        "rebinding by a foreign page. Further names: service.allowed_hosts.",
    ),
    "method-not-allowed": Kind(
        405, "this path does not take this method", "The Allow header of the answer names the methods that it takes."
    ),
    "body-too-slow": Kind(
        408, "the body took too long to arrive", "GET /v1/info shows limits.request_timeout_s; send a smaller body."
    ),
    "wrong-code-width": Kind(
        409,
        "the code does not have the width of the index",
        "A code has bits / 4 hexadecimal digits; GET /v1/info names the bits. The code of another model is "
        "meaningless here: encode with POST /v1/encode of this server.",
    ),
    "no-text": Kind(
        409,
        "a search by keyword needs texts",
        "The words of a query come from its text; a query by code or id has none. Give texts, or search with mode "
        "semantic.",
    ),
    "no-reranker": Kind(
        409,
        "this server does not re-rank",
        "GET /v1/info shows reranker. The operator names a model in service.rerank; search without rerank.",
    ),
    "no-keywords": Kind(
        409,
        "the index stores no words",
        "A search by keyword, and a hybrid one, needs the words of the documents. An index that was built without them "
        "gets them by `texthash index add-keywords`; search with mode semantic until then.",
    ),
    "no-vectors": Kind(
        409,
        "no vector to rescore by exists",
        "rescore.kind float orders by the vectors of an index that was built with index.vectors; GET /v1/info shows "
        "index.vectors. A query by code has no vector. rescore.kind asymmetric needs none.",
    ),
    "vector-mismatch": Kind(
        409,
        "the model cannot read this",
        "A model that learned from vectors reads vectors of their width, and one of words reads texts. Where the "
        "vectors are your own, no text can be encoded: give the vector of your embedder.",
    ),
    "attribute-mismatch": Kind(
        409,
        "an attribute does not exist, or has another type",
        "GET /v1/info shows index.attributes, the type of each attribute that a document of the index has had. The "
        "first value of an attribute fixes its type: a value of another type is refused, in documents and in filters, "
        "as is a filter on an attribute that no document has had. A date is an object with the member date.",
    ),
    "cursor-expired": Kind(
        409,
        "the release of the cursor is no longer served",
        "A cursor continues in the release of its first page, which stays for at least half a minute after a later one "
        "took its place. Begin again without a cursor; `texthash index export` writes all documents of an index that "
        "changes all the time.",
    ),
    "snapshot-exists": Kind(
        409, "a snapshot of this name exists", "A snapshot never changes: choose another name, or drop that one first."
    ),
    "model-changed": Kind(
        409,
        "the model was replaced meanwhile",
        "The documents were encoded by a model that is no longer served. Send the request again.",
    ),
    "write-failed": Kind(409, "the index rejected the write", "Nothing was written; the detail gives the reason."),
    "body-too-large": Kind(
        413, "the body is too large", "GET /v1/info shows limits.max_body_bytes; send a smaller body."
    ),
    "batch-too-large": Kind(
        413,
        "too many texts or queries in one request",
        "GET /v1/info shows limits.max_batch; split the work into several requests.",
    ),
    "text-too-long": Kind(
        413,
        "a text is too long",
        "GET /v1/info shows limits.max_text_bytes, counted in UTF-8; send a part of the text.",
    ),
    "unsupported-media-type": Kind(
        415,
        "the body is of another media type",
        "Send JSON with the header Content-Type: application/json; a POST or PUT without a body needs the header too.",
    ),
    "invalid-field": Kind(
        422,
        "a field is missing, unknown or out of range",
        "The member errors names each field and the error in it.",
    ),
    "limit-too-large": Kind(
        422,
        "limit is too large",
        "GET /v1/info shows limits.max_limit for limit, limits.max_oversample for rescore.oversample, "
        "limits.max_window for limit + offset and for limit * rescore.oversample, and limits.max_hits for the sum of "
        "these over the queries of a request.",
    ),
    "radius-too-large": Kind(
        422, "radius is larger than the code", "A distance is at most the number of bits of the code."
    ),
    "overloaded": Kind(
        429,
        "too many requests are waiting",
        "Wait for the seconds of the Retry-After header, then send the request again, as texthash.client does.",
    ),
    "internal": Kind(
        500, "the server failed", "The log of the server has the cause under the request_id of this response."
    ),
    "ingress-unavailable": Kind(
        503,
        "no process of the service answers",
        "It is being started, or started again. Send the request again after Retry-After seconds, as texthash.client "
        "does; a write may or may not be in the index, and repeating an upsert or delete is safe.",
    ),
    "encoder-unavailable": Kind(
        503,
        "the encoder is unavailable",
        "It is being restarted. Send the request again; queries by code need no encoder.",
    ),
    "shard-unavailable": Kind(
        503,
        "a shard of the index is unavailable",
        "An answer without this shard would not be exact; only a request with allow_partial: true gets one. "
        "The shard is being restarted: send the request again after Retry-After seconds. "
        "GET /health/ready returns 200 when all shards answer.",
    ),
    "writer-unavailable": Kind(
        503,
        "the writer of the index is unavailable",
        "It is being restarted. Send the write again: an unacknowledged write may or may not be in the index, and "
        "repeating an upsert or delete is safe.",
    ),
    "index-held": Kind(
        503,
        "another program writes to the index",
        "An index has one writer at a time, now another program. Send the write again when that program has ended.",
    ),
    "metrics-unavailable": Kind(
        503,
        "no metrics agent answers",
        "Ray's metrics agent on each node collects the metrics. It runs where ray[default] is installed and metrics "
        "collection is enabled; the detail has the addresses that were queried.",
    ),
    "storage-unavailable": Kind(
        503,
        "the storage of the index cannot be used",
        "The server may not read or write its files, their disk fails, or the object store of the index is busy, out "
        "of reach or refuses the credentials; the detail and the log of the server have its answer, or name the file. "
        "The server goes on by itself when its storage does: send the request again then, with Retry-After after so "
        "many seconds. A write that was not acknowledged may or may not be in the index, and repeating an upsert or "
        "delete is safe.",
    ),
    "insufficient-storage": Kind(
        507,
        "too little disk space is free",
        "Searches are answered; writes are refused until space is freed. GET /v1/info shows limits.min_free_bytes, the "
        "free space that a write needs; a deletion, a compaction and the restore of a snapshot need half of it. "
        "Nothing was written: send the write again when GET /health/ready reports that writes are accepted.",
    ),
    "timeout": Kind(
        504,
        "the answer took too long",
        "GET /v1/info shows limits.request_timeout_s. Send fewer queries per request, or add shards.",
    ),
}


class ProblemBody(BaseModel):
    """Error response, RFC 9457."""

    type: str = Field(description="Address of the page that documents this kind of problem.")
    title: str
    status: int
    detail: str
    instance: str
    request_id: str
    errors: list[dict[str, Any]] | None = Field(
        None, max_length=MOST_ERRORS, description="Invalid fields, or the first of them."
    )
    errors_omitted: int | None = Field(None, description="Number of invalid fields that errors does not list.")
    shard: int | None = Field(None, description="Number of the unavailable shard.")
