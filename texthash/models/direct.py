"""Activations of a few short texts by numpy, without the fixed costs of torch's modules.

For encoders that are a bag of words followed by small dense layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from texthash.corpora.prepared.inputs import OF_TEXT
from texthash.methods.base import HashMethod
from texthash.nn.encoders import MLPEncoder, SparseLinear
from texthash.nn.projections import Projection

Floats = NDArray[np.float32]
# Activations closer to their thresholds than this share of the largest one may fall to another side in torch, which
# sums in another order: rounding of single precision is a hundredth of it.
_CLOSE = 1e-5


@dataclass(frozen=True)
class _Dense:
    weight: Floats  # [inputs, outputs]
    bias: Floats  # [outputs]
    positive: bool  # whether ReLU follows


class DirectEncoder:
    """Chain of layers x -> x W + b, each but the last followed by ReLU.

    Args:
        words: Weights of the first layer, one row a word, [V, H].
        layers: First layer without its weights in ``weight``, then the others.
        thresholds: Thresholds of the bits, [bits].
    """

    def __init__(self, words: Floats, layers: Sequence[_Dense], thresholds: Floats) -> None:
        self._words = words
        self._layers = layers
        self._thresholds = thresholds

    @classmethod
    def of(cls, method: HashMethod) -> DirectEncoder | None:
        """Return the encoder of a method with its present weights; None if it has another form or is on a GPU."""
        modules = method.serving_layers()
        thresholds = method.binarizer.thresholds
        if not modules or thresholds.device.type != "cpu" or method.inputs.only(OF_TEXT).needs:
            return None
        if _owner(method, "activations") is not _owner(method, "serving_layers"):
            return None  # A subclass computes something else.
        first, *others = modules
        dense: list[tuple[nn.Module, bool]] = []
        if isinstance(first, MLPEncoder):
            dense += [(first.first, True), *((layer, True) for layer in first.rest)]
        elif isinstance(first, SparseLinear) and not (isinstance(first, Projection) and first.read != "words"):
            dense.append((first, False))
        else:
            return None
        dense += [(module, False) for module in others]
        layers = [_dense(module, positive) for module, positive in dense]
        if any(layer is None for layer in layers):
            return None
        chain = [layer for layer in layers if layer is not None]
        return cls(chain[0].weight, chain, thresholds.float().numpy())

    def activations(self, ids: NDArray[np.integer], values: Floats) -> Floats | None:
        """Return the activations of one text, [bits]; None if a bit is too close to its threshold to be decided here.

        Args:
            ids: Numbers of its distinct words.
            values: Weight of each.
        """
        first = self._layers[0]
        hidden = values @ self._words[ids] + first.bias
        if first.positive:
            np.maximum(hidden, 0, out=hidden)
        for layer in self._layers[1:]:
            hidden = hidden @ layer.weight + layer.bias
            if layer.positive:
                np.maximum(hidden, 0, out=hidden)
        margins = np.abs(hidden - self._thresholds)
        if margins.min() <= _CLOSE * max(float(np.abs(hidden).max()), 1e-30):
            return None
        return hidden


def _owner(method: HashMethod, name: str) -> type:
    return next(kind for kind in type(method).__mro__ if name in vars(kind))


def _dense(module: nn.Module, positive: bool) -> _Dense | None:
    weight: torch.Tensor
    if isinstance(module, SparseLinear):
        weight = module.weight
    elif isinstance(module, nn.Linear):
        weight = module.weight.T
    else:
        return None
    if weight.dtype != torch.float32 or module.bias is None:
        return None
    return _Dense(np.ascontiguousarray(weight.detach().numpy()), module.bias.detach().numpy(), positive)
