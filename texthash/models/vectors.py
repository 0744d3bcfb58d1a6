"""Real-valued vectors of documents and queries, for an index that orders its nearest documents again by their cosine.

* ``activations``: the method's real-valued codes less the thresholds of their cut, of which the bits are the signs. For
  ``role="query"`` those of the query encoder, where a method has two.
* ``features``: the vectors of the source with which the model was trained: a sentence encoder's, or the user's own.

Each is brought to length 1, so that the product of two is their cosine, and half precision is fine enough for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from texthash.config import VectorKind
from texthash.corpora.prepared.corpus import Split
from texthash.corpora.prepared.embeddings.checks import as_vectors
from texthash.corpora.prepared.embeddings.sources import encodes_alike, is_given
from texthash.errors import ModelMismatchError, UsageError
from texthash.methods.base import HashMethod, InputKind
from texthash.models.encoding import activations_of, pre_threshold_margins, split_batches

_ROWS = 8192


def vector_width(method: HashMethod, kind: VectorKind) -> int:
    """Width of the vectors.

    Raises:
        ModelMismatchError: the model was not trained beside vectors of the documents.
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
    """What a batch has to carry for these vectors beside what the method needs."""
    return frozenset({"dense"}) if kind == "features" else frozenset()


def checked_features(method: HashMethod, features: Any, texts: Sequence[str]) -> NDArray[np.float32]:
    """Return features that come with texts, float32 [N, D].

    Raises:
        UsageError: The model has no use for them, or they are of another width, not finite or zero.
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
    vectors = as_vectors(features, method.shape.dense)
    if len(vectors) != len(texts):
        raise UsageError(f"there are {len(vectors)} vectors for {len(texts)} texts.", "give one for each text.")
    return vectors


def encodes_texts(method: HashMethod) -> bool:
    """Return whether a text alone has a code: the method does not read vectors of the user's own."""
    source = method.shape.encoder
    return not (method.reads_features and source is not None and is_given(source))


def reads_stored_vectors(method: HashMethod, kind: VectorKind | None) -> bool:
    """Return whether documents can be encoded again only from the vectors of an index: their source gives none for a
    text, or not the same ones, and codes or the vectors to keep depend on it.

    Args:
        method: A fitted method.
        kind: Vectors that the index keeps.
    """
    source = method.shape.encoder
    return source is not None and not encodes_alike(source) and (method.reads_features or kind == "features")


def check_documents_bring_vectors(method: HashMethod) -> None:
    """Raise :class:`UsageError` where the model itself encodes the texts of documents, so that the code of a stored
    document follows from its text."""
    if method.shape.encoder is not None and encodes_alike(method.shape.encoder):
        raise UsageError(
            f"the model encodes the texts of documents by {method.shape.encoder}.",
            "leave the vectors of the documents out.",
        )


def vectors_of(method: HashMethod, kind: VectorKind, activations: torch.Tensor, dense: Sequence[NDArray]) -> NDArray:
    """Vectors of some texts, float32 [N, width], of length 1.

    Args:
        method: That made the activations.
        kind: Which vectors.
        activations: Of the texts, [N, bits].
        dense: Features of the texts, in as many parts as there are batches; empty where they are not needed.
    """
    if kind == "activations":
        return unit(pre_threshold_margins(method, activations))
    return unit(np.concatenate([np.empty((0, vector_width(method, kind)), np.float32), *dense]))


def split_vectors(method: HashMethod, split: Split, kind: VectorKind) -> Iterator[NDArray[np.float16]]:
    """Vectors of all documents of a prepared split in order, float16 [some, width] at a time.

    Training documents have those that their text gives also where the method defines database codes of their own.

    Raises:
        ModelMismatchError: as :func:`vector_width`.
        CorpusError: the features of the split are not there.
    """
    vector_width(method, kind)
    if kind == "features":
        assert method.shape.encoder is not None  # it has a width
        features = split.dense(method.shape.encoder)
        for start in range(0, len(split), _ROWS):
            yield unit(features[start : start + _ROWS]).astype(np.float16)
        return
    for batch in split_batches(method, split):
        yield unit(pre_threshold_margins(method, activations_of(method, [batch]))).astype(np.float16)


def unit(vectors: NDArray) -> NDArray[np.float32]:
    """Vectors [N, width] at length 1, float32; one without length stays as it is.

    Raises:
        ModelMismatchError: a value that is not finite.
    """
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    if not np.isfinite(lengths).all():
        raise ModelMismatchError("a real-valued code of the model is not finite.", "train the model again.")
    return (vectors / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)
