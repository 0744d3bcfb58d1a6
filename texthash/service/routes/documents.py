"""Routes that read and count documents."""

from __future__ import annotations

from typing import Annotated

from fastapi import Body, Depends, FastAPI, Path, Query
from starlette.convertors import Convertor, register_url_convertor

from texthash.api.answers import CountReply, StoredDocument
from texthash.api.attributes import write_attributes
from texthash.api.requests import CountRequest
from texthash.service.coordinator import Coordinator
from texthash.service.documentation import EXAMPLE_ID
from texthash.service.request_limits import Checks
from texthash.service.routes.answers import BODY_PROBLEMS, READ_PROBLEMS, answers

TAG = "documents"
_EXAMPLE = {"id": {"value": EXAMPLE_ID}}
_Id = Annotated[str, Path(min_length=1, openapi_examples=_EXAMPLE)]
_QueryId = Annotated[
    str, Query(min_length=1, description="Id of a document, of any characters.", openapi_examples=_EXAMPLE)
]
_PROBLEMS = answers(*READ_PROBLEMS, "unknown-document", "invalid-field", "shard-unavailable")
_Count = Annotated[
    CountRequest,
    Body(
        openapi_examples={
            "all": {"summary": "All", "value": {}},
            "some": {"summary": "With a label", "value": {"filter": {"labels": ["pandas.core"]}}},
        }
    ),
]


class _AnyText(Convertor[str]):
    """Path parameter that may contain line breaks, at which Starlette's ``path`` ends."""

    regex = r"[\s\S]*"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("any", _AnyText())


def add_documents(app: FastAPI, coordinator: Coordinator, checks: Checks) -> None:
    """Add the routes that read documents."""

    async def read(id: str) -> StoredDocument:
        release, document = await coordinator.document(id)
        code = document.pop("code").hex()
        document["attributes"] = write_attributes(document["attributes"])
        return StoredDocument(**document, code=code, index_version=release.version)

    @app.get("/v1/documents", tags=[TAG], summary="One document, of any id", responses=_PROBLEMS)
    async def get_document_by_query(id: _QueryId) -> StoredDocument:
        """Return the document as it was written, and its code, for an id of any characters.

        In a path, clients and proxies resolve the segments `.` and `..`, and some reject encoded slashes.
        """
        return await read(id)

    @app.get("/v1/documents/{id:any}", tags=[TAG], summary="One document", responses=_PROBLEMS)
    async def get_document(id: _Id) -> StoredDocument:
        """Return the document as it was written, and its code.

        Percent-encode the id; for one with the segments `.` or `..` use `GET /v1/documents?id=`.
        """
        return await read(id)

    @app.post(
        "/v1/documents/count",
        tags=[TAG],
        summary="Count documents",
        dependencies=[Depends(checks.body)],
        responses=answers(*BODY_PROBLEMS, "attribute-mismatch", "shard-unavailable"),
    )
    async def count_documents(request: _Count) -> CountReply:
        """Count all documents, or those that the filter keeps."""
        release, count = await coordinator.count(request.filter)
        return CountReply(count=count, index_version=release.version)
