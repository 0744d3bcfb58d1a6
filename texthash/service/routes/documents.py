"""Documents of the index: read them, and count them."""

from __future__ import annotations

from typing import Annotated

from fastapi import Body, Depends, FastAPI, Path

from texthash.api.answers import CountReply, StoredDocument
from texthash.api.requests import CountRequest
from texthash.service.coordinator import Gateway
from texthash.service.documentation import EXAMPLE_ID
from texthash.service.request_limits import Checks
from texthash.service.routes.answers import BODY_PROBLEMS, READ_PROBLEMS, answers

TAG = "documents"
_Id = Annotated[str, Path(min_length=1, openapi_examples={"id": {"value": EXAMPLE_ID}})]
_Count = Annotated[
    CountRequest,
    Body(
        openapi_examples={
            "all": {"summary": "All", "value": {}},
            "some": {"summary": "Those with a label", "value": {"filter": {"labels": ["pandas.core"]}}},
        }
    ),
]


def add_documents(app: FastAPI, gateway: Gateway, checks: Checks) -> None:
    """Add the routes that read documents."""

    @app.get(
        "/v1/documents/{id:path}",
        tags=[TAG],
        summary="One document",
        responses=answers(*READ_PROBLEMS, "unknown-document", "invalid-field", "shard-unavailable"),
    )
    async def get_document(id: _Id) -> StoredDocument:
        """The document as it was put in, and its code."""
        release, found = await gateway.document(id)
        code = found.pop("code").hex()
        return StoredDocument(**found, code=code, index_version=release.version)

    @app.post(
        "/v1/documents/count",
        tags=[TAG],
        summary="How many documents",
        dependencies=[Depends(checks.body)],
        responses=answers(*BODY_PROBLEMS, "shard-unavailable"),
    )
    async def count_documents(request: _Count) -> CountReply:
        """All documents, or those that have one of the labels of the filter."""
        release, count = await gateway.count(request.filter.labels if request.filter else None)
        return CountReply(count=count, index_version=release.version)
