"""Queries on their way through the coordinator: what is asked of the shards, and what is answered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from texthash.api.requests import SearchRequest
from texthash.index.memory.cost_model import Plan
from texthash.index.memory.flat import Hits
from texthash.index.rescoring import Rescoring, merge_rescored, signs_of
from texthash.index.shard import merge
from texthash.service.replicas.shard import QueryGroup


class Key(NamedTuple):
    """What queries that are searched in one group have in common."""

    window: int
    radius: int | None
    labels: tuple[str, ...] | None
    plan: Plan
    fields: tuple[str, ...]
    rescoring: Rescoring | None


@dataclass
class PendingQuery:
    """One query on its way.

    Attributes:
        request: Of which it is one.
        code: Packed; None while it is not known, and when nothing can be searched for.
        values: What it is rescored by: float32, the real-valued code less the thresholds of its cut [bits], or the
            vector [width]; None: only the code is known.
        known: Whether the model knows a word of its text.
        searched: Whether there is something to search for.
        hits: As they are answered.
        total: Documents within the radius.
        plan: How it was searched for.
        candidates: Codes that were met.
    """

    request: SearchRequest
    code: bytes | None = None
    values: NDArray[np.float32] | None = None
    known: bool = True
    searched: bool = True
    hits: list[dict[str, Any]] = field(default_factory=list)
    total: int | None = None
    plan: str | None = None
    candidates: int = 0

    @property
    def fields(self) -> tuple[str, ...]:
        """What to read of a document."""
        return tuple(dict.fromkeys((*self.request.fields, *(("code",) if self.request.include_code else ()))))

    @property
    def key(self) -> Key:
        """Queries with one key are searched in one group."""
        request = self.request
        labels = tuple(request.filter.labels) if request.filter else None
        rescoring = None if request.rescore.kind == "none" else request.rescore.kind
        return Key(request.window, request.radius, labels, request.params.plan, self.fields, rescoring)

    def take(
        self,
        parts: Sequence[Hits],
        scores: Sequence[list[NDArray[np.float64]]] | None,
    ) -> tuple[Hits, NDArray[np.int64], list[float] | None]:
        """Merge what each shard found for this query: its page of hits, the shard of each, and their scores."""
        request = self.request
        if scores is None:
            hits, owners = merge(parts, request.limit, request.offset)
            rescored = None
        else:
            found = merge_rescored(parts, scores, request.limit, request.offset, request.rescore.oversample)
            hits, owners, rescored = found.hits, found.shards, found.scores[0].tolist()
        self.plan, self.candidates = hits.plans[0], int(hits.candidates[0])
        return hits, owners[0], rescored

    def answer(self, documents: Iterable[dict[str, Any]], hits: Hits, scores: list[float] | None) -> None:
        """Set the hits from the documents, in their order."""
        self.hits = [
            hit(document, distance) for document, distance in zip(documents, hits.distances[0].tolist(), strict=True)
        ]
        for row, score in zip(self.hits, scores or (), strict=scores is not None):
            row["score"] = score


def group(key: Key, queries: Sequence[PendingQuery], width: int, inline: int) -> QueryGroup:
    """What to ask of each shard for queries of one key.

    Args:
        key: Of them all.
        queries: With their codes.
        width: Bytes of a code.
        inline: Hits up to which the shards send the documents along.
    """
    codes = np.frombuffer(b"".join(query.code or b"" for query in queries), np.uint8).reshape(-1, width)
    values = None
    if key.rescoring is not None:
        signs = zip(queries, signs_of(codes), strict=True)
        values = np.stack([sign if query.values is None else query.values for query, sign in signs])
    fields = key.fields if key.window <= inline else None
    return QueryGroup(codes, key.window, key.radius, key.labels, key.plan, fields, key.rescoring, values)


def hit(document: dict[str, Any], distance: int) -> dict[str, Any]:
    """A hit as it is answered, of a document as a shard gives it."""
    fields = dict(document)  # a document can be a hit of several queries
    made: dict[str, Any] = {"id": fields.pop("id"), "distance": distance}
    code = fields.pop("code", None)
    if code is not None:
        made["code"] = code.hex()
    made["document"] = fields
    return made


def result(query: PendingQuery) -> dict[str, Any]:
    """The answer to a query."""
    return {
        "code": (query.code or b"").hex(),
        "known_words": query.known,
        "hits": query.hits,
        "plan": query.plan,
        "candidates": query.candidates,
        "total_within_radius": query.total if query.searched else (0 if query.request.radius is not None else None),
    }
