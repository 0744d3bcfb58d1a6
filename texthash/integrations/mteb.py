"""Trained models as encoders of MTEB, with binary embeddings (``pip install "texthash[mteb]"``)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from mteb.models.model_meta import ModelMeta, ScoringFunction
from numpy.typing import NDArray
from torch import Tensor

from texthash.index.rescoring import signs_of
from texthash.models.hasher import Hasher


class TexthashEncoder:
    """Encoder whose embeddings are codes, as vectors of -1 and 1.

    Their similarity is s(q, d) = q . d / bits, which is 1 - 2 distance / bits for two codes. MTEB orders equal scores
    in a way of its own, and codes have many: ``texthash.evaluate`` gives the mean over all orders, and the range.

    Args:
        model: Trained model.
        name: Name in the results, in the form ``owner/name``.
        asymmetric: True represents queries by their activations minus the thresholds, divided by their mean absolute
            value, in place of bits: documents remain codes.
        embed: Function from texts to the vectors [N, D] that the model learned from; None: the model encodes texts.

    Attributes:
        mteb_model_meta: Description for MTEB's tables.
    """

    def __init__(
        self,
        model: Hasher,
        name: str | None = None,
        *,
        asymmetric: bool = False,
        embed: Callable[[Sequence[str]], Any] | None = None,
    ) -> None:
        self.model, self.asymmetric, self.embed = model, asymmetric, embed
        method = type(model.method).card.name
        kind = "asymmetric" if asymmetric else "binary"
        self.mteb_model_meta = ModelMeta.create_empty(
            {
                "name": name or f"texthash/{method}-{model.bits}-{kind}",
                "revision": model.vocabulary_hash[:12],
                "embed_dim": model.bits,
                "similarity_fn_name": ScoringFunction.DOT_PRODUCT,
                "use_instructions": False,
                "open_weights": True,
            }
        )

    def encode(self, inputs: Iterable[dict[str, Any]], *, prompt_type: Any = None, **_: Any) -> NDArray[np.float32]:
        """Return the embeddings of texts.

        Args:
            inputs: Batches with the key ``text``, a list of texts.
            prompt_type: Role of the texts, ``query`` or ``document``; None for documents.

        Returns:
            float32 [N, bits]: -1 and 1, or the scaled activations of queries.
        """
        role: Literal["query", "document"] = "query" if getattr(prompt_type, "value", None) == "query" else "document"
        rows = [np.zeros((0, self.model.bits), np.float32)]
        for batch in inputs:
            texts = list(batch["text"])
            features = None if self.embed is None else self.embed(texts)
            values = self.model.read(texts, role, features=features).values
            rows.append(self._activations(values) if self.asymmetric and role == "query" else self._signs(values))
        return np.concatenate(rows)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Tensor:
        """Return the similarity of each of the first embeddings to each of the second, [N, M]."""
        return _matrix(embeddings1) @ _matrix(embeddings2).T / self.model.bits

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Tensor:
        """Return the similarity of each of the first embeddings to the second one in its place, [N]."""
        return (_matrix(embeddings1) * _matrix(embeddings2)).sum(dim=1) / self.model.bits

    def _signs(self, values: Tensor) -> NDArray[np.float32]:
        return signs_of(self.model.binarize(values))

    def _activations(self, values: Tensor) -> NDArray[np.float32]:
        margins = self.model.query_values(values)
        return margins / np.maximum(np.abs(margins).mean(axis=1, keepdims=True), 1e-12)


def _matrix(embeddings: Any) -> Tensor:
    found = torch.from_numpy(np.ascontiguousarray(embeddings, np.float32))
    return found[None] if found.ndim == 1 else found
