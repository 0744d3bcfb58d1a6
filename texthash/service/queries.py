"""Queries in progress: their groups for the shards, and their results."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from texthash.api import requests
from texthash.api.attributes import write_attributes
from texthash.api.requests import SearchRequest
from texthash.index.filters.language import Where
from texthash.index.fusion import Fusion
from texthash.index.matches import Matches
from texthash.index.memory.hits import Hits, merge
from texthash.index.ranked import Ranked, hybrid_page
from texthash.index.rescoring import Rescoring, merge_rescored, signs_of
from texthash.service.replicas.shard_calls import KeywordResult, QueryGroup

if TYPE_CHECKING:
    from texthash.index.memory.cost_model import Plan  # and with it the compiled kernels


class Key(NamedTuple):
    """Options that the queries of one group share."""

    window: int
    radius: int | None
    where: Where | None
    plan: Plan
    fields: tuple[str, ...]
    rescoring: Rescoring | None
    hybrid: bool


@dataclass
class PendingQuery:
    """Query in progress.

    Attributes:
        request: Request that contains the query.
        where: Condition that its filter stands for; None without one.
        code: Packed code; None until it is known, and if the query cannot be searched for.
        values: Values for rescoring, float32: activations minus thresholds [bits], or the vector [width]; None if only
            the code is known.
        known: True if a word of the text is in the vocabulary.
        searched: True if the query is searched for by its code.
        terms: Words of the query for a search by keyword, with their numbers of occurrences; None for none.
        semantic: Its list by meaning.
        keyword: Its list by words.
        hits: Hits in the form of the response.
        total: Number of documents within the radius.
        plan: Search strategy that answered it.
        candidates: Number of codes compared with the query.
        filtering: Seconds in which the slowest shard has selected the documents of its filter.
        facets: Facets in the form of the response; None without any.
    """

    request: SearchRequest
    where: Where | None = None
    code: bytes | None = None
    values: NDArray[np.float32] | None = None
    known: bool = True
    searched: bool = True
    terms: dict[str, int] | None = None
    semantic: Ranked = field(default_factory=Ranked.nothing)
    keyword: Ranked = field(default_factory=Ranked.nothing)
    hits: list[dict[str, Any]] = field(default_factory=list)
    total: int | None = None
    plan: str | None = None
    candidates: int = 0
    filtering: float = 0.0
    facets: dict[str, Any] | None = None

    @property
    def matches(self) -> Matches:
        """Documents that its facets count."""
        request = self.request
        if request.mode == "keyword":
            return Matches(self.where, tuple(self.terms or ()))
        if request.radius is None or request.mode != "semantic":
            return Matches(self.where)
        if not self.searched or self.code is None:  # no known word: nothing is within any radius
            return Matches(self.where, ())
        return Matches(self.where, code=self.code, radius=request.radius)

    @property
    def fields(self) -> tuple[str, ...]:
        """Document fields to read."""
        return tuple(dict.fromkeys((*self.request.fields, *(("code",) if self.request.include_code else ()))))

    @property
    def key(self) -> Key:
        """Key of the group in which the query is searched."""
        request = self.request
        rescoring = None if request.rescore.kind == "none" else request.rescore.kind
        hybrid = request.mode == "hybrid"
        return Key(request.window, request.radius, self.where, request.params.plan, self.fields, rescoring, hybrid)

    @property
    def page(self) -> tuple[int, int]:
        """Limit and offset of its list by meaning, which a hybrid search pages through only after the fusion."""
        return (self.request.depth, 0) if self.request.mode == "hybrid" else (self.request.limit, self.request.offset)

    def take(self, parts: Sequence[Hits], scores: Sequence[list[NDArray[np.float64]]] | None) -> None:
        """Set the list by meaning from the hits of all shards."""
        limit, offset = self.page
        if scores is None:
            hits, owners = merge(parts, limit, offset)
            rescored = None
        else:
            merged = merge_rescored(parts, scores, limit, offset, self.request.rescore.oversample)
            hits, owners, rescored = merged.hits, merged.shards, merged.scores[0].tolist()
        self.plan, self.candidates = hits.plans[0], int(hits.candidates[0])
        self.semantic = Ranked(hits.numbers[0], owners[0], hits.distances[0].tolist(), rescored)

    def take_words(self, parts: Sequence[KeywordResult]) -> None:
        """Set the list by words from the hits of all shards."""
        self.filtering = max(self.filtering, *(part.filtering for part in parts))
        hits, distances = [part.hits for part in parts], [part.distances for part in parts]
        self.keyword = Ranked.by_words(hits, distances, self.request.depth)

    def ranked(self, fusion: Fusion) -> tuple[Ranked, list[dict[str, Any]]]:
        """Return the hits of the page, and the members of each besides its document.

        Args:
            fusion: How a hybrid search fuses its lists where its request does not say so.
        """
        request = self.request
        if request.mode == "hybrid":
            fusion, bits = _of_request(request.fusion, fusion), 8 * len(self.code or b"")
            return hybrid_page(self.semantic, self.keyword, fusion, request.limit, request.offset, bits=bits)
        page = self.keyword.page(request.limit, request.offset) if request.mode == "keyword" else self.semantic
        return page, page.members()

    def answer(self, documents: Iterable[dict[str, Any]], members: Iterable[dict[str, Any]]) -> None:
        """Set the hits from their documents and their other members, in order."""
        self.hits = [hit(document, own) for document, own in zip(documents, members, strict=True)]


def _of_request(asked: requests.Fusion, own: Fusion) -> Fusion:
    """Return how a request fuses its lists; what it does not say is as in the release, ``own``."""
    kind = asked.kind or ("ranks" if "constant" in asked.model_fields_set else own.kind)
    return Fusion(own.weight if asked.weight is None else asked.weight, kind, asked.constant)


def group(key: Key, queries: Sequence[PendingQuery], width: int, inline: int) -> QueryGroup:
    """Return the group of queries of one key, as each shard receives it.

    Args:
        key: Key of all queries.
        queries: Queries whose codes are known.
        width: Bytes of a code.
        inline: Maximum number of hits with which the shards send the documents at once.
    """
    codes = np.frombuffer(b"".join(query.code or b"" for query in queries), np.uint8).reshape(-1, width)
    values = None
    if key.rescoring is not None:
        signs = zip(queries, signs_of(codes), strict=True)
        values = np.stack([sign if query.values is None else query.values for query, sign in signs])
    # The documents of a hybrid search are known only after the fusion.
    fields = key.fields if key.window <= inline and not key.hybrid else None
    return QueryGroup(codes, key.window, key.radius, key.where, key.plan, fields, key.rescoring, values)


def hit(document: dict[str, Any], members: dict[str, Any]) -> dict[str, Any]:
    """Return a hit of the response from the document of a shard and the other members of the hit."""
    fields = dict(document)  # A document can be a hit of several queries.
    row: dict[str, Any] = {"id": fields.pop("id"), **members}
    code = fields.pop("code", None)
    if code is not None:
        row["code"] = code.hex()
    if "attributes" in fields:
        fields["attributes"] = write_attributes(fields["attributes"])
    row["document"] = fields
    return row


def result(query: PendingQuery) -> dict[str, Any]:
    """Return the response to one query."""
    facets = {} if query.facets is None else {"facets": query.facets}
    return {
        "code": (query.code or b"").hex(),
        "known_words": query.known,
        "hits": query.hits,
        "plan": query.plan,
        "candidates": query.candidates,
        "total_within_radius": query.total if query.searched else (0 if query.request.radius is not None else None),
        **facets,
    }
