"""The HTTP face of the service: its routes, its pages, and what stands before them."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.resources import files

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import HTMLResponse, Response

import texthash
from texthash.api.requests import SearchRequest
from texthash.service import documentation, problems
from texthash.service.coordinator import Answer, Gateway
from texthash.service.guard import Guard, key_of_environment
from texthash.service.index_writes import Editor
from texthash.service.memory_budget import Ledger
from texthash.service.problems import Problem
from texthash.service.request_limits import Checks
from texthash.service.routes.documents import add_documents
from texthash.service.routes.encode import add_encode
from texthash.service.routes.metrics import add_metrics
from texthash.service.routes.search import Search, add_search
from texthash.service.routes.snapshots import add_snapshots
from texthash.service.routes.state import add_state
from texthash.service.routes.writes import add_writes


def make_app(
    gateway: Gateway,
    search: Search | None = None,
    editor: Editor | None = None,
    alongside: Callable[[], AbstractAsyncContextManager[None]] | None = None,
    cors_origins: Sequence[str] = (),
    ledger: Ledger | None = None,
) -> FastAPI:
    """Build the application.

    Args:
        gateway: Answers from one release at a time.
        search: Answers one request; None: the gateway, without waiting for others to share the call.
        editor: Writes; None: there are no routes that write.
        alongside: What runs as long as the application does.
        cors_origins: Whose pages may call it from a browser, beside its own.
        ledger: Of the memory that bodies and answers take, where others look at it too.

    Raises:
        UsageError: TEXTHASH_API_KEY is set, but is no key.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if alongside is None:
            yield
        else:
            async with alongside():
                yield

    app = FastAPI(
        title="texthash",
        version=texthash.__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=lifespan,
    )
    checks = Checks(gateway)
    problems.install(app)
    key = key_of_environment()
    documentation.install(app, gateway, checks, keyed=key is not None)
    _add_pages(app)
    add_state(app, gateway, checks)
    add_metrics(app)
    add_search(app, checks, search or _alone(gateway))
    add_encode(app, gateway, checks)
    add_documents(app, gateway)
    if editor is not None:
        add_writes(app, checks, editor)
        add_snapshots(app, editor)
    book = ledger or Ledger(gateway.limits.max_pending_bytes)
    app.add_middleware(Guard, limits=gateway.limits, ledger=book, key=key)
    if cors_origins:  # outermost, so that problems of the guard can be read too
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(cors_origins),
            allow_methods=["GET", "POST", "PUT"],
            allow_headers=["authorization", "content-type", "x-request-id"],
            expose_headers=["server-timing", "retry-after", "x-request-id"],
        )
    return app


def _alone(gateway: Gateway) -> Search:
    async def search(request: SearchRequest) -> Answer:
        answer = (await gateway.search([request]))[0]
        if isinstance(answer, Problem):
            raise answer
        return answer

    return search


def _add_pages(app: FastAPI) -> None:
    folder = files("texthash.service") / "page"
    page, icon = (folder / "index.html").read_text(encoding="utf-8"), (folder / "favicon.svg").read_text()
    headers = _only_its_own(page)

    @app.get("/", include_in_schema=False)
    async def search_page() -> HTMLResponse:
        return HTMLResponse(page, headers=headers)

    @app.get("/favicon.svg", include_in_schema=False)
    async def favicon() -> Response:
        return Response(icon, media_type="image/svg+xml")


def _only_its_own(page: str) -> dict[str, str]:
    """Headers by which a browser runs the scripts of this page and no others, and lets it speak to its server alone:
    whatever a document that it shows may hold."""
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" for script in scripts]
    policy = {
        "default-src": "'none'",
        "script-src": " ".join(hashes),
        "style-src": "'unsafe-inline'",
        "img-src": "'self'",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'self'",
    }
    return {
        "content-security-policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
    }
