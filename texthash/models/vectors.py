"""Real-valued vectors of documents and queries, by whose cosine an index reorders its nearest documents.

* ``activations``: the method's real-valued codes minus the thresholds of its binarizer; their signs are the bits. For
  ``role="query"`` they come from the query encoder, if the method has two encoders.
* ``features``: vectors of the source with which the model was trained: a sentence encoder's, or the user's own.

Each has length 1, so that the product of two is their cosine, for which half precision is fine enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from texthash.config import VectorKind
from texthash.corpora.prepared.embeddings.checks import as_vectors
from texthash.corpora.prepared.embeddings.sources import encodes_alike, is_given
from texthash.errors import ModelMismatchError, UsageError
from texthash.methods.base import HashMethod, InputKind
from texthash.models.encoding import pre_threshold_margins


def vector_width(method: HashMethod, kind: VectorKind) -> int:
    """Return the width of the vectors.

    Raises:
        ModelMismatchError: The model was not trained with vectors of the documents.
    """
    if kind == "activations":
        return method.bits
    if method.shape.encoder is None:
        raise ModelMismatchError(
            "the model was trained without corpus.features, so it has no features to keep as vectors.",
            "train it with corpus.features=minilm or column:NAME, or set index.vectors=activations.",
        )
    return method.shape.dense


def vector_needs(kind: VectorKind | None) -> frozenset[InputKind]:
    """Return the inputs that a batch needs for these vectors, in addition to those of the method."""
    return frozenset({"dense"}) if kind == "features" else frozenset()


def checked_features(method: HashMethod, features: Any, texts: Sequence[str]) -> NDArray[np.float32]:
    """Return features that come with texts, float32 [N, D].

    Raises:
        UsageError: The model does not use features, or they are of another width, not finite or zero.
    """
    source = method.shape.encoder
    if source is None:
        raise UsageError(
            "the model has not learned from vectors, so it cannot read one.",
            "give a text; or train a model with corpus.features and method.params.input=features.",
        )
    if not method.reads_features and not all(text.strip() for text in texts):
        raise UsageError(
            f"the model reads words, and a vector without a text has none ({method.card.name}).",
            "give the text too; or train a model with method.params.input=features.",
        )
    if "token_vectors" in method.encoding_inputs.needs and not all(text.strip() for text in texts):
        raise UsageError(
            f"the model reads the word pieces of a text, and a vector without a text has none ({method.card.name}).",
            "give the text alone: the model encodes it.",
        )
    vectors = as_vectors(features, method.shape.dense)
    if len(vectors) != len(texts):
        raise UsageError(f"there are {len(vectors)} vectors for {len(texts)} texts.", "give one for each text.")
    return vectors


def encodes_texts(method: HashMethod) -> bool:
    """Return True if a text is enough for a code, since the method does not read vectors of the user's own."""
    source = method.shape.encoder
    return not (method.reads_features and source is not None and is_given(source))


def reads_stored_vectors(method: HashMethod, kind: VectorKind | None) -> bool:
    """Return True if documents can only be re-encoded from the vectors of their index.

    This is so if the source of the vectors cannot encode a text again, or not to the same vectors, and the codes or the
    vectors of the index depend on it.

    Args:
        method: Fitted method.
        kind: Kind of the vectors in the index.
    """
    source = method.shape.encoder
    return source is not None and not encodes_alike(source) and (method.reads_features or kind == "features")


def check_documents_bring_vectors(method: HashMethod) -> None:
    """Raise :class:`UsageError` if the model encodes the texts of documents itself.

    Vectors from elsewhere would break the rule that the code of a stored document follows from its text.
    """
    if method.shape.encoder is not None and encodes_alike(method.shape.encoder):
        raise UsageError(
            f"the model encodes the texts of documents by {method.shape.encoder}.",
            "leave the vectors of the documents out.",
        )


def vectors_of(method: HashMethod, kind: VectorKind, activations: torch.Tensor, dense: Sequence[NDArray]) -> NDArray:
    """Return the vectors of texts, float32 [N, width], of length 1.

    Args:
        method: Method that computed the activations.
        kind: Kind of the vectors.
        activations: Activations of the texts [N, bits].
        dense: Features of the texts, one array per batch; empty if they are not needed.
    """
    if kind == "activations":
        return unit(pre_threshold_margins(method, activations))
    return unit(np.concatenate([np.empty((0, vector_width(method, kind)), np.float32), *dense]))


def unit(vectors: NDArray) -> NDArray[np.float32]:
    """Scale vectors [N, width] to length 1, float32; a zero vector remains zero.

    Raises:
        ModelMismatchError: A value is not finite.
    """
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    if not np.isfinite(lengths).all():
        raise ModelMismatchError("a real-valued code of the model is not finite.", "train the model again.")
    return (vectors / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)
