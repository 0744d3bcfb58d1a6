"""Activations of a few short texts by numpy, without the fixed costs of torch's modules, nor of its import.

For encoders that are a bag of words, a vector of features or both, followed by small dense layers.
:mod:`texthash.models.direct_form` finds them.
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
_TINY = float(np.finfo(np.float32).tiny)


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
class FeatureForm:
    """Vector f of a text as a further input of the first layer: x W + share^(1/2) (f / |f|) F + b.

    Attributes:
        encoder: Source of the vectors.
        weight: Name of F [D, outputs] among the tensors of the model.
        share: Share of the vector; the words x are scaled to the length (1 - share)^(1/2). At 1 words are not read.
    """

    encoder: str
    weight: str
    share: float


@dataclass(frozen=True)
class DirectForm:
    """Activations of a method as a chain of layers over the weighted words, and the vector, of a text.

    Attributes:
        weighting: Weighting of the words.
        layers: Layers in order; the first has one row of W for each word.
        thresholds: Name of the thresholds of the bits among the tensors of the model.
        shift: Name of what is added to the values of queries that are compared with bits; None: nothing.
        features: The vector that is read; None: words alone.
    """

    weighting: Weighting
    layers: tuple[LayerForm, ...]
    thresholds: str
    shift: str | None = None
    features: FeatureForm | None = None


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
        self._features = form.features
        # In double precision, as the layer of the method sums.
        self._projection = None if form.features is None else tensor(form.features.weight).astype(np.float64)
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
        if self._projection is not None and self._projection.shape[1:] != self._layers[0].bias.shape:
            raise ValueError("the rows of the vectors are not those of the first layer")

    def fits(self, words: int, width: int, bits: int) -> bool:
        """Return whether the tensors are those of so many words, of vectors of this width, and of bits."""
        if self._features is not None and self._features.share == 1:
            words = 0
        own = len(self._layers[0].weight), 0 if self._projection is None else len(self._projection)
        return own == (words, 0 if self._projection is None else width) and len(self.thresholds) == bits

    def read(
        self, texts: Sequence[str], analyzer: Analyzer, vocabulary: Vocabulary
    ) -> tuple[list[Floats | None], NDArray[np.bool_]]:
        """Return the activations of each text [bits], as of :meth:`activations`, and whether it can be found.

        It can if a word of it is known, or if a vector is read and the text is not blank.

        Raises:
            TexthashError: The source of the vectors cannot encode texts.
        """
        vectors = None if self._features is None else _unit_vectors(self._features.encoder, texts)
        return self._read(texts, vectors, analyzer, vocabulary)

    def warm_up(self, analyzer: Analyzer, vocabulary: Vocabulary) -> None:
        """Encode a text, since the first pass is slower; vectors that are not computed here are made up."""
        from texthash.corpora.prepared.embeddings.sources import encodes_alike

        texts = ["a text"]
        if self._features is None or encodes_alike(self._features.encoder):
            self.read(texts, analyzer, vocabulary)
        elif self._projection is not None:
            self._read(texts, np.ones((1, len(self._projection)), np.float32), analyzer, vocabulary)

    def _read(
        self, texts: Sequence[str], vectors: Floats | None, analyzer: Analyzer, vocabulary: Vocabulary
    ) -> tuple[list[Floats | None], NDArray[np.bool_]]:
        if vectors is not None and self._features is not None and self._features.share == 1:
            nothing = np.empty(0, np.int64), np.empty(0, np.float32)
            return [self.activations(*nothing, vector) for vector in vectors], _not_blank(texts)
        counted = [Counter(vocabulary.sequence(analyzer.tokens(text)).tolist()) for text in texts]
        starts = np.cumsum([0, *(len(words) for words in counted)])
        pairs = np.array([pair for words in counted for pair in sorted(words.items())], np.int64).reshape(-1, 2)
        ids, counts = pairs[:, 0], pairs[:, 1]
        weights = weigh(starts, ids, counts, self._weighting, vocabulary)
        own_words = map(slice, starts[:-1], starts[1:])
        if vectors is None:
            return [self.activations(ids[own], weights[own]) for own in own_words], np.diff(starts) > 0
        found = [
            self.activations(ids[own], weights[own], vector) for own, vector in zip(own_words, vectors, strict=True)
        ]
        return found, (np.diff(starts) > 0) | _not_blank(texts)

    def activations(self, ids: NDArray[np.integer], values: Floats, vector: Floats | None = None) -> Floats | None:
        """Return the activations of one text, [bits]; None if a bit is too close to its threshold to be decided here.

        Args:
            ids: Numbers of its distinct words.
            values: Weight of each.
            vector: Vector of the text at length 1, for a form that reads one.
        """
        first = self._layers[0]
        if vector is None or self._features is None or self._projection is None:
            hidden = values @ first.weight[ids] + first.bias
        else:
            hidden = np.float32(self._features.share**0.5) * (vector @ self._projection).astype(np.float32) + first.bias
            if len(values):
                scale = (1 - self._features.share) ** 0.5 / max(float(np.linalg.norm(values)), _TINY)
                hidden = np.float32(scale) * values @ first.weight[ids] + hidden
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


def _unit_vectors(encoder: str, texts: Sequence[str]) -> Floats:
    from texthash.corpora.prepared.embeddings.sources import open_embedder

    vectors = open_embedder(encoder).encode(texts)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, np.float32(1)), np.float32)


def _not_blank(texts: Sequence[str]) -> NDArray[np.bool_]:
    return np.array([bool(text.strip()) for text in texts], np.bool_)
