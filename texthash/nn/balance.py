"""Code balance: every bit on half of the time, no two bits alike, so that 2^m buckets are used evenly.

Codes are in [-1, 1]^m, relaxed or straight-through. Both losses may be weighted by a memory of the signs of more
documents than a batch holds: one entry per document, 0 if it has not been seen yet. A loss over several workers
passes gathered codes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def bit_balance(codes: Tensor) -> Tensor:
    """Return || (1/B) sum_b z_b ||^2: 0 where each bit is on in half of the batch (Weiss et al., 2008, as a penalty).

    Args:
        codes: z [B, m].

    Returns:
        A scalar.
    """
    return codes.mean(dim=0).square().sum()


def decorrelation(codes: Tensor) -> Tensor:
    """Return || z^T z / B - I_m ||_F^2: 0 where bits are binary and any two agree in half of the batch.

    Source: Weiss et al., 2008.

    Args:
        codes: z [B, m].

    Returns:
        A scalar.
    """
    return _correlation_error(codes).square().sum()


def memory_bit_balance(codes: Tensor, memory: Tensor) -> Tensor:
    """Return the balance loss, weighted towards the bits that are least balanced in the memory (He et al., 2023).

    (1/m) sum_j w_j | sum_b z_bj |,  w = softmax_j | sum_n E_nj |

    Args:
        codes: z [B, m].
        memory: E [N, m], entries -1, 0 and 1.

    Returns:
        A scalar.
    """
    weights = torch.softmax(memory.to(codes.dtype).sum(dim=0).abs(), dim=0)
    return (weights * codes.sum(dim=0).abs()).mean()


def memory_decorrelation(codes: Tensor, memory: Tensor) -> Tensor:
    """Return the decorrelation loss, weighted towards the pairs of bits that are most correlated in the memory.

    Source: He et al., 2023.

    || (z^T z / B - I) * W ||_F^2 / m^2,  W = softmax, along rows, of | E^T E / N - I |

    Args:
        codes: z [B, m].
        memory: E [N, m], entries -1, 0 and 1.

    Returns:
        A scalar.
    """
    weights = torch.softmax(_correlation_error(memory.to(codes.dtype)).abs(), dim=1)
    return (_correlation_error(codes) * weights).square().sum() / codes.shape[1] ** 2


def _correlation_error(codes: Tensor) -> Tensor:
    """Return z^T z / B - I [m, m]; for an empty batch, -I."""
    identity = torch.eye(codes.shape[1], device=codes.device, dtype=codes.dtype)
    return codes.T @ codes / max(1, len(codes)) - identity


class ExemplarMemory(nn.Module):
    """Memory of the signs of each training document's latest code (He et al., 2023).

    The signs of a document are valid if it was seen less than (1 - (1 - delta) (1 - alpha)) T batches ago, with T
    batches per epoch and delta = (L_max - L) / L_max the share by which the loss L has fallen: the less codes still
    change, the longer their signs stay valid.

    Args:
        documents: Number N of training documents.
        bits: Length m of the code.
        alpha: Share of an epoch for which signs stay valid at the start, 0 to 1.
    """

    signs: Tensor
    seen: Tensor
    largest: Tensor
    latest: Tensor

    def __init__(self, documents: int, bits: int, alpha: float) -> None:
        super().__init__()
        self.alpha = alpha
        self.register_buffer("signs", torch.zeros(documents, bits, dtype=torch.int8))
        self.register_buffer("seen", torch.full((documents,), -1))
        self.register_buffer("largest", torch.zeros(()))
        self.register_buffer("latest", torch.zeros(()))

    @torch.no_grad()
    def write(self, rows: Tensor, codes: Tensor, step: int) -> None:
        """Store the signs of codes [B, m] of the documents ``rows`` [B], the batch with number ``step``."""
        self.signs[rows] = codes.sign().to(self.signs.dtype)
        self.seen[rows] = step

    @torch.no_grad()
    def record_loss(self, loss: Tensor) -> None:
        """Record the loss L of a batch, a positive scalar."""
        self.latest.copy_(loss)
        self.largest.copy_(torch.maximum(self.largest, loss))

    def recent(self, step: int, period: float) -> Tensor:
        """Return the signs that are valid at batch ``step``, [n, m]; ``period`` is T."""
        fallen = (self.largest - self.latest) / (self.largest + 1e-5)
        limit = (1 - (1 - fallen) * (1 - self.alpha)) * period
        return self.signs[(self.seen >= 0) & (step - self.seen < limit)]
