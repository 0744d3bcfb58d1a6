"""Checks of requests against the limits of the server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import Request

from texthash.api.requests import SearchRequest, UpsertRequest
from texthash.api.scroll import ScrollRequest
from texthash.corpora.prepared.embeddings.checks import flaw_of_one
from texthash.service.coordinator import Coordinator
from texthash.service.problems import Problem
from texthash.service.validation import check_size

# Deep paging costs every shard limit + offset hits, so their sum has its own limit.
_WINDOW = 10


class Checks:
    """Checks of requests against the limits of this server; each raises a :class:`Problem`."""

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator
        self.limits = coordinator.limits
        self.bits = coordinator.release.bits
        self.window = min(_WINDOW * coordinator.limits.max_limit, coordinator.limits.max_hits)

    async def body(self, request: Request) -> None:
        """Reject a body with too many members or items; as a dependency of a route it runs before validation."""
        if await request.body():
            check_size(await request.json(), self.limits.max_batch)

    def batch(self, count: int, what: str) -> None:
        """Check the number of members of a list, which ``what`` names."""
        most = self.limits.max_batch
        if count > most:
            raise Problem("batch-too-large", f"{what} has {count} members, this server takes {most} in one request.")

    def text(self, text: str, *where: str | int) -> None:
        """Check the size of a text at a location of the request."""
        most = self.limits.max_text_bytes
        size = len(text.encode())
        if size > most:
            raise Problem("text-too-long", f"{_dotted(where)} has {size} bytes in UTF-8, this server takes {most}.")

    def documents(self, request: UpsertRequest) -> None:
        """Check the documents of an upsert."""
        self.batch(len(request.documents), "documents")
        for position, document in enumerate(request.documents):
            for name, text in (("text", document.text), ("id", document.id), ("title", document.title)):
                self.text(text, "body", "documents", position, name)
            where = "body", "documents", position
            if document.vector is not None:
                self.vector(document.vector, *where, "vector")
            elif not document.text:
                message, place = "is missing, and there is no vector in its place", (*where, "text")
                raise Problem("invalid-field", f"{_dotted(place)} {message}.", errors=[_error(place, message)])

    def vector(self, vector: Sequence[float], *where: str | int) -> None:
        """Check that a vector at a location of the request has a direction in single precision."""
        if flaw := flaw_of_one(vector):
            raise Problem("vector-mismatch", f"{_dotted(where)} {flaw}.", errors=[_error(where, flaw)])

    def code(self, code: str, *where: str | int) -> None:
        """Check the digits and the width of a code at a location of the request."""
        digits = self.bits // 4
        try:
            bytes.fromhex(code)
            plain = code.isalnum()
        except ValueError:
            plain = False
        if not plain:
            message = f"must be hexadecimal digits, {digits} of them"
            raise Problem("invalid-field", f"{_dotted(where)} {message}.", errors=[_error(where, message)])
        if len(code) != digits:
            raise Problem(
                "wrong-code-width",
                f"{_dotted(where)} has {4 * len(code)} bits, codes of this index have {self.bits} ({digits} digits).",
                errors=[_error(where, f"must have {digits} digits", expected=digits)],
            )

    def page(self, request: ScrollRequest) -> None:
        """Check the size of a page of documents."""
        if request.limit > self.limits.max_limit:
            self._too_large(("body", "limit"), request.limit, self.limits.max_limit)

    def search(self, request: SearchRequest) -> SearchRequest:
        """Check a search request, and return it with its mode."""
        request = self._coordinator.resolved(request)
        self.batch(len(request.queries), "queries")
        if request.limit > self.limits.max_limit:
            self._too_large(("body", "limit"), request.limit, self.limits.max_limit)
        if request.limit + request.offset > self.window:
            self._too_large(("body", "offset"), request.offset, self.window - request.limit)
        if request.rescored or "oversample" in request.rescore.model_fields_set:
            request = self._within_oversample(request)
        if request.mode == "hybrid":
            request = self._within_depth(request)
        queries, most = len(request.queries), self.limits.max_hits
        if queries * request.window > most:
            raise Problem(
                "limit-too-large",
                f"{queries} queries of {request.window} hits each (limit + offset or fusion.depth, times "
                f"rescore.oversample) are "
                f"{queries * request.window}, this server finds at most {most} in one request.",
                errors=[_error(("body", "limit"), f"all queries together must stay within {most}", max=most)],
            )
        if request.radius is not None and request.radius > self.bits:
            where = ("body", "radius")
            raise Problem(
                "radius-too-large",
                f"radius={request.radius}, codes of this index have {self.bits} bits.",
                errors=[_error(where, f"must be <= {self.bits}", max=self.bits)],
            )
        for position, query in enumerate(request.queries):
            if query.text is not None:
                self.text(query.text, "body", "queries", position, "text")
            elif query.vector is not None:
                self.vector(query.vector, "body", "queries", position, "vector")
            if query.text is None and request.mode == "keyword":
                self._no_text("body", "queries", position)
            elif query.code is not None:
                self.code(query.code, "body", "queries", position, "code")
                if request.rescore.kind == "float":
                    self._no_vector("body", "queries", position, "code")
        return request

    def _within_oversample(self, request: SearchRequest) -> SearchRequest:
        """Check the oversample; without one of its own a rescored search takes what the limits leave to each query."""
        given, listed = request.rescore.oversample, request.depth if request.mode == "hybrid" else request.limit
        most = self.limits.max_oversample
        if request.rescored:
            most = min(most, max(1, self.window // listed))
        if "oversample" in request.rescore.model_fields_set:
            if given > most:
                self._too_large(("body", "rescore", "oversample"), given, most)
            return request
        share = max(1, min(most, self.limits.max_hits // (len(request.queries) * listed)))
        return request.having(rescore=request.rescore.having(oversample=min(given, share)))

    def _within_depth(self, request: SearchRequest) -> SearchRequest:
        """Check the depth of a hybrid search; without one of its own it takes what the limits leave to each query."""
        if request.fusion.depth <= self.window and "depth" in request.fusion.model_fields_set:
            return request
        if "depth" in request.fusion.model_fields_set:
            self._too_large(("body", "fusion", "depth"), request.fusion.depth, self.window)
        most = min(self.window, self.limits.max_hits // (len(request.queries) * request.oversample))
        return request.having(fusion=request.fusion.having(depth=max(1, min(request.fusion.depth, most))))

    def _no_text(self, *where: str | int) -> None:
        message = "must be a text: a search by keyword needs words"
        raise Problem("no-text", f"{_dotted(where)} {message}.", errors=[_error(where, message)])

    def _no_vector(self, *where: str | int) -> None:
        message = "has no vector to rescore by: give a text or an id, or another rescore.kind"
        raise Problem("no-vectors", f"{_dotted(where)} {message}.", errors=[_error(where, message)])

    def _too_large(self, where: tuple[str, ...], value: int, most: int) -> None:
        raise Problem(
            "limit-too-large",
            f"{_dotted(where)}={value}, this server allows at most {most}.",
            errors=[_error(where, f"must be <= {most}", max=most)],
        )


def _dotted(where: tuple[str | int, ...]) -> str:
    return ".".join(str(part) for part in where[1:])


def _error(where: tuple[str | int, ...], message: str, **more: Any) -> dict[str, Any]:
    return {"loc": list(where), "msg": message, **more}
