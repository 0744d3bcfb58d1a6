"""Weights in keyword search: of a document's title, the first words of its text and the rest, and of its length.

The words of a document are stored as those of its title, an empty word, and those of its text, so that each part can
have its weight when they are read: an occurrence counts that many times, in the length of the document too (BM25F in
the form of Robertson, Zaragoza & Taylor, "Simple BM25 Extension to Multiple Weighted Fields", 2004).

Where titles are names or paths, a short one names the more general thing: ``os.listdir`` is asked for more often than
``distutils.filelist.FileList``. ``brevity`` a multiplies the score of a document by |title|^-a, with the number of
words of its title, those that identifiers are cut into included; a title without words counts as one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

if TYPE_CHECKING:
    from texthash.config.index import IndexConfig

SEPARATOR = ""
LEAD_WORDS = 15
"""Number of first words of a text, those that identifiers are cut into included."""


@dataclass(frozen=True)
class WordWeights:
    """Settings of the score of a document: weights of its parts, brevity, and the constants of BM25.

    A word of the title or of the lead counts so many times, the rest of the text once.

    The default was chosen by known items of a random sample of all documents of pydoc, 400 first sentences that should
    find the rest of their documents: MRR@10 .398, .404, .406 for a weight of the title of 3, 5, 8. Titles that should
    find their documents without them prefer a low one: .298, .287, .283. A lead of 5 raises these from .287 to .378,
    and lowers those of first sentences, which are the lead that is missing then, from .404 to .358.

    Attributes:
        title: Weight of the title.
        lead: Weight of the first words of the text.
        brevity: Power a of the number of words of the title, by which a score is divided; 0: titles of any length.
        k1: Constant of BM25, the more the later a word that is repeated stops to count more.
        b: Share of the length of a document in the weight of its words, 0 to 1.
    """

    title: int = 5
    lead: int = 1
    brevity: float = 0.0
    k1: float = 1.2
    b: float = 0.75

    @classmethod
    def of_config(cls, index: IndexConfig) -> WordWeights:
        """Return the settings of an index by its configuration."""
        return cls(index.title_weight, index.lead_weight, index.title_brevity, index.bm25_k1, index.bm25_b)

    def boosts(self, titles: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the factor of the score of each document by the number of words of its title, float32 [N]."""
        return (np.maximum(titles, 1) ** -float(self.brevity)).astype(np.float32)


@dataclass(frozen=True)
class WeightedWords:
    """Words of N documents, T in all.

    Attributes:
        terms: Words, [T].
        rows: Document of each, from 0, int64 [T].
        occurrences: Number of times that each counts, int32 [T].
        lengths: Sum of these of each document, int64 [N].
        boosts: Factor of the score of each document, float32 [N].
    """

    terms: pa.Array
    rows: NDArray[np.int64]
    occurrences: NDArray[np.int32]
    lengths: NDArray[np.int64]
    boosts: NDArray[np.float32]

    @classmethod
    def of(cls, words: pa.ListArray, weights: WordWeights | None) -> WeightedWords:
        """Return the words of a column, each with its weight; None: each counts once, as indexes before 7 have them."""
        sizes = words.value_lengths().fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
        rows, flat = np.repeat(np.arange(len(words)), sizes), words.flatten()
        if weights is None:
            return cls(flat, rows, np.ones(len(flat), np.int32), sizes, np.ones(len(words), np.float32))
        ends = np.flatnonzero(pc.equal(flat, SEPARATOR).to_numpy(zero_copy_only=False))
        separators = np.zeros(len(words), np.int64)
        separators[rows[ends]] = ends
        place = np.arange(len(flat)) - separators[rows]  # below 0 in the title, from 1 in the text
        own = np.where(place < 0, weights.title, np.where(place <= LEAD_WORDS, weights.lead, 1)).astype(np.int32)
        boosts = weights.boosts(np.bincount(rows[place < 0], minlength=len(words)))
        kept = place != 0
        rows, own = rows[kept], own[kept]
        lengths = np.bincount(rows, own, minlength=len(words)).astype(np.int64)
        return cls(flat.filter(pa.array(kept)), rows, own, lengths, boosts)
