"""Encoder of queries, which opens a saved model without torch where the method allows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open

from texthash.config import VectorKind
from texthash.corpora.words import Analyzer, Vocabulary
from texthash.hamming.codes import pack
from texthash.models.direct import FEW, DirectEncoder, DirectForm
from texthash.models.files import (
    DIRECT,
    WEIGHTS,
    HasherRecord,
    check_data,
    local_files,
    read_hasher_record,
    read_vocabulary,
)

if TYPE_CHECKING:
    from texthash.models.hasher import Hasher


class EncodedQueries(NamedTuple):
    """Codes of queries.

    Attributes:
        codes: uint8 [N, bits / 8].
        known: Whether a word of the query is in the vocabulary, bool [N].
        margins: Real values that are compared with bits, float32 [N, bits]: activations minus thresholds, shifted where
            the method has learned to.
        vectors: Vectors by which an index rescores, float32 [N, width]; None unless requested.
    """

    codes: NDArray[np.uint8]
    known: NDArray[np.bool_]
    margins: NDArray[np.float32]
    vectors: NDArray[np.float32] | None = None

    @property
    def rescored_by(self) -> NDArray[np.float32]:
        """Values by which hits are rescored: the vectors where they were requested, else the margins."""
        return self.margins if self.vectors is None else self.vectors


@dataclass(frozen=True)
class _Words:
    """Encoder by numpy, with the words that it reads."""

    direct: DirectEncoder
    analyzer: Analyzer
    vocabulary: Vocabulary


class QueryEncoder:
    """Encoder of queries with the codes of :meth:`texthash.models.hasher.Hasher.read`.

    A few texts are encoded by numpy, where the saved model describes its layers for it
    (:class:`~texthash.models.direct.DirectForm`); all else by the model itself, loaded when it is first needed.

    Args:
        model: Model, or its directory.
        words: Encoder by numpy; None if the model has another form.
    """

    def __init__(self, model: Hasher | Path, words: _Words | None = None) -> None:
        self._model = model
        self._words = words

    @classmethod
    def of(cls, hasher: Hasher) -> QueryEncoder:
        """Return the encoder of a model in memory."""
        return cls(hasher)

    @classmethod
    def open(cls, directory: str | Path) -> QueryEncoder:
        """Open a model that :meth:`texthash.models.hasher.Hasher.save` wrote.

        Raises:
            ModelMismatchError: Files are missing, damaged or do not belong together; the error names the difference.
        """
        directory = local_files(directory).absolute()
        record = read_hasher_record(directory)
        check_data(directory, record)
        direct = _direct_encoder(directory, record)
        words = None
        if direct is not None:
            words = _Words(direct, Analyzer.from_edition(record.edition), read_vocabulary(directory, record))
        encoder = cls(directory, words)
        if words is None:
            _ = encoder.hasher  # with its errors, before it is needed
        return encoder

    @cached_property
    def hasher(self) -> Hasher:
        """The model itself."""
        if not isinstance(self._model, Path):
            return self._model
        from texthash.models.hasher import Hasher

        return Hasher.load(self._model)

    @property
    def loaded(self) -> bool:
        """Whether the model itself is in memory."""
        return not isinstance(self._model, Path) or "hasher" in vars(self)

    def warm_up(self) -> None:
        """Encode a text, since the first pass is slower; raises the error of a model that does not encode."""
        if self._words is None:
            self.hasher.warm_up()
        else:
            self._words.direct.warm_up(self._words.analyzer, self._words.vocabulary)

    def read_directly(self, texts: Sequence[str]) -> EncodedQueries | None:
        """Encode queries by numpy; None if the model itself has to, for all of them or for one in doubt."""
        if self._words is None or not texts:
            return None
        parts = []
        for start in range(0, len(texts), FEW):
            part = _read_directly(self._words, texts[start : start + FEW])
            if part is None:
                return None
            parts.append(part)
        return parts[0] if len(parts) == 1 else _joined(parts)

    def read(self, texts: Sequence[str], vectors: VectorKind | None = None, features: Any = None) -> EncodedQueries:
        """Encode queries; arguments and errors as of :meth:`texthash.models.hasher.Hasher.read`."""
        if vectors is None and features is None and len(texts) <= FEW:
            encoded = self.read_directly(texts)
            if encoded is not None:
                return encoded
        read = self.hasher.read(texts, "query", vectors=vectors, features=features)
        margins = self.hasher.query_values(read.values)
        return EncodedQueries(self.hasher.binarize(read.values), read.known, margins, read.vectors)


def _read_directly(words: _Words, texts: Sequence[str]) -> EncodedQueries | None:
    """Encode queries by numpy; None if a bit is too close to its threshold to be decided so."""
    activations, known = words.direct.read(texts, words.analyzer, words.vocabulary)
    decided = [found for found in activations if found is not None]
    if len(decided) < len(texts):
        return None
    values, thresholds = np.stack(decided), words.direct.thresholds
    return EncodedQueries(pack(values > thresholds), known, values - thresholds + words.direct.shift)


def _joined(parts: Sequence[EncodedQueries]) -> EncodedQueries:
    """Return queries that were encoded in parts, without vectors."""
    codes, known, margins, _ = zip(*parts, strict=True)
    return EncodedQueries(np.concatenate(codes), np.concatenate(known), np.concatenate(margins))


def _numbers(weights: Any, name: str) -> NDArray[Any]:
    """Return a tensor; raises ValueError if it contains NaN."""
    values: NDArray[Any] = weights.get_tensor(name)
    if np.isnan(values).any():
        raise ValueError(f"{name} contains NaN")
    return values


def _direct_encoder(directory: Path, record: HasherRecord) -> DirectEncoder | None:
    """Return the encoder that the weights of a saved model describe; None if they do not, or cannot be read.

    The error of damaged weights is that of loading the model.
    """
    try:
        with safe_open(directory / WEIGHTS, framework="np") as weights:
            described = (weights.metadata() or {}).get(DIRECT)
            if described is None:
                return None
            direct = DirectEncoder(TypeAdapter(DirectForm).validate_json(described), partial(_numbers, weights))
    except (SafetensorError, ValidationError, ValueError):
        return None
    return direct if direct.fits(record.shape.vocabulary, record.shape.dense, record.bits) else None
