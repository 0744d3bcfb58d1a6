"""Route ``POST /v1/search``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import Body, Depends, FastAPI
from pydantic_core import to_json
from starlette.responses import Response

from texthash.api.answers import SearchReply
from texthash.api.requests import SearchRequest
from texthash.index.keywords.analysis import document_text, keyword_analyzer
from texthash.index.memory.hits import join_plans
from texthash.service.coordinator import Answer
from texthash.service.documentation import EXAMPLE_CODE, EXAMPLE_ID, EXAMPLE_RADIUS
from texthash.service.middleware.short_search import SEARCH_PATH, Respond
from texthash.service.problems import Problem
from texthash.service.request_limits import Checks
from texthash.service.reranking import Reranking
from texthash.service.routes.answers import BODY_PROBLEMS, JSON, answers

Search = Callable[[SearchRequest], Awaitable[Answer]]
_PROBLEMS = (
    "encoder-unavailable",
    "unknown-document",
    "wrong-code-width",
    "no-keywords",
    "no-text",
    "no-reranker",
    "attribute-mismatch",
    "no-vectors",
    "vector-mismatch",
    "limit-too-large",
    "radius-too-large",
    "shard-unavailable",
)
_TEXT = {"text": "parse a date from a string"}
_Search = Annotated[
    SearchRequest,
    Body(
        openapi_examples={
            "text": {
                "summary": "By text",
                "value": {"queries": [_TEXT], "limit": 5, "fields": ["title", "labels"]},
            },
            "keyword": {"summary": "By words alone", "value": {"queries": [_TEXT], "mode": "keyword", "limit": 5}},
            "hybrid": {
                "summary": "By words and meaning, with the weight of the meaning",
                "value": {"queries": [_TEXT], "mode": "hybrid", "fusion": {"weight": 0.3}},
            },
            "code": {
                "summary": "By code, within a radius",
                "value": {"queries": [{"code": EXAMPLE_CODE}], "radius": EXAMPLE_RADIUS, "include_code": True},
            },
            "rescored": {
                "summary": "By text, with the nearest reordered by the query's activations",
                "value": {"queries": [_TEXT], "rescore": {"kind": "asymmetric", "oversample": 4}},
            },
            "id": {"summary": "By the id of a document", "value": {"queries": [{"id": EXAMPLE_ID}], "limit": 5}},
            "many": {
                "summary": "Several queries at once",
                "value": {"queries": [{"text": "sort a list"}, {"text": "open a socket"}], "limit": 3},
            },
        }
    ),
]


def search_response(checks: Checks, search: Search, reranking: Reranking | None) -> Respond:
    """Return the function that answers a validated request by ``search``, and by ``reranking`` where it asks for it."""

    async def respond(request: SearchRequest) -> Response:
        start = time.perf_counter()
        checked = checks.search(request)
        if not checked.rerank:
            answer = await search(checked)
        elif reranking is None:
            raise Problem("no-reranker", "rerank: this server has no model that re-ranks.")
        else:
            answer = await reranking.search(checked, checks, search)
        if request.highlight:
            await asyncio.to_thread(_highlight, request, answer)
        took = time.perf_counter() - start
        return Response(to_json(_reply(answer, took)), media_type=JSON, headers=_timing(answer, took))

    return respond


def add_search(app: FastAPI, checks: Checks, respond: Respond) -> None:
    """Add ``POST /v1/search``, whose requests the function ``respond`` answers."""

    @app.post(
        SEARCH_PATH,
        tags=["search"],
        summary="Find the nearest documents",
        dependencies=[Depends(checks.body)],
        response_model=SearchReply,
        responses=answers(*BODY_PROBLEMS, *_PROBLEMS),
    )
    async def search_documents(request: _Search) -> Response:
        """Search for the documents nearest to each query, which is a text, a vector, a code or the id of a document.

        `mode` selects the search: by meaning (`semantic`), by words (`keyword`) or by both (`hybrid`, the default for
        texts). A semantic search orders hits by distance (number of differing bits), and equal distances by the first
        insertion of the documents; `rescore` reorders the nearest documents by `score`. A hybrid search shows the rank
        of each hit in both lists. `radius` and `filter` select the documents. A text without a known word has no hits
        by meaning and `known_words: false`.
        """
        return await respond(request)


def _highlight(request: SearchRequest, answer: Answer) -> None:
    """Add ``matches`` to the hits of each query, none for a query without text.

    The texts of an index without words are analysed as English.
    """
    analyzer = keyword_analyzer(answer.release.keywords or "english")
    for query, result in zip(request.queries, answer.results, strict=True):
        terms = analyzer.query(query.text or "")
        for hit in result["hits"]:
            fields = hit["document"]
            hit["matches"] = analyzer.matches(document_text(fields.get("title"), fields.get("text")), terms)


def _reply(answer: Answer, took: float) -> dict[str, Any]:
    return {
        "mode": answer.mode,
        "results": answer.results,
        "partial": bool(answer.missing),
        "missing_shards": answer.missing,
        "took_ms": round(1e3 * took, 3),
        "plan": join_plans([result["plan"] for result in answer.results if result["plan"]]) or "none",
        "release": answer.release.name,
        "index_version": answer.release.version,
        "bits": answer.release.bits,
    }


def _timing(answer: Answer, took: float) -> dict[str, str]:
    parts = (
        ("encode", answer.encode),
        ("filter", answer.filtering),
        ("search", answer.search),
        ("merge", answer.merge),
        *([] if answer.rerank is None else [("rerank", answer.rerank)]),
        ("total", took),
    )
    return {"Server-Timing": ", ".join(f"{name};dur={1e3 * seconds:.3f}" for name, seconds in parts)}
