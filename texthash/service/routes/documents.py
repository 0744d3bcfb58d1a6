"""Routes that read, count and list documents."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Body, Depends, FastAPI, Path, Query
from pydantic_core import to_json
from starlette.convertors import Convertor, register_url_convertor
from starlette.responses import Response

from texthash.api.answers import CountReply, StoredDocument
from texthash.api.attributes import write_attributes
from texthash.api.facets import FacetsReply, FacetsRequest
from texthash.api.requests import CountRequest
from texthash.api.scroll import ScrollReply, ScrollRequest
from texthash.service.coordinator import Coordinator
from texthash.service.documentation import EXAMPLE_ID
from texthash.service.request_limits import Checks
from texthash.service.routes.answers import BODY_PROBLEMS, JSON, READ_PROBLEMS, answers

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
_Facets = Annotated[
    FacetsRequest,
    Body(
        openapi_examples={
            "all": {"summary": "Labels of all documents", "value": {"facets": {"labels": {"limit": 20}}}},
            "some": {
                "summary": "Labels among documents of an id",
                "value": {"facets": {"labels": {}}, "filter": {"ids": [EXAMPLE_ID]}},
            },
        }
    ),
]
_Scroll = Annotated[
    ScrollRequest,
    Body(
        openapi_examples={
            "all": {"summary": "The first page of all documents", "value": {}},
            "some": {
                "summary": "Texts of the documents with a label",
                "value": {"filter": {"labels": ["pandas.core"]}, "limit": 20, "fields": ["title", "text"]},
            },
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

    @app.post(
        "/v1/facets",
        tags=[TAG],
        summary="Count documents by value",
        dependencies=[Depends(checks.body)],
        response_model=FacetsReply,
        responses=answers(*BODY_PROBLEMS, "attribute-mismatch", "shard-unavailable"),
    )
    async def count_facets(request: _Facets) -> Response:
        """Count the documents that the filter keeps by label, and by value or range of attributes.

        Counts are exact, over all shards and all matching documents.
        """
        release = coordinator.release
        found = await coordinator.browsing.facets(release, request)
        return _json({**found, "release": release.name, "index_version": release.version})

    @app.post(
        "/v1/documents/scroll",
        tags=[TAG],
        summary="List documents page by page",
        dependencies=[Depends(checks.body)],
        response_model=ScrollReply,
        responses=answers(
            *BODY_PROBLEMS, "attribute-mismatch", "limit-too-large", "cursor-expired", "shard-unavailable"
        ),
    )
    async def scroll_documents(request: _Scroll) -> Response:
        """Return a page of all documents, or of those that the filter keeps, and the cursor of the next page.

        They come in the order of first insertion, or of an attribute: documents without it last, equal ones in the
        order of insertion. All pages are from the release of the first, whatever is written meanwhile; repeat filter
        and sort with every cursor.
        """
        checks.page(request)
        page = await coordinator.browsing.page(coordinator.release, request)
        reply = {"documents": [_listed(row) for row in page.documents], "total": page.total, "cursor": page.cursor}
        return _json({**reply, "release": page.release.name, "index_version": page.release.version})


def _listed(row: dict[str, Any]) -> dict[str, Any]:
    fields = dict(row)
    found: dict[str, Any] = {"id": fields.pop("id")}
    if "code" in fields:
        found["code"] = fields.pop("code").hex()
    if "attributes" in fields:
        fields["attributes"] = write_attributes(fields["attributes"])
    return {**found, "document": fields}


def _json(body: dict[str, Any]) -> Response:
    return Response(to_json(body), media_type=JSON)
