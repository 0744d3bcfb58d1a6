"""Sources of the vectors of documents, by name.

* A sentence encoder: :mod:`texthash.corpora.prepared.embeddings.encoder`.
* ``column:NAME``: a column of the user's own tables, ``npy:FILE``: a file beside them with one vector a row. No text
  can be encoded by these: queries and new documents bring their vectors.
* An embedder behind HTTP: :mod:`texthash.corpora.prepared.embeddings.http_embedder`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from texthash.corpora.prepared.embeddings import encoder
from texthash.corpora.prepared.embeddings.http_embedder import Address, HttpEmbedder, is_http
from texthash.errors import UsageError

COLUMN, NPY = "column:", "npy:"


class Embedder(Protocol):
    """Texts to vectors."""

    @property
    def width(self) -> int:
        """Width D of the vectors."""
        ...

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors of texts, float32 [N, D]."""
        ...


def is_given(name: str) -> bool:
    """Return whether vectors of this name are the user's own, which no text can be turned into."""
    return name.startswith((COLUMN, NPY))


def encodes_alike(name: str) -> bool:
    """Return whether this source gives a text the same vector whenever it is asked."""
    return not (is_given(name) or is_http(name))


def gives_token_vectors(name: str) -> bool:
    """Return whether vectors of the word pieces of a text can be had from this source: it is computed here."""
    return not (is_given(name) or is_http(name))


def prefers_gpu(name: str) -> bool:
    """Return whether texts are encoded on a GPU where there is one."""
    return not (is_given(name) or is_http(name)) and encoder.prefers_gpu(name)


def identity(name: str) -> str:
    """Return the name that models record.

    A file of vectors is known by its name alone: it holds those of one corpus, and new ones come from elsewhere.

    Raises:
        CorpusError: There is no such sentence encoder.
        UsageError: The address of an embedder behind HTTP cannot be read.
    """
    if name.startswith(NPY):
        return NPY + Path(name.removeprefix(NPY)).name
    if is_http(name):
        Address.parse(name)
        return name
    return name if is_given(name) else encoder.identity(name)


def open_embedder(name: str) -> Embedder:
    """Return what turns texts into vectors; it is opened once in each process.

    Raises:
        UsageError: The vectors are the user's own.
        CorpusError: There is no such sentence encoder.
    """
    if is_given(name):
        raise UsageError(
            f"the model has learned from vectors of your own ({name}), so it cannot encode a text without one.",
            'give the vector: {"vector": [...]} in a request, vectors=... in Python, --vector-file of a command. '
            "A search by words alone (mode keyword) needs none.",
        )
    return _open_http(name) if is_http(name) else encoder.open_encoder(name)


@lru_cache(maxsize=2)
def _open_http(name: str) -> HttpEmbedder:
    return HttpEmbedder(name)
