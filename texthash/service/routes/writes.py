"""Routes that upsert and delete documents, and compact the index."""

from __future__ import annotations

from typing import Annotated

from fastapi import Body, Depends, FastAPI, Query, Request

from texthash.api.answers import CompactReply, DeleteReply, UpsertReply
from texthash.api.requests import DeleteRequest, EmptyRequest, UpsertRequest
from texthash.index.writing.writer import IndexDocument
from texthash.service.index_writes import IndexWriteService
from texthash.service.middleware.request_log import audit
from texthash.service.request_limits import Checks
from texthash.service.routes.answers import EMPTY_BODY, WRITE_PROBLEMS, answers
from texthash.service.routes.documents import TAG

_Upsert = Annotated[
    UpsertRequest,
    Body(
        openapi_examples={
            "one": {
                "summary": "One document",
                "value": {"documents": [{"id": "mine/1", "text": "parse a date from a string", "labels": ["mine"]}]},
            }
        }
    ),
]
_Delete = Annotated[
    DeleteRequest,
    Body(
        openapi_examples={
            "ids": {"summary": "By id", "value": {"ids": ["mine/1"]}},
            "filter": {"summary": "By label", "value": {"filter": {"labels": ["mine"]}}},
        }
    ),
]
_Wait = Annotated[
    bool,
    Query(description="true: respond when every search sees the write; false: as soon as it is durable."),
]
_NOTHING = EmptyRequest()


def add_writes(app: FastAPI, checks: Checks, index_writes: IndexWriteService) -> None:
    """Add the routes that write documents."""

    @app.put(
        "/v1/documents",
        tags=[TAG],
        summary="Upsert documents",
        dependencies=[Depends(checks.body)],
        responses=answers(
            *WRITE_PROBLEMS, "encoder-unavailable", "model-changed", "vector-mismatch", "attribute-mismatch"
        ),
    )
    async def upsert_documents(request: _Upsert, http: Request, wait: _Wait = False) -> UpsertReply:
        """Insert documents, and replace those whose ids exist.

        A model of your own vectors needs the `vector` of each document, and its text only to show and to find by words.
        A document without a known word is stored and counted, but no search finds it. The response comes when the write
        is on disk; searches see it at most half a second later, or before the response with `?wait=true`.
        """
        checks.documents(request)
        audit(http.scope, "upsert", documents=len(request.documents))
        documents = [IndexDocument(d.id, d.text, d.title, tuple(d.labels), d.attributes) for d in request.documents]
        done, release = await index_writes.upsert(documents, wait, [d.vector for d in request.documents])
        audit(http.scope, "upsert", documents=done.documents, new=done.new, release=release.name)
        return UpsertReply(
            upserted=done.documents,
            new=done.new,
            without_known_words=done.unknown,
            release=release.name,
            index_version=release.version,
        )

    @app.post(
        "/v1/documents/delete",
        tags=[TAG],
        summary="Delete documents",
        dependencies=[Depends(checks.body)],
        responses=answers(*WRITE_PROBLEMS, "attribute-mismatch"),
    )
    async def delete_documents(request: _Delete, http: Request, wait: _Wait = False) -> DeleteReply:
        """Delete documents by id or by filter. Unknown ids are ignored."""
        checks.batch(len(request.ids or ()), "ids")
        audit(http.scope, "delete", ids=len(request.ids or ()), filtered=request.filter is not None)
        done, release = await index_writes.delete(request.ids or (), request.filter, wait)
        audit(http.scope, "delete", documents=done.documents, release=release.name)
        return DeleteReply(deleted=done.documents, release=release.name, index_version=release.version)

    @app.post(
        "/v1/compact",
        tags=[TAG],
        summary="Compact the index",
        dependencies=[Depends(checks.body)],
        openapi_extra=EMPTY_BODY,
        responses=answers(*WRITE_PROBLEMS),
    )
    async def compact_index(http: Request, _: EmptyRequest = _NOTHING) -> CompactReply:
        """Join small fragments of the index, and free replaced and deleted documents that no snapshot holds.

        The service does most of this by itself as it writes. Searches continue meanwhile, other writes wait.
        """
        audit(http.scope, "compact")
        release = await index_writes.compact()
        audit(http.scope, "compact", documents=release.documents, release=release.name)
        return CompactReply(documents=release.documents, release=release.name, index_version=release.version)
