"""Re-ranking of the hits of `texthash search`, whoever found them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

import typer

from texthash.errors import UsageError

if TYPE_CHECKING:
    from texthash.models.text_reranker import TextReranker

CANDIDATES = 50
"""Number of first hits that are ordered again, or those that are shown, if these are more."""
RerankModel = Annotated[
    str | None,
    typer.Option(
        "--rerank",
        help=f"Order the first {CANDIDATES} hits again by this model: the folder of one that re-ranks, such as has, or "
        "cross-encoder: and its folder or hub name.",
    ),
]


def open_reranker_for(query: str | None, name: str) -> TextReranker:
    """Open a re-ranker for a query. Raises UsageError without a text, and as the re-ranker's own opening."""
    if query is None:
        raise UsageError("--rerank needs a text: the model reads the question.", "give one in place of --vector-file.")
    from texthash.models.text_reranker import open_reranker

    return open_reranker(name)


def hits_in_order(
    reranker: TextReranker, question: str, hits: list[dict[str, Any]], limit: int
) -> list[dict[str, Any]]:
    """Return the first ``limit`` hits by the score of a re-ranker, which each gets as ``rerank_score``."""
    from texthash.index.rescoring import reranked

    order, scores = reranked(reranker.scores, question, [hit["document"]["text"] for hit in hits])
    own = [None if math.isnan(score) else score for score in scores.tolist()]
    return [{**hits[place], "rerank_score": own[place]} for place in order[:limit].tolist()]
