"""Kinds of problem, and the body of an error (RFC 9457)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, Field

MEDIA_TYPE = "application/problem+json"
MOST_ERRORS = 20


@dataclass(frozen=True)
class Kind:
    """A kind of problem: its status, its title, and what a person can do about it."""

    status: int
    title: str
    explanation: str


KINDS: dict[str, Kind] = {
    "malformed-json": Kind(400, "the body is not JSON", "Send one JSON object, in UTF-8, as the request body."),
    "not-found": Kind(404, "there is no such path", "The paths that exist are listed in /docs."),
    "unknown-document": Kind(
        404,
        "no document has this id",
        "A query by id searches with the stored code of a document, which must be in the index.",
    ),
    "unknown-snapshot": Kind(404, "no snapshot has this name", "GET /v1/snapshots lists those that exist."),
    "unauthorized": Kind(
        401,
        "the key is missing or wrong",
        "This server asks for a key: send it in the header Authorization: Bearer <key>.",
    ),
    "read-only-key": Kind(
        403,
        "this key may not write",
        "This key searches, encodes and reads. Writes need the other one, TEXTHASH_API_KEY of the server.",
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
        "Without a key a server on a loopback address answers to the names of this machine only, lest a foreign page "
        "has its own name point there. Further names: service.allowed_hosts.",
    ),
    "method-not-allowed": Kind(
        405, "this path does not take this method", "The Allow header of the answer names the methods that it takes."
    ),
    "body-too-slow": Kind(
        408, "the body took too long to arrive", "GET /v1/info shows limits.request_timeout_s; send less at once."
    ),
    "wrong-code-width": Kind(
        409,
        "the code does not have the width of the index",
        "A code has bits / 4 hexadecimal digits; GET /v1/info names the bits. A code made by another model finds "
        "nothing sensible: encode with POST /v1/encode of this server.",
    ),
    "no-vectors": Kind(
        409,
        "there is no vector to rescore by",
        "rescore.kind float orders by vectors that an index keeps where it was built with index.vectors; GET /v1/info "
        "shows index.vectors. A query by code has none. asymmetric needs none.",
    ),
    "snapshot-exists": Kind(
        409, "a snapshot has this name", "A snapshot never changes: choose another name, or drop that one first."
    ),
    "model-changed": Kind(
        409,
        "the model was exchanged meanwhile",
        "The documents were encoded by a model that is not served any more. Send the request again.",
    ),
    "write-failed": Kind(
        409, "the index did not take the write", "Nothing of the write is to be seen; the detail says why."
    ),
    "body-too-large": Kind(
        413, "the body is too large", "GET /v1/info shows limits.max_body_bytes; send less at once."
    ),
    "batch-too-large": Kind(
        413,
        "too many texts or queries in one request",
        "GET /v1/info shows limits.max_batch; divide the work into several requests.",
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
        "The list errors names each field and what is wrong with it.",
    ),
    "limit-too-large": Kind(
        422,
        "limit is too large",
        "GET /v1/info shows limits.max_limit for limit, limits.max_oversample for rescore.oversample, and "
        "limits.max_window for limit + offset and for limit * rescore.oversample, and limits.max_hits for that of all "
        "queries of a request together.",
    ),
    "radius-too-large": Kind(422, "radius is larger than the code", "A distance is at most the bits of the code."),
    "overloaded": Kind(
        429,
        "too many requests are waiting",
        "Wait the seconds of the Retry-After header, then send the request again. texthash.client does.",
    ),
    "internal": Kind(
        500, "the server failed", "The log of the server has the cause under the request_id of this answer."
    ),
    "encoder-unavailable": Kind(
        503, "the encoder is away", "It is being restarted. Send the request again; queries by code need no encoder."
    ),
    "shard-unavailable": Kind(
        503,
        "a shard of the index is away",
        "An answer without this shard would not be exact, so there is none, unless the request has "
        "allow_partial: true. The shard is being restarted: send the request again after Retry-After seconds. "
        "GET /health/ready tells when all shards answer.",
    ),
    "writer-unavailable": Kind(
        503,
        "the writer of the index is away",
        "It is being restarted. Send the write again: what was not acknowledged may or may not be in the index, and a "
        "second upsert or delete of the same documents does no harm.",
    ),
    "index-held": Kind(
        503,
        "another program writes to the index",
        "An index has one writer at a time, and that is not this service now. Send the write again when it has ended.",
    ),
    "metrics-unavailable": Kind(
        503,
        "no metrics agent answers",
        "Ray's metrics agent on each node keeps the numbers. It runs where ray[default] is installed and metrics "
        "collection is not disabled; the address in the detail is the one that was asked.",
    ),
    "insufficient-storage": Kind(
        507,
        "too little disk space is free",
        "Searches are answered; writes are refused until there is room. GET /v1/info shows limits.min_free_bytes, the "
        "free space that a write needs; a deletion, a compaction and going back to a snapshot need half of it. "
        "Nothing of the write is to be seen: send it again when GET /health/ready says that writes are accepted.",
    ),
    "timeout": Kind(
        504,
        "the answer took too long",
        "GET /v1/info shows limits.request_timeout_s. Ask for less at once, or add shards.",
    ),
}


class ProblemBody(BaseModel):
    """An error, RFC 9457."""

    type: str = Field(description="A page that documents this kind of problem.")
    title: str
    status: int
    detail: str
    instance: str
    request_id: str
    errors: list[dict[str, Any]] | None = Field(
        None, max_length=MOST_ERRORS, description="The fields that are wrong, or the first of them."
    )
    errors_omitted: int | None = Field(None, description="How many more fields are wrong than errors lists.")
    shard: int | None = Field(None, description="The shard that is away.")
