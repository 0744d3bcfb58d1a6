"""HTTP application of the service: routes, pages and middleware."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.responses import HTMLResponse, Response

import texthash
from texthash.api.requests import SearchRequest
from texthash.config import ServiceConfig
from texthash.service import documentation, problems
from texthash.service.audit_writer import AuditWriter
from texthash.service.coordinator import Answer, Coordinator
from texthash.service.index_writes import IndexWriteService
from texthash.service.json_body import JsonRoute
from texthash.service.memory_budget import MemoryBudget
from texthash.service.middleware import stack
from texthash.service.middleware.auth import Keys
from texthash.service.middleware.gate import Gate
from texthash.service.middleware.origin import allowed_hosts
from texthash.service.middleware.request_log import Recorder
from texthash.service.middleware.short_search import SEARCH_PATH, ShortSearch
from texthash.service.pages import page_file, policy_of, search_page
from texthash.service.problems import Problem
from texthash.service.prometheus import add_metrics
from texthash.service.release_watcher import ReleaseWatcher
from texthash.service.request_limits import Checks
from texthash.service.reranking import Reranking
from texthash.service.routes.documents import add_documents
from texthash.service.routes.encode import add_encode
from texthash.service.routes.search import Search, add_search, search_response
from texthash.service.routes.snapshots import add_snapshots
from texthash.service.routes.state import add_state
from texthash.service.routes.writes import add_writes
from texthash.service.validation import from_validation, json_stated, known_parameters


class _Application(FastAPI):
    """Application with a short way before its middleware and the router.

    Attributes:
        answer: ASGI application that answers the requests; at first the framework's.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.answer: Any = super().__call__

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.answer(scope, receive, send)


def make_app(
    coordinator: Coordinator,
    search: Search | None = None,
    index_writes: IndexWriteService | None = None,
    release_watcher: ReleaseWatcher | None = None,
    service: ServiceConfig | None = None,
    budget: MemoryBudget | None = None,
    *,
    reranking: Reranking | None = None,
    short_search: bool = True,
) -> FastAPI:
    """Build the application.

    Args:
        coordinator: Coordinator, which answers from one release at a time.
        search: Function that answers one search request; None searches by the coordinator, without batching.
        index_writes: Service of writes; None leaves out the routes that write.
        release_watcher: Watcher that follows the pointer while the application runs; None stays with the release.
        service: Address, allowed hosts and CORS origins; None allows any host, for callers in this process.
        budget: Memory budget of bodies and answers, if it is shared; None makes one.
        reranking: Re-ranking of hits; None refuses requests for it.
        short_search: Answer well-formed searches without the framework's work for a route.

    Raises:
        UsageError: TEXTHASH_API_KEY or TEXTHASH_READ_KEY is set to an invalid key.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with release_watcher.running() if release_watcher is not None else nullcontext():
            yield

    keys = Keys.of_environment()
    auditor = None if index_writes is None else AuditWriter(index_writes.home)
    gate = Gate(
        coordinator.limits,
        budget or MemoryBudget(coordinator.limits.max_pending_bytes),
        keys,
        allowed_hosts(service, bool(keys)) if service else None,
        recorder=Recorder(auditor),
    )
    checks = Checks(coordinator)
    respond = search_response(checks, search or _unbatched(coordinator), reranking)
    app = _Application(
        title="texthash",
        version=texthash.__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=lifespan,
        dependencies=[Depends(json_stated), Depends(known_parameters)],
        middleware=stack(gate, service.cors_origins if service else ()),
    )
    if short_search:
        app.answer = ShortSearch(app.answer, respond, gate)
    app.router.route_class = JsonRoute
    problems.install(app)
    _explain_invalid(app)
    documentation.install(app, coordinator, checks, keyed=bool(keys))
    _add_pages(app)
    add_state(
        app,
        coordinator,
        checks,
        reranking=reranking,
        index_writes=index_writes,
        release_watcher=release_watcher,
        auditor=auditor,
    )
    add_metrics(app)
    add_search(app, checks, respond)
    add_encode(app, coordinator, checks)
    add_documents(app, coordinator, checks)
    if index_writes is not None:
        add_writes(app, checks, index_writes)
        add_snapshots(app, checks, index_writes)
    # Serve looks for the pattern of each request: that of a search is found at once.
    app.router.routes.sort(key=lambda route: getattr(route, "path", None) != SEARCH_PATH)
    return app


def _explain_invalid(app: FastAPI) -> None:
    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> Response:
        return from_validation(request, error).response(request.scope)


def _unbatched(coordinator: Coordinator) -> Search:
    async def search(request: SearchRequest) -> Answer:
        answer = (await coordinator.search([request]))[0]
        if isinstance(answer, Problem):
            raise answer
        return answer

    return search


def _add_pages(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    async def page() -> HTMLResponse:
        return HTMLResponse(search_page(), headers=policy_of(search_page()))

    @app.get("/favicon.svg", include_in_schema=False)
    async def favicon() -> Response:
        return Response(page_file("favicon.svg"), media_type="image/svg+xml")
