"""Activations of a few short texts by numpy, without the fixed costs of torch's modules, nor of its import.

For encoders that are a bag of words followed by small dense layers. :mod:`texthash.models.direct_form` finds them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from texthash.config import Weighting
from texthash.corpora.prepared.weighting import weigh
from texthash.corpora.words import Analyzer, Vocabulary

Floats = NDArray[np.float32]
FEW = 64  # texts that are read one by one, so that the values of a text do not depend on the others
# Activations closer to their thresholds than this share of the largest one may fall to another side in torch, which
# sums in another order: rounding of single precision is a hundredth of it.
_CLOSE = 1e-5


@dataclass(frozen=True)
class LayerForm:
    """Layer x -> x W + b.

    Attributes:
        weight: Name of W among the tensors of the model.
        bias: Name of b.
        transposed: Whether the tensor is W transposed, [outputs, inputs].
        positive: Whether ReLU follows.
    """

    weight: str
    bias: str
    transposed: bool
    positive: bool


@dataclass(frozen=True)
class DirectForm:
    """Activations of a method as a chain of layers over the weighted words of a text.

    Attributes:
        weighting: Weighting of the words.
        layers: Layers in order; the first has one row of W for each word.
        thresholds: Name of the thresholds of the bits among the tensors of the model.
        shift: Name of what is added to the values of queries that are compared with bits; None: nothing.
    """

    weighting: Weighting
    layers: tuple[LayerForm, ...]
    thresholds: str
    shift: str | None = None


@dataclass(frozen=True)
class _Dense:
    weight: Floats  # [inputs, outputs]
    bias: Floats  # [outputs]
    positive: bool


class DirectEncoder:
    """Chain of the layers of a form with the tensors of a model.

    Args:
        form: Layers.
        tensor: Function that returns a tensor of the model by its name.

    Raises:
        ValueError: The tensors are not those of such a chain.
    """

    def __init__(self, form: DirectForm, tensor: Callable[[str], NDArray]) -> None:
        self._weighting = form.weighting
        self._layers = [
            _Dense(
                np.ascontiguousarray(tensor(layer.weight).T if layer.transposed else tensor(layer.weight)),
                tensor(layer.bias),
                layer.positive,
            )
            for layer in form.layers
        ]
        self.thresholds: Floats = tensor(form.thresholds)
        self.shift: Floats = np.zeros_like(self.thresholds) if form.shift is None else tensor(form.shift)
        self._check()

    def _check(self) -> None:
        width: int | None = None
        for layer in self._layers:
            arrays = layer.weight, layer.bias
            fits = layer.weight.ndim == 2 and layer.bias.shape == layer.weight.shape[1:]
            if not fits or any(array.dtype != np.float32 for array in arrays) or width not in (None, len(layer.weight)):
                raise ValueError("the layers do not follow each other")
            width = layer.weight.shape[1]
        if self.thresholds.shape != (width,) or self.thresholds.dtype != np.float32:
            raise ValueError("the thresholds are not those of the last layer")

    @property
    def shape(self) -> tuple[int, int]:
        """Number of words and of bits."""
        return len(self._layers[0].weight), len(self.thresholds)

    def read(
        self, texts: Sequence[str], analyzer: Analyzer, vocabulary: Vocabulary
    ) -> tuple[list[Floats | None], NDArray[np.bool_]]:
        """Return the activations of each text [bits], as of :meth:`activations`, and whether a word of it is known."""
        counted = [Counter(vocabulary.sequence(analyzer.tokens(text)).tolist()) for text in texts]
        starts = np.cumsum([0, *(len(words) for words in counted)])
        pairs = np.array([pair for words in counted for pair in sorted(words.items())], np.int64).reshape(-1, 2)
        ids, counts = pairs[:, 0], pairs[:, 1]
        weights = weigh(starts, ids, counts, self._weighting, vocabulary)
        found = [self.activations(ids[own], weights[own]) for own in map(slice, starts[:-1], starts[1:])]
        return found, np.diff(starts) > 0

    def activations(self, ids: NDArray[np.integer], values: Floats) -> Floats | None:
        """Return the activations of one text, [bits]; None if a bit is too close to its threshold to be decided here.

        Args:
            ids: Numbers of its distinct words.
            values: Weight of each.
        """
        first = self._layers[0]
        hidden = values @ first.weight[ids] + first.bias
        if first.positive:
            np.maximum(hidden, 0, out=hidden)
        for layer in self._layers[1:]:
            hidden = hidden @ layer.weight + layer.bias
            if layer.positive:
                np.maximum(hidden, 0, out=hidden)
        margins = np.abs(hidden - self.thresholds)
        if not margins.min() > _CLOSE * max(float(np.abs(hidden).max()), 1e-30):
            return None
        return hidden
