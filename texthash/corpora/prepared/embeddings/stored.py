"""Stored vectors of a corpus, memory-mapped, and the record of their source.

:mod:`texthash.corpora.prepared.embeddings.cache` computes them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from annotated_types import Gt
from numpy.typing import NDArray

from texthash.corpora.prepared.embeddings.encoder import placed, split_identity
from texthash.corpora.prepared.embeddings.sources import identity, is_given
from texthash.errors import CorpusError, ModelMismatchError
from texthash.io.records import read_typed

META = "encoder.json"


@dataclass(frozen=True)
class StoredVectors:
    """Content of ``encoder.json``.

    Attributes:
        encoder: Identity of the source.
        width: Width of the vectors.
        sha256: Digest of the file from which the user's own were read; None for other sources.
    """

    encoder: str
    width: Annotated[int, Gt(0)]
    sha256: str | None = None


def read_stored(folder: Path) -> StoredVectors:
    """Read the record of a folder; raises FileNotFoundError if there is none."""
    return read_typed(StoredVectors, folder / META, "delete that folder to store the vectors again.")


def feature_folder(cache: Path, name: str) -> Path:
    """Return the folder of the vectors of a source, whose name is made valid in a file system.

    Its content identifies the source exactly.
    """
    plain = identity(name) if is_given(name) else placed(split_identity(name)[0])
    return cache / "features" / re.sub(r"[^\w.-]+", "--", plain).strip("-")


def features_of(cache: Path, name: str) -> tuple[str, int]:
    """Return the identity and the width of a source whose vectors are stored.

    Args:
        cache: Directory of data derived from the corpus.
        name: Name of the source.

    Raises:
        CorpusError: The vectors are not stored.
    """
    folder = feature_folder(cache, name)
    try:
        record = read_stored(folder)
    except FileNotFoundError:
        raise _absent(folder, name) from None
    return record.encoder, record.width


def open_features(cache: Path, name: str, split: str) -> NDArray[np.float32]:
    """Return the vectors of a split, float32 [N, width], memory-mapped.

    Raises:
        CorpusError: The vectors are not stored.
        ModelMismatchError: They are of another model than the digest in the name.
    """
    folder = feature_folder(cache, name)
    known, _ = features_of(cache, name)
    plain, digest = split_identity(name)
    if digest and digest != split_identity(known)[1]:
        raise ModelMismatchError(
            f"{folder} holds vectors by {known}, not by {name}.",
            f"delete that folder and encode the documents again, with corpus.features={plain}.",
        )
    path = folder / f"{split}.npy"
    if not path.is_file():
        raise _absent(folder, name, split)
    return np.load(path, mmap_mode="r")


def _absent(folder: Path, name: str, split: str = "") -> CorpusError:
    documents = f"documents of {split}" if split else "documents"
    return CorpusError(
        f"the {documents} have no sentence vectors in {folder}.",
        f"set corpus.features={name}, without corpus.features_of=train unless the model reads words alone, and prepare "
        "the corpus: texthash prepare, pipelines/prepare.py.",
    )
