"""Documents of the index: read and count, put in and take out."""

from __future__ import annotations

from typing import Annotated

from fastapi import Body, FastAPI, Path, Query

from texthash.search.writer import IndexDocument
from texthash.service.checks import Checks
from texthash.service.document_schemas import (
    CompactReply,
    CountReply,
    CountRequest,
    DeleteReply,
    DeleteRequest,
    StoredDocument,
    UpsertReply,
    UpsertRequest,
)
from texthash.service.documentation import EXAMPLE_ID
from texthash.service.editor import Editor
from texthash.service.gateway import Gateway
from texthash.service.routes.answers import BODY_PROBLEMS, READ_PROBLEMS, WRITE_PROBLEMS, answers

Wait = Annotated[
    bool,
    Query(description="true: answer when every search sees the write; false: when it is durable, at once after which."),
]
_TAG = "documents"


def add_documents(app: FastAPI, gateway: Gateway, checks: Checks, editor: Editor | None) -> None:
    """Add the routes that read documents and, with an editor, those that write."""

    @app.get(
        "/v1/documents/{id:path}",
        tags=[_TAG],
        summary="One document",
        responses=answers(*READ_PROBLEMS, "unknown-document", "invalid-field", "shard-unavailable"),
    )
    async def get_document(
        id: Annotated[str, Path(min_length=1, openapi_examples={"id": {"value": EXAMPLE_ID}})],
    ) -> StoredDocument:
        """The document as it was put in, and its code."""
        release, found = await gateway.document(id)
        code = found.pop("code").hex()
        return StoredDocument(**found, code=code, index_version=release.version)

    @app.post(
        "/v1/documents/count",
        tags=[_TAG],
        summary="How many documents",
        responses=answers(*BODY_PROBLEMS, "shard-unavailable"),
    )
    async def count_documents(
        request: CountRequest = Body(
            openapi_examples={
                "all": {"summary": "All", "value": {}},
                "some": {"summary": "Those with a label", "value": {"filter": {"labels": ["pandas.core"]}}},
            }
        ),
    ) -> CountReply:
        """All documents, or those that have one of the labels of the filter."""
        release, count = await gateway.count(request.filter.labels if request.filter else None)
        return CountReply(count=count, index_version=release.version)

    if editor is None:
        return

    @app.put(
        "/v1/documents",
        tags=[_TAG],
        summary="Put documents in",
        responses=answers(*WRITE_PROBLEMS, "encoder-unavailable", "model-changed"),
    )
    async def upsert_documents(
        request: UpsertRequest = Body(
            openapi_examples={
                "one": {
                    "summary": "One document",
                    "value": {
                        "documents": [{"id": "mine/1", "text": "parse a date from a string", "labels": ["mine"]}]
                    },
                }
            }
        ),
        wait: Wait = False,
    ) -> UpsertReply:
        """A document whose id is there is replaced. The answer comes when the write is on disk; searches see it at most
        half a second later, or before the answer with `?wait=true`."""
        checks.batch(len(request.documents), "documents")
        for place, document in enumerate(request.documents):
            checks.text(document.text, "body", "documents", place, "text")
            for name, text in (("id", document.id), ("title", document.title)):
                checks.text(text, "body", "documents", place, name)
        made = [IndexDocument(d.id, d.text, d.title, tuple(d.labels)) for d in request.documents]
        done, release = await editor.upsert(made, wait)
        return UpsertReply(upserted=done.documents, new=done.new, release=release.name, index_version=release.version)

    @app.post("/v1/documents/delete", tags=[_TAG], summary="Take documents out", responses=answers(*WRITE_PROBLEMS))
    async def delete_documents(
        request: DeleteRequest = Body(
            openapi_examples={
                "ids": {"summary": "By id", "value": {"ids": ["mine/1"]}},
                "filter": {"summary": "By label", "value": {"filter": {"labels": ["mine"]}}},
            }
        ),
        wait: Wait = False,
    ) -> DeleteReply:
        """By id, or by label. Ids that are not there are ignored."""
        checks.batch(len(request.ids or ()), "ids")
        labels = request.filter.labels if request.filter else ()
        done, release = await editor.delete(request.ids or (), labels, wait)
        return DeleteReply(deleted=done.documents, release=release.name, index_version=release.version)

    @app.post("/v1/compact", tags=[_TAG], summary="Free space", responses=answers(*WRITE_PROBLEMS))
    async def compact_index() -> CompactReply:
        """Write small pieces of the index together, and free what was replaced or deleted and no snapshot holds. The
        service does the most of it by itself as it writes; searches go on, other writes wait."""
        release = await editor.compact()
        return CompactReply(documents=release.documents, release=release.name, index_version=release.version)
