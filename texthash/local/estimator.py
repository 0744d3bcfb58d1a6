"""Transformer of scikit-learn from texts to bits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from texthash.local.texts import as_texts
from texthash.local.train import train


class TextHasher(TransformerMixin, BaseEstimator):
    """Learn codes of texts, as a step of a scikit-learn ``Pipeline``.

    Args:
        method: Name of a hashing method.
        bits: Length of the code.
        params: Hyper-parameters of the method.
        epochs: Number of passes over the texts; None: the method's own number.
        validation: Share of the texts that is held out to select the epoch that is kept.
        packed: Return packed bytes, uint8 [N, bits / 8], in place of one column per bit.
        random_state: Random seed.

    Attributes:
        model_: Trained model.
        n_features_out_: Number of columns that ``transform`` returns.

    >>> from texthash import TextHasher
    >>> texts = ["sort an array", "sort a list of numbers", "open a file", "read a table", "plot a graph"]
    >>> TextHasher(bits=8).fit(texts).transform(["sort numbers"]).shape
    (1, 8)
    """

    def __init__(
        self,
        method: str = "nash",
        *,
        bits: int = 32,
        params: Mapping[str, Any] | None = None,
        epochs: int | None = None,
        validation: float = 0.1,
        packed: bool = False,
        random_state: int = 0,
    ) -> None:
        self.method = method
        self.bits = bits
        self.params = params
        self.epochs = epochs
        self.validation = validation
        self.packed = packed
        self.random_state = random_state

    def fit(self, X: Iterable[str], y: Iterable[Any] | None = None) -> TextHasher:
        """Train the method on texts; ``y`` are their labels, if there are any."""
        self.model_ = train(
            self.method,
            X,
            bits=self.bits,
            labels=y,
            params=self.params,
            validation=self.validation,
            epochs=self.epochs,
            seed=self.random_state,
        )
        self.n_features_out_ = self.bits // 8 if self.packed else self.bits
        return self

    def transform(self, X: Iterable[str]) -> NDArray[np.uint8]:
        """Return the codes of texts: 0 and 1, uint8 [N, bits]; with ``packed``, uint8 [N, bits / 8]."""
        check_is_fitted(self)
        codes = self.model_.encode(as_texts(X, "X"))
        return codes if self.packed else np.unpackbits(codes, axis=1)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[Any]:
        """Return the name of each column: ``bit0``, ``bit1``, ..."""
        check_is_fitted(self)
        stem = "byte" if self.packed else "bit"
        return np.asarray([f"{stem}{number}" for number in range(self.n_features_out_)], dtype=object)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        tags.target_tags.required = False
        return tags
