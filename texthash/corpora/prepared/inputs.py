"""What a method reads of each document: the record that a method makes once, and batches are made by."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, replace

from texthash.config import Weighting
from texthash.errors import CorpusError, UsageError

NEEDS = ("tokens", "dense", "neighbours", "labels", "pairs")
# All that a code may depend on beside the bag of words. Labels, neighbours and pairs teach a method and no more: new
# text comes without them, and a query that is encoded with its label or its answer is judged by what it was told.
OF_TEXT = frozenset({"tokens", "dense"})


@dataclass(frozen=True)
class Inputs:
    """What a batch holds of each document.

    Attributes:
        weighting: How much a word counts.
        needs: What there is beside the bag of words: of ``tokens``, ``dense``, ``neighbours``, ``labels``, ``pairs``.
        neighbours: How many, where they are needed.
        graph: By which similarity these are near, such as ``cosine:bm25`` or ``hamming:sth-64``; see
            :meth:`texthash.corpora.prepared.corpus.Split.neighbours`.
        max_length: Words after which ``tokens`` are cut.
        encoder: The sentence encoder whose vectors ``dense`` are; None: the corpus has none.
    """

    weighting: Weighting = "tfidf"
    needs: Set[str] = frozenset()
    neighbours: int = 20
    graph: str = "cosine:tfidf"
    max_length: int = 512
    encoder: str | None = None

    def only(self, needs: Set[str]) -> Inputs:
        """The same without any need but these."""
        return replace(self, needs=self.needs & needs)

    def also(self, needs: Set[str]) -> Inputs:
        """The same with these needs too."""
        return replace(self, needs=self.needs | needs)

    def check(self, known: Set[str]) -> None:
        """See that a batch can be made so.

        Args:
            known: The needs that can be met where the documents come from.

        Raises:
            UsageError: for a need that is not among these.
            CorpusError: for dense vectors where no encoder is chosen.
        """
        if unknown := sorted(self.needs - known):
            names = ", ".join(need for need in NEEDS if need in known)
            raise UsageError(f"a batch cannot hold {', '.join(unknown)}.", f"needs may name: {names}.")
        if "dense" in self.needs and self.encoder is None:
            raise CorpusError(
                "the method needs dense vectors of a sentence encoder, and none is chosen.",
                "set corpus.features=minilm, or choose a method that learns from words.",
            )


BAG_OF_WORDS = Inputs()
