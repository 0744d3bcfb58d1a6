"""Documentation pages: Swagger UI and ReDoc from local files, correct behind any route prefix."""

from __future__ import annotations

import asyncio
import json
from importlib.resources import files
from typing import Any

from fastapi import FastAPI, Request
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from fastapi.staticfiles import StaticFiles
from starlette.responses import HTMLResponse, Response

from texthash.api.problems import MEDIA_TYPE
from texthash.index.releases.release import Release
from texthash.service.coordinator import Coordinator
from texthash.service.request_limits import Checks

_ASSETS = "/docs/assets"
_URL = "texthash://this-server"  # placeholder, which each response replaces by the called URL
# Placeholders in the examples of requests, which are replaced by values of the index.
EXAMPLE_ID = "<id of a document>"
EXAMPLE_CODE = "<a code>"
EXAMPLE_RADIUS = "<a radius>"

_DESCRIPTION = """
Semantic search over {documents:,} documents of the corpus *{corpus}* by {bits}-bit codes. A model ({method}) turns text
into a short binary code; a search returns the documents whose codes differ from the query's in the fewest bits.
Results are exact: every code is considered, and equal distances are ordered by first insertion.

```
curl -s {url}/v1/search -H 'content-type: application/json' \\
  -d '{{"queries": [{{"text": "parse a date from a string"}}], "limit": 5, "fields": ["title", "labels"]}}'
```

Every response comes from one release, which it names (`release`, `index_version`). `GET /v1/info` shows the limits,
`GET /metrics` has metrics for Prometheus. Every error is a problem of RFC 9457 (`application/problem+json`), whose
`type` is the address of a page that explains it. Responses have the header `X-Request-ID` (yours, if you sent one),
those of a search also `Server-Timing` (encode, search, merge; in ms).
"""

TAGS = [
    {"name": "search", "description": "Find documents by text, by code, or by another document."},
    {"name": "encode", "description": "Turn texts into codes."},
    {"name": "documents", "description": "Read, list, count, upsert and delete documents."},
    {"name": "snapshots", "description": "Named states of the index, and their restoration."},
    {"name": "service", "description": "Release, limits and health of the service."},
]


def install(app: FastAPI, coordinator: Coordinator, checks: Checks, keyed: bool = False) -> None:
    """Serve ``/docs``, ``/redoc`` and ``/openapi.json``.

    Args:
        app: Application, whose own documentation routes must be off.
        coordinator: Coordinator, whose release and documents fill the examples.
        checks: Limits of the server, for the schemas.
        keyed: True if the service requires a key; the pages then have a field for it.
    """
    app.mount(_ASSETS, StaticFiles(directory=str(files("fastapi_offline") / "static")), name="docs-assets")
    document = _Document(app, coordinator, checks, keyed)

    @app.get("/openapi.json", include_in_schema=False)
    async def _openapi(request: Request) -> Response:
        content = await document.of(request.scope.get("root_path", ""))
        url = json.dumps(str(request.base_url).rstrip("/"))[1:-1].encode()
        return Response(content.replace(_URL.encode(), url), media_type="application/json")

    @app.get("/docs", include_in_schema=False)
    async def _swagger(request: Request) -> HTMLResponse:
        root = request.scope.get("root_path", "")
        return get_swagger_ui_html(
            openapi_url=f"{root}/openapi.json",
            title=f"{app.title} · API",
            swagger_js_url=f"{root}{_ASSETS}/swagger-ui-bundle.js",
            swagger_css_url=f"{root}{_ASSETS}/swagger-ui.css",
            swagger_favicon_url=f"{root}/favicon.svg",
            swagger_ui_parameters={"tryItOutEnabled": True, "displayRequestDuration": True},
        )

    @app.get("/redoc", include_in_schema=False)
    async def _redoc(request: Request) -> HTMLResponse:
        root = request.scope.get("root_path", "")
        return get_redoc_html(
            openapi_url=f"{root}/openapi.json",
            title=f"{app.title} · API",
            redoc_js_url=f"{root}{_ASSETS}/redoc.standalone.js",
            redoc_favicon_url=f"{root}/favicon.svg",
            with_google_fonts=False,
        )


