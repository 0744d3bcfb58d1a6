"""Ranked lists of documents over all shards, and the members of their hits in an answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from texthash.index.fusion import Fusion, Side, fuse
from texthash.index.keywords.postings import KeywordHits
from texthash.index.searched import SearchedShard


@dataclass(frozen=True)
class Ranked:
    """A list of documents for one query, the best first.

    Attributes:
        numbers: Document numbers, int64.
        owners: Shard of each, int64.
        distances: Distance of each in bits; None where query or document has no code.
        scores: Score of each; None for a list by distance.
    """

    numbers: NDArray[np.int64]
    owners: NDArray[np.int64]
    distances: list[int | None]
    scores: list[float] | None = None

    @classmethod
    def nothing(cls) -> Ranked:
        """Return an empty list."""
        return cls(np.empty(0, np.int64), np.empty(0, np.int64), [])

    @classmethod
    def by_words(
        cls, parts: Sequence[KeywordHits], distances: Sequence[NDArray[np.int64]], limit: int, offset: int = 0
    ) -> Ranked:
        """Merge the keyword hits of all shards.

        Args:
            parts: Hits of each shard.
            distances: Distance of the code of each to the query's, int64; -1 where one of them has none.
            limit: Largest number of hits.
            offset: Number of hits to skip.
        """
        hits, places = KeywordHits.best(parts, offset + limit)
        owners = np.repeat(np.arange(len(parts)), [len(part.numbers) for part in parts])[places]
        known = np.concatenate(distances)[places]
        page = slice(offset, None)
        shown = [None if distance < 0 else distance for distance in known[page].tolist()]
        return cls(hits.numbers[page], owners[page], shown, hits.scores[page].tolist())

    def page(self, limit: int, offset: int) -> Ranked:
        """Return a page of the list."""
        rows = slice(offset, offset + limit)
        scores = None if self.scores is None else self.scores[rows]
        return Ranked(self.numbers[rows], self.owners[rows], self.distances[rows], scores)

    def members(self) -> list[dict[str, Any]]:
        """Return the members of each hit besides its document: ``distance``, and ``score`` if there are scores."""
        rows: list[dict[str, Any]] = [{"distance": distance} for distance in self.distances]
        for row, score in zip(rows, self.scores or (), strict=self.scores is not None):
            row["score"] = score
        return rows

    def side(self, bits: int) -> Side:
        """Return the list for a fusion; without scores by half of the bits less the distance."""
        if self.scores is not None:
            return Side(self.numbers, np.asarray(self.scores, np.float64))
        return Side(self.numbers, bits / 2 - np.asarray(self.distances, np.float64))

    def _place(self, at: int) -> dict[str, Any] | None:
        """Return ``rank`` and ``score`` of the hit at a position; None for -1."""
        if at < 0:
            return None
        return {"rank": at + 1, **({} if self.scores is None else {"score": self.scores[at]})}


def hybrid_page(
    semantic: Ranked, keyword: Ranked, fusion: Fusion, limit: int, offset: int, *, bits: int
) -> tuple[Ranked, list[dict[str, Any]]]:
    """Return a page of the fused list, as :func:`texthash.index.fusion.fuse` makes it, and the members of each hit.

    ``bits`` is the width of the codes.
    """
    fused = fuse(semantic.side(bits), keyword.side(bits), fusion, limit, offset)
    owners: list[int] = []
    members: list[dict[str, Any]] = []
    places = zip(fused.scores.tolist(), fused.semantic.tolist(), fused.keyword.tolist(), strict=True)
    for score, near, word in places:
        source, at = (semantic, near) if near >= 0 else (keyword, word)
        owners.append(int(source.owners[at]))
        found_by = {"semantic": semantic._place(near), "keyword": keyword._place(word)}
        members.append({"distance": source.distances[at], "score": score, **found_by})
    distances = [row["distance"] for row in members]
    return Ranked(fused.numbers, np.asarray(owners, np.int64), distances, fused.scores.tolist()), members


def documents_of(shards: Sequence[SearchedShard], page: Ranked, fields: Iterable[str]) -> list[dict[str, Any]]:
    """Return the documents of a list, in its order; each shard is read once."""
    rows: list[dict[str, Any]] = [{}] * len(page.numbers)
    names = list(fields)
    for shard in np.unique(page.owners).tolist():
        places = np.flatnonzero(page.owners == shard)
        found = shards[shard].documents(page.numbers[places], names)
        for place, row in zip(places.tolist(), found, strict=True):
            rows[place] = row
    return rows
