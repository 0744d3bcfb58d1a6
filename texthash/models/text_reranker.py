"""Re-rankers of raw texts: a finer order of the few documents that a search has found.

Either a trained method that only re-ranks, such as ``has``, by the folder of its model; or a cross-encoder of
sentence-transformers, which reads question and document together, by ``cross-encoder:`` and its folder or hub name.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray

from texthash.corpora.prepared.batches import text_batch
from texthash.errors import UsageError
from texthash.methods.reranker import Reranker
from texthash.models.encoding import device_of
from texthash.models.files import TRAINED
from texthash.models.hasher import Hasher

CROSS_ENCODER = "cross-encoder:"
"""Prefix of the name of a cross-encoder."""


class TextReranker(Protocol):
    """Model that scores texts for a question.

    Attributes:
        name: Name for people and machines.
    """

    name: str

    def scores(self, question: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the score of each text, float32 [N]; a higher one is better."""
        ...


class BitsReranker:
    """Re-ranking by a trained method that keeps bits of the words of a document.

    Args:
        hasher: Model of such a method.

    Raises:
        UsageError: The method of the model does not re-rank.
    """

    def __init__(self, hasher: Hasher) -> None:
        card = hasher.method.card
        if not isinstance(hasher.method, Reranker):
            raise UsageError(
                f"{card.name} does not re-rank: it has one code of a document.",
                "name a model of has, or cross-encoder:<folder>; hits of other methods are ordered by rescore.",
            )
        self._hasher = hasher
        self.name = f"{card.name}-{hasher.bits}"

    def scores(self, question: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the score of each text, float32 [N]; a higher one is better."""
        if not texts:
            return np.empty(0, np.float32)
        method, hasher = self._hasher.method, self._hasher
        reranker, device = cast(Reranker, method), device_of(method)
        asked, documents = (
            text_batch(part, hasher.analyzer, hasher.vocabulary, method.encoding_inputs).to(device)
            for part in ([question], list(texts))
        )
        with torch.inference_mode():
            return reranker.scores(asked, reranker.token_codes(documents))[0].cpu().numpy()


class CrossEncoder:
    """Re-ranking by a cross-encoder of sentence-transformers.

    Args:
        source: Folder of the model, or its name on the hub.

    Raises:
        UsageError: The package is missing, or the model cannot be opened.
    """

    def __init__(self, source: str) -> None:
        try:
            from sentence_transformers import CrossEncoder as Model
        except ImportError:
            raise UsageError(
                f"{CROSS_ENCODER}{source} needs sentence-transformers.", "pip install 'texthash[text]'."
            ) from None
        try:
            self._model: Any = Model(source, device="cpu")
        except (OSError, ValueError) as error:
            raise UsageError(
                f"{CROSS_ENCODER}{source} cannot be opened: {error}", "name the folder of a cross-encoder."
            ) from None
        self.name = f"{CROSS_ENCODER}{Path(source).name}"

    def scores(self, question: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the score of each text, float32 [N]; a higher one is better."""
        if not texts:
            return np.empty(0, np.float32)
        scores = self._model.predict([(question, text) for text in texts], show_progress_bar=False)
        return np.asarray(scores, np.float32).reshape(len(texts), -1)[:, -1]


def open_reranker(name: str | Path, folder: Path | None = None) -> TextReranker:
    """Open a re-ranker.

    Args:
        name: Folder of a saved model, or ``cross-encoder:`` and the folder or hub name of one.
        folder: Folder that relative names start from; None: the current one.

    Raises:
        UsageError: There is no such model, or it does not re-rank.
        TexthashError: The saved model is broken.
    """
    if not str(name).strip():
        raise UsageError("the name of the re-ranker is empty.", f"name the folder of a model, or {CROSS_ENCODER}...")
    if str(name).startswith(CROSS_ENCODER):
        return CrossEncoder(str(name).removeprefix(CROSS_ENCODER))
    path = Path(name) if folder is None else folder / name
    inner = path / TRAINED
    return BitsReranker(Hasher.load(inner if inner.is_dir() else path))


def as_reranker(given: Hasher | TextReranker | str) -> TextReranker:
    """Return a re-ranker, that of a model, or that of a name. Raises as :func:`open_reranker`."""
    if isinstance(given, Hasher):
        return BitsReranker(given)
    return open_reranker(given) if isinstance(given, (str, Path)) else given
