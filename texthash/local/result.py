"""Result of a search in this process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from texthash.api.attributes import Value
    from texthash.index.ranked import Ranked
    from texthash.index.search import SearchedShard
    from texthash.models.text_reranker import TextReranker


@dataclass(frozen=True, repr=False)
class SearchResult:
    """Documents found for one query, the best first; equal ones in the order in which they were added.

    Attributes:
        ids: Id of each document.
        distances: Hamming distance of each document from the query, int64; -1 if one of them has no code.
        texts: Text of each document.
        labels: Labels of each document.
        scores: BM25 score of each document in a search by words, fused score in a hybrid search, score of the
            rescoring or of the re-ranker where there is one, float64; None in a search by distance alone.
        attributes: Attributes of each document.
        titles: Title of each document, empty where it has none.
    """

    ids: list[str]
    distances: NDArray[np.int64]
    texts: list[str]
    labels: list[list[str]]
    scores: NDArray[np.float64] | None = None
    attributes: list[dict[str, Value]] = field(default_factory=list)
    titles: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, shards: Sequence[SearchedShard], page: Ranked) -> SearchResult:
        """Fetch the documents of ranked hits from their shards."""
        from texthash.index.ranked import documents_of

        rows = documents_of(shards, page, ["title", "text", "labels", "attributes"])
        return cls(
            [row["id"] for row in rows],
            np.asarray([-1 if distance is None else distance for distance in page.distances], np.int64),
            [row["text"] or "" for row in rows],
            [row["labels"] or [] for row in rows],
            None if page.scores is None else np.asarray(page.scores, np.float64),
            [row["attributes"] for row in rows],
            [row["title"] or "" for row in rows],
        )

    def __len__(self) -> int:
        return len(self.ids)

    def reranked(self, query: str, reranker: TextReranker, k: int) -> SearchResult:
        """Return the first k documents in the order of a re-ranker, with its scores: NaN for one without a text."""
        from texthash.index.rescoring import reranked

        order, scores = reranked(reranker.scores, query, self.texts)
        order = order[:k]
        places = order.tolist()
        return SearchResult(
            [self.ids[place] for place in places],
            self.distances[order],
            [self.texts[place] for place in places],
            [self.labels[place] for place in places],
            scores[order].astype(np.float64),
            [self.attributes[place] for place in places],
            [self.titles[place] for place in places],
        )

    def rows(self) -> list[dict[str, Any]]:
        """Return a mapping for each document, as a table takes it: ``pandas.DataFrame(result.rows())``.

        Its names are ``id``, ``distance``, ``score`` (None in a search by distance alone), ``title``, ``text``,
        ``labels`` and ``attributes``.
        """
        scores = [None] * len(self) if self.scores is None else self.scores.tolist()
        columns = (self.ids, self.distances.tolist(), scores, self.titles, self.texts, self.labels, self.attributes)
        names = ("id", "distance", "score", "title", "text", "labels", "attributes")
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]

    def __repr__(self) -> str:
        if not self.ids:
            return "(no documents)"
        if self.scores is None:
            shown = [f"{distance:4d}" for distance in self.distances.tolist()]
        else:
            shown = [f"{score:7.4f}" for score in self.scores.tolist()]
        rows = zip(shown, self.ids, self.texts, strict=True)
        return "\n".join(f"{value}  {id_}  {' '.join(text.split())[:80]}" for value, id_, text in rows)
