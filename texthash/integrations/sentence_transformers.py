"""Learned codes for sentence-transformers: a quantisation of any embeddings, and a loss for its trainer.

``pip install "texthash[sentencetransformers]"`` brings what the trainer needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from texthash.errors import UsageError
from texthash.models.hasher import Hasher
from texthash.nn.balance import bit_balance, decorrelation
from texthash.nn.estimators import straight_through_sign

_PRECISIONS = ("ubinary", "binary")
_OFFSET = 128  # sentence-transformers writes a byte b of "binary" as the signed b - 128


def quantize_embeddings(
    embeddings: Any,
    model: Hasher,
    precision: Literal["ubinary", "binary"] = "ubinary",
    *,
    bits: int | None = None,
    role: Literal["document", "query"] = "document",
) -> NDArray[np.uint8] | NDArray[np.int8]:
    """Quantize embeddings into the codes of a trained model, in the form of sentence-transformers' own function.

    Args:
        embeddings: Embeddings of the kind that the model learned from: an array or tensor [N, D], or a list of N.
        model: Model that learned from vectors: ``texthash.train("itq", vectors=embeddings, bits=256)``.
        precision: ``ubinary``: packed bits, uint8; ``binary``: the same minus 128, int8.
        bits: First bits of the codes to keep, of a method with nested codes; None for all.
        role: Role of the texts, for models with two encoders.

    Returns:
        Codes [N, bits / 8], most significant bit first, as ``faiss.IndexBinaryFlat`` and ``semantic_search_faiss`` read
        them with these precisions.

    Raises:
        UsageError: There is no such precision, the model does not read such embeddings, or its codes are not nested.
    """
    if precision not in _PRECISIONS:
        raise UsageError(f"precision={precision!r} is no precision of codes.", f"use {' or '.join(_PRECISIONS)}.")
    codes = (model if bits is None else model.cut(bits)).encode_vectors(_matrix(embeddings), role)
    return codes if precision == "ubinary" else (codes.astype(np.int16) - _OFFSET).astype(np.int8)


class BinaryCodesLoss(nn.Module):
    """Train a model whose signs are good codes: in-batch negatives ranked by Hamming similarity.

    With embeddings e of mean square 1, codes b = sign(e) in {-1, 1}^m through which gradients pass straight,
    and the cosine of their first w bits s_w(q, d) = b_q[:w] . b_d[:w] / w = 1 - 2 distance / w,

        loss = mean over w of  -log softmax_d (scale s_w(q, d))[positive of q]
               + balance ||mean b||^2 / m + decorrelation ||b^T b / B - I||_F^2 / m^2.

    The ranking loss is that of ``MultipleNegativesRankingLoss`` (Henderson et al., 2017) with codes in place of
    embeddings, widths nested as in Matryoshka embeddings (Kusupati et al., 2022), and the two penalties those of
    spectral hashing (Weiss et al., 2008). After it ``model.encode(texts, precision="ubinary")`` returns the codes; a
    layer ``Dense`` at the end of the model sets their number.

    =======================================  ======
    Texts                                    Labels
    =======================================  ======
    (anchor, positive) pairs                 none
    (anchor, positive, negative, ...) rows   none
    =======================================  ======

    Args:
        model: Model to train.
        widths: Widths w of nested codes; None for all bits alone.
        scale: Inverse temperature of the softmax.
        balance: Weight of the penalty of unbalanced bits.
        decorrelation: Weight of the penalty of correlated bits.

    Raises:
        UsageError: A weight is negative, the scale is not positive, or a width is not one of the model.
    """

    def __init__(
        self,
        model: Any,
        widths: Sequence[int] | None = None,
        *,
        scale: float = 20.0,
        balance: float = 0.1,
        decorrelation: float = 0.1,
    ) -> None:
        super().__init__()
        bits = model.get_embedding_dimension()
        self.model = model
        self.widths = [bits] if widths is None else list(widths)
        self.scale, self.balance, self.decorrelation = scale, balance, decorrelation
        wrong = [width for width in self.widths if not 0 < width <= bits]
        if wrong or not self.widths:
            raise UsageError(f"widths={self.widths} are not of a model of {bits} bits.", f"give some from 8 to {bits}.")
        if scale <= 0 or balance < 0 or decorrelation < 0:
            raise UsageError(
                f"scale={scale}, balance={balance}, decorrelation={decorrelation}.",
                "give a positive scale, and weights of 0 or more.",
            )

    def forward(self, sentence_features: Iterable[dict[str, Tensor]], labels: Tensor | None = None) -> Tensor:
        """Return the loss of a batch.

        Args:
            sentence_features: Tokens of the columns: anchors, positives and any negatives, B of each.
            labels: Not used.

        Returns:
            A scalar.
        """
        codes = [codes_of(self.model(features)["sentence_embedding"]) for features in sentence_features]
        return self.of_codes(codes[0], torch.cat(codes[1:]))

    def of_codes(self, queries: Tensor, documents: Tensor) -> Tensor:
        """Return the loss of codes.

        Args:
            queries: Codes of B anchors, in {-1, 1}, [B, m].
            documents: Codes of their positives, then of any negatives, [N, m].

        Returns:
            A scalar.
        """
        targets = torch.arange(len(queries), device=queries.device)
        ranking = torch.stack(
            [
                nn.functional.cross_entropy(self.scale * queries[:, :w] @ documents[:, :w].T / w, targets)
                for w in self.widths
            ]
        ).mean()
        everything = torch.cat([queries, documents])
        bits = queries.shape[1]
        uneven = self.balance * bit_balance(everything) / bits
        return ranking + uneven + self.decorrelation * decorrelation(everything) / bits**2

    def get_config_dict(self) -> dict[str, Any]:
        """Return the arguments, which sentence-transformers writes into the model card."""
        return {
            "widths": self.widths,
            "scale": self.scale,
            "balance": self.balance,
            "decorrelation": self.decorrelation,
        }


def codes_of(embeddings: Tensor) -> Tensor:
    """Return the signs of embeddings [B, m], in {-1, 1}, with the gradient of embeddings of mean square 1."""
    scale = embeddings.shape[1] ** 0.5
    return straight_through_sign(scale * nn.functional.normalize(embeddings, dim=1))


def _matrix(embeddings: Any) -> NDArray[np.floating]:
    if isinstance(embeddings, Tensor):
        return embeddings.detach().float().cpu().numpy()
    if isinstance(embeddings, (list, tuple)) and embeddings and isinstance(embeddings[0], Tensor):
        return torch.stack(list(embeddings)).detach().float().cpu().numpy()
    return np.asarray(embeddings)