class _Document:
    """OpenAPI document, built once for each release."""

    def __init__(self, app: FastAPI, coordinator: Coordinator, checks: Checks, keyed: bool) -> None:
        self._app, self._coordinator, self._checks, self._keyed = app, coordinator, checks, keyed
        self._lock = asyncio.Lock()
        self._cached: tuple[tuple[str, str], bytes] | None = None

    async def of(self, root_path: str) -> bytes:
        """Return the document of the release that is served, with ``_URL`` as a placeholder."""
        async with self._lock:  # The first caller builds the document, the others wait for it.
            release = self._coordinator.release
            key = (release.name, root_path)
            if self._cached is None or self._cached[0] != key:
                self._cached = (key, await self._build(release, root_path))
            return self._cached[1]

    async def _build(self, release: Release, root_path: str) -> bytes:
        app = self._app
        document = get_openapi(
            title=app.title,
            version=app.version,
            summary="Semantic text search in Hamming space",
            description=_DESCRIPTION.format(
                documents=release.documents, corpus=release.corpus, bits=release.bits, method=release.method, url=_URL
            ),
            routes=app.routes,
            tags=TAGS,
            servers=[{"url": root_path or "/", "description": "this server"}],
            license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        )
        _fill_examples(document, release.bits, await self._coordinator.example())
        _problems_only(document)
        _name_limits(document, self._checks)
        if self._keyed:
            _require_key(document)
        return json.dumps(document, ensure_ascii=False).encode()


def _require_key(document: dict[str, Any]) -> None:
    schemes = document.setdefault("components", {}).setdefault("securitySchemes", {})
    schemes["key"] = {"type": "http", "scheme": "bearer", "description": "Key with which this server was started."}
    for path, routes in document["paths"].items():
        if not path.startswith("/health"):
            for route in routes.values():
                route["security"] = [{"key": []}]


def _problems_only(document: dict[str, Any]) -> None:
    """Remove the media type JSON, which FastAPI adds to every response with a model, from the errors."""
    for path in document["paths"].values():
        for route in path.values():
            for answer in route["responses"].values():
                content = answer.get("content", {})
                if MEDIA_TYPE in content:
                    content.pop("application/json", None)


def _name_limits(document: dict[str, Any], checks: Checks) -> None:
    """Put the limits of this server into the schemas, so that clients can keep to them."""
    schemas, batch = document["components"]["schemas"], {"maxItems": checks.limits.max_batch}
    for schema, member, bound in (
        ("SearchRequest", "queries", batch),
        ("SearchRequest", "limit", {"maximum": checks.limits.max_limit}),
        ("ScrollRequest", "limit", {"maximum": checks.limits.max_limit}),
        ("Rescore", "oversample", {"maximum": checks.limits.max_oversample}),
        ("Fusion", "depth", {"maximum": checks.window}),
        ("SearchRequest", "offset", {"maximum": checks.window - 1}),
        ("SearchRequest", "radius", {"maximum": checks.bits}),
        ("Query", "code", {"pattern": f"^[0-9A-Fa-f]{{{checks.bits // 4}}}$"}),
        ("EncodeRequest", "inputs", batch),
        ("UpsertRequest", "documents", batch),
        ("DeleteRequest", "ids", batch),
    ):
        if schema in schemas:  # Without a writer there are no write requests.
            schemas[schema]["properties"][member].update(bound)


def _fill_examples(document: dict[str, Any], bits: int, example_id: str | None) -> None:
    """Replace the placeholders of the examples by a code of the width of this index and the id of a document."""
    text = json.dumps(document)
    values = {EXAMPLE_CODE: "5a" * (bits // 8), EXAMPLE_RADIUS: bits // 4, EXAMPLE_ID: example_id}
    for placeholder, value in values.items():
        if value is not None:
            text = text.replace(json.dumps(placeholder), json.dumps(value))
    document.update(json.loads(text))
