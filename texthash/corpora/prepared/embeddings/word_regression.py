"""Regression from the words of the training documents to their vectors, solved once and kept beside the vectors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from texthash.config import Weighting
from texthash.corpora.prepared.corpus import Split
from texthash.corpora.prepared.embeddings.stored import feature_folder
from texthash.io.atomic import exclusive, write_array
from texthash.nn.projections import joint_rows
from texthash.nn.ridge import ridge


def word_regression(train: Split, encoder: str, weighting: Weighting, penalty: float) -> NDArray[np.float32]:
    """Return A of min ||X A - Y||_F^2 + lambda ||A||_F^2, float32 [V, D]. Solved once, then read from the cache.

    X are the weighted words of the training documents, Y their vectors at length 1 and less their mean.

    Args:
        train: Training split, whose vectors have been stored.
        encoder: Source of the vectors.
        weighting: Weighting of the words.
        penalty: lambda, above 0.

    Raises:
        CorpusError: The vectors have not been stored.
        ModelMismatchError: They are of another model.
    """
    targets = train.dense(encoder)
    folder = feature_folder(train.cache, encoder) / "regressions"
    path = folder / f"{weighting}-{penalty!r}.npy"
    if not path.is_file():
        with exclusive(folder / ".lock"):  # trials of a sweep ask at the same time
            if not path.is_file():
                directions = joint_rows(None, targets, 1.0)
                centred = directions - directions.mean(axis=0)
                write_array(path, ridge(train.matrix(weighting), centred, penalty, intercept=False)[0])
    weights: NDArray[np.float32] = np.load(path)
    return weights
