"""Inputs of a method: a record that the method defines once, and from which batches are built."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, replace

from texthash.config import Weighting
from texthash.errors import CorpusError, UsageError

NEEDS = ("tokens", "dense", "token_vectors", "neighbours", "labels", "pairs")
VECTORS = frozenset({"dense", "token_vectors"})  # made of corpus.features
# The only inputs on which a code may depend beside the bag of words. Labels, neighbours and pairs are for training: new
# text has none of them, and encoding a query with its label or its answer would leak the relevance that is measured.
OF_TEXT = VECTORS | {"tokens"}


@dataclass(frozen=True)
class Inputs:
    """Content of a batch for each document.

    Attributes:
        weighting: Weighting of words.
        needs: Inputs beside the bag of words: any of ``tokens``, ``dense``, ``token_vectors``, ``neighbours``,
            ``labels``, ``pairs``.
        neighbours: Number of neighbours, if they are needed.
        graph: Similarity of neighbours, such as ``cosine:bm25``, ``dense:minilm`` or ``hamming:sth-64``; see
            :meth:`texthash.corpora.prepared.corpus.Split.neighbours`.
        max_length: Number of words, and of word pieces, after which ``tokens`` and ``token_vectors`` are truncated.
        encoder: Source of the ``dense`` and ``token_vectors``; None if the corpus has none.
    """

    weighting: Weighting = "tfidf"
    needs: Set[str] = frozenset()
    neighbours: int = 20
    graph: str = "cosine:bm25"
    max_length: int = 512
    encoder: str | None = None

    def only(self, needs: Set[str]) -> Inputs:
        """Return the inputs restricted to these needs."""
        return replace(self, needs=self.needs & needs)

    def also(self, needs: Set[str]) -> Inputs:
        """Return the inputs with additional needs."""
        return replace(self, needs=self.needs | needs)

    def check(self, known: Set[str]) -> None:
        """Check that a batch can provide these inputs.

        Args:
            known: Needs that the source of the documents can provide.

        Raises:
            UsageError: A need is not among these.
            CorpusError: Dense vectors are needed, but no encoder is chosen.
        """
        if unknown := sorted(self.needs - known):
            names = ", ".join(need for need in NEEDS if need in known)
            raise UsageError(f"a batch cannot provide {', '.join(unknown)}.", f"needs may name: {names}.")
        if self.needs & VECTORS and self.encoder is None:
            raise CorpusError(
                "the method needs dense vectors of the documents, and their source is not chosen.",
                "set corpus.features, such as minilm or column:NAME; or choose a method that learns from words.",
            )


BAG_OF_WORDS = Inputs()
