"""The HTTP face of the service: routes, checks of what is asked against the limits, and the search page."""

from __future__ import annotations

import base64
import time
from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Any

from fastapi import Body, FastAPI
from pydantic_core import to_json
from starlette.responses import HTMLResponse, Response

import texthash
from texthash.hamming.codes import to_bitstring, to_hex
from texthash.service import documentation, problems
from texthash.service.checks import Checks
from texthash.service.documentation import EXAMPLE_ID
from texthash.service.gateway import Answer, Gateway
from texthash.service.guard import Guard
from texthash.service.problems import KINDS, MEDIA_TYPE, Problem
from texthash.service.schemas import (
    EncodeReply,
    EncodeRequest,
    Health,
    Info,
    Limits,
    ProblemBody,
    SearchReply,
    SearchRequest,
)

PLAN = "flat"
_PING_S = 2.0
_JSON = "application/json"

Search = Callable[[SearchRequest], Awaitable[Answer]]


def make_app(gateway: Gateway, search: Search | None = None) -> FastAPI:
    """Build the application.

    Args:
        gateway: Answers from one release.
        search: Answers one request; None: the gateway, without waiting for others to share the call.
    """
    app = FastAPI(title="texthash", version=texthash.__version__, docs_url=None, redoc_url=None, openapi_url=None)
    checks = Checks(gateway)
    problems.install(app)
    release = gateway.release
    documentation.install(
        app,
        {
            "documents": release.documents,
            "corpus": release.corpus,
            "bits": release.bits,
            "method": release.method,
        },
        gateway.example,
    )
    _add_pages(app)
    _add_service(app, gateway, checks)
    _add_search(app, gateway, checks, search or _alone(gateway))
    app.add_middleware(Guard, limits=gateway.limits)
    return app


def _alone(gateway: Gateway) -> Search:
    async def search(request: SearchRequest) -> Answer:
        answer = (await gateway.search([request]))[0]
        if isinstance(answer, Problem):
            raise answer
        return answer

    return search


def _answers(*kinds: str) -> dict[int | str, dict[str, Any]]:
    """The error statuses of a route, for its documentation."""
    by_status: dict[int | str, list[str]] = {}
    for kind in kinds:
        by_status.setdefault(KINDS[kind].status, []).append(kind)
    schema = {"$ref": f"#/components/schemas/{ProblemBody.__name__}"}
    return {
        status: {
            "description": "; ".join(f"{KINDS[kind].title} (`{kind}`)" for kind in found),
            "model": ProblemBody,
            "content": {MEDIA_TYPE: {"schema": schema}},
        }
        for status, found in by_status.items()
    }


_BODY_PROBLEMS = (
    "malformed-json",
    "body-too-large",
    "batch-too-large",
    "text-too-long",
    "unsupported-media-type",
    "invalid-field",
    "overloaded",
    "internal",
    "encoder-unavailable",
    "timeout",
)


