"""Calibration of distances on the served index: how near the nearest document is to a text that means nothing."""

from __future__ import annotations

import asyncio

import numpy as np

from texthash.api.requests import Query, SearchRequest
from texthash.corpora.words import Analyzer
from texthash.service.coordinator import Coordinator
from texthash.service.problems import Problem

_TEXTS = 64
_WORDS = 4  # as in a short query; the median moves by about a bit from 2 words to 12
_DOCUMENTS = 256
_CONTENT_WORDS = Analyzer(lowercase=False, stop_words="english")


class ChanceDistance:
    """Median distance from texts of random words to their nearest document.

    Each word comes from another document of the index. More than half of such texts have a document nearer than this to
    them, or as near: a query whose nearest document is farther has found nothing but chance.

    The search is repeated when another index is served, another model, or twice as many documents, since the distance
    falls with the logarithm of their number only.

    Args:
        coordinator: Coordinator, which searches.
    """

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator
        self._known: tuple[object, int | None] = None, None
        self._running: asyncio.Task[None] | None = None

    async def within(self, patience_s: float) -> int | None:
        """Return the distance in bits; None while it is not known after a wait, and where no text finds a document.

        Args:
            patience_s: Longest wait in seconds; the measurement then continues in the background.
        """
        if self._known[0] != self._key:
            if self._running is None or self._running.done():
                self._running = asyncio.create_task(self._measure(self._key))
            await asyncio.wait({self._running}, timeout=patience_s)
            if self._running.done() and (error := self._running.exception()):
                if not isinstance(error, Problem):
                    raise error
                return None  # the encoder or a shard is unavailable, which health reports: the next call tries again
        return self._known[1] if self._known[0] == self._key else None

    @property
    def _key(self) -> object:
        release = self._coordinator.release
        return release.index_uri, release.model_digest, release.documents.bit_length()

    async def _measure(self, key: object) -> None:
        texts = random_texts(await self._coordinator.sample(_DOCUMENTS))
        distances: list[int] = []
        if texts:
            queries = [Query(text=text) for text in texts]
            (answer,) = await self._coordinator.search(
                [SearchRequest(queries=queries, mode="semantic", limit=1, fields=[])]
            )
            if isinstance(answer, Problem):
                raise answer
            distances = sorted(hit["distance"] for result in answer.results for hit in result["hits"])
        self._known = key, distances[len(distances) // 2] if distances else None


def random_texts(documents: list[str]) -> list[str]:
    """Return texts of random words, each from another document; the same ones for the same documents."""
    words = [own for own in map(_CONTENT_WORDS.tokens, documents) if own]
    if len(words) < _WORDS:
        return []
    rng = np.random.default_rng(0)
    chosen = [rng.choice(len(words), _WORDS, replace=False).tolist() for _ in range(_TEXTS)]
    return [" ".join(words[row][rng.integers(len(words[row]))] for row in rows) for rows in chosen]