def _add_search(app: FastAPI, gateway: Gateway, checks: Checks, search: Search) -> None:
    release = gateway.release
    code = "5a" * (release.bits // 8)

    @app.post(
        "/v1/search",
        tags=["search"],
        summary="Find the nearest documents",
        response_model=SearchReply,
        responses=_answers(
            *_BODY_PROBLEMS, "unknown-document", "wrong-code-width", "limit-too-large", "radius-too-large",
            "shard-unavailable",
        ),
    )  # fmt: skip
    async def search_documents(
        request: SearchRequest = Body(
            openapi_examples={
                "text": {
                    "summary": "By text",
                    "value": {
                        "queries": [{"text": "parse a date from a string"}],
                        "limit": 5,
                        "fields": ["title", "labels"],
                    },
                },
                "code": {
                    "summary": "By code, within a radius",
                    "value": {"queries": [{"code": code}], "radius": release.bits // 4, "include_code": True},
                },
                "id": {"summary": "Like another document", "value": {"queries": [{"id": EXAMPLE_ID}], "limit": 5}},
                "many": {
                    "summary": "Several queries at once",
                    "value": {"queries": [{"text": "sort a list"}, {"text": "open a socket"}], "limit": 3},
                },
            }
        ),
    ) -> Response:
        """Each query is a text, a code or the id of a document. Hits come by distance (bits that differ); equal
        distances by the order in which documents were first inserted. A text of which the model knows no word gets no
        hits and `known_words: false`."""
        start = time.perf_counter()
        checks.search(request)
        answer = await search(request)
        took = time.perf_counter() - start
        body = {
            "results": answer.results,
            "took_ms": round(1e3 * took, 3),
            "plan": PLAN,
            "release": release.name,
            "index_version": release.version,
            "bits": release.bits,
        }
        parts = (("encode", answer.encode), ("search", answer.search), ("merge", answer.merge), ("total", took))
        timing = ", ".join(f"{name};dur={1e3 * seconds:.3f}" for name, seconds in parts)
        return Response(to_json(body), media_type=_JSON, headers={"Server-Timing": timing})

    @app.post(
        "/v1/encode",
        tags=["encode"],
        summary="Turn texts into codes",
        response_model=EncodeReply,
        responses=_answers(*_BODY_PROBLEMS),
    )
    async def encode_texts(
        request: EncodeRequest = Body(
            openapi_examples={
                "one": {"summary": "One text", "value": {"inputs": "parse a date from a string"}},
                "many": {
                    "summary": "Several, as queries, with the values before the cut",
                    "value": {"inputs": ["sort a list", "open a socket"], "role": "query", "return_logits": True},
                },
                "base64": {"summary": "Codes in base64", "value": {"inputs": ["sort a list"], "format": "base64"}},
            }
        ),
    ) -> Response:
        """Codes are packed most significant bit first. The code of a text of which the model knows no word is that of
        an empty text; `known_words` says so."""
        start = time.perf_counter()
        texts = [request.inputs] if isinstance(request.inputs, str) else request.inputs
        checks.batch(len(texts), "inputs")
        for place, text in enumerate(texts):
            checks.text(text, "body", "inputs", place)
        encoded = await gateway.encode(texts, request.role, request.return_logits)
        if request.format == "hex":
            codes = to_hex(encoded.codes)
        elif request.format == "bits":
            codes = to_bitstring(encoded.codes)
        else:
            codes = [base64.b64encode(row.tobytes()).decode() for row in encoded.codes]
        body = {
            "codes": codes,
            "known_words": encoded.known.tolist(),
            "logits": encoded.logits.tolist() if encoded.logits is not None else None,
            "bits": release.bits,
            "bitorder": "big",
            "model": {"name": release.model, "version": release.model_version, "digest": release.model_digest},
            "release": release.name,
            "took_ms": round(1e3 * (time.perf_counter() - start), 3),
        }
        return Response(to_json(body), media_type=_JSON)


def _add_service(app: FastAPI, gateway: Gateway, checks: Checks) -> None:
    release = gateway.release

    @app.get(
        "/v1/info", tags=["service"], summary="What is served, and within which limits", responses=_answers("internal")
    )
    async def info() -> Info:
        """The model, the index, the release that holds both, and the limits of this server."""
        return Info.model_validate(
            {
                "version": texthash.__version__,
                "release": {
                    "name": release.name,
                    "index_version": release.version,
                    "created": release.created,
                    "commit": release.commit,
                },
                "model": {
                    "name": release.model,
                    "version": release.model_version,
                    "digest": release.model_digest,
                    "run": release.run,
                    "method": release.method,
                    "bits": release.bits,
                    "corpus": release.corpus,
                    "edition": release.edition,
                    "vocabulary_hash": release.vocabulary_hash,
                },
                "index": {"kind": PLAN, "documents": release.documents, "shards": len(release.shards)},
                "limits": Limits(**gateway.limits.model_dump(), max_window=checks.window),
            }
        )

    @app.get("/health/live", tags=["service"], summary="Whether the process answers")
    async def live() -> Health:
        """Always 200 while the process answers at all."""
        return Health(status="ok")

    @app.get(
        "/health/ready",
        tags=["service"],
        summary="Whether searches can be answered",
        responses={
            503: {"description": "The encoder or a shard does not answer; `missing` names it.", "model": Health}
        },
    )
    @app.get("/health", tags=["service"], summary="The same as /health/ready", include_in_schema=False)
    async def ready(response: Response) -> Health:
        """200 when the encoder and every shard answered just now."""
        encoder, missing = await gateway.ready(_PING_S)
        total = len(release.shards)
        whole = encoder and not missing
        response.status_code = 200 if whole else 503
        return Health(
            status="ok" if whole else "unavailable",
            encoder=encoder,
            shards={"ready": total - len(missing), "total": total},
            missing=([] if encoder else ["encoder"]) + [f"shard-{number}" for number in missing],
        )


def _add_pages(app: FastAPI) -> None:
    folder = files("texthash.service") / "page"
    page, icon = (folder / "index.html").read_text(encoding="utf-8"), (folder / "favicon.svg").read_text()

    @app.get("/", include_in_schema=False)
    async def search_page() -> HTMLResponse:
        return HTMLResponse(page)

    @app.get("/favicon.svg", include_in_schema=False)
    async def favicon() -> Response:
        return Response(icon, media_type="image/svg+xml")
