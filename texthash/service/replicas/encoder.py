"""Server of the model of a release: raw text in, packed codes out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from texthash.config import VectorKind
from texthash.index.releases.release import read_release
from texthash.methods.base import Role
from texthash.models.hasher import Hasher, TextActivations
from texthash.paths import resolve_home
from texthash.service.replicas.release_cache import ReleaseCache


@dataclass(frozen=True)
class Encoded:
    """Codes of texts.

    Attributes:
        codes: uint8 [N, bits / 8].
        known: True for each text with a word of the vocabulary, bool [N].
        logits: Activations, float32 [N, bits], if requested.
        margins: Activations minus thresholds, float32 [N, bits], if requested.
        vectors: Vectors for the index, float32 [N, width], if requested.
    """

    codes: NDArray[np.uint8]
    known: NDArray[np.bool_]
    logits: NDArray[np.float32] | None = None
    margins: NDArray[np.float32] | None = None
    vectors: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Texts:
    """Texts of one call, of one role and for one release."""

    release: str
    texts: tuple[str, ...]
    role: Role = "query"
    logits: bool = False
    margins: bool = False
    vectors: VectorKind | None = None


@dataclass(frozen=True)
class _Model:
    digest: str
    hasher: Hasher


class EncoderServer:
    """Encodes texts; calls that arrive together share one pass through the model.

    Args:
        home: State directory, absolute.
        release: Name of the release to open at once.
        threads: Number of threads of one pass.
    """

    def __init__(self, home: str, release: str, threads: int = 1) -> None:
        import torch

        torch.set_num_threads(threads)
        self._home = resolve_home(home)
        self._hashers = ReleaseCache(self._open, read_release(self._home, release).name)

    async def encode_many(self, calls: Sequence[Texts]) -> list[Encoded]:
        """Encode the texts of several calls, in one pass for those of one release, role and kind of vectors."""
        together: dict[tuple[str, Role, VectorKind | None], list[int]] = {}
        for row, call in enumerate(calls):
            together.setdefault((call.release, call.role, call.vectors), []).append(row)
        answers: dict[int, Encoded] = {}
        for (release, role, kind), rows in together.items():
            hasher = (await self._hashers.get(release)).hasher
            texts = [text for row in rows for text in calls[row].texts]
            (values, known, vectors), codes = await asyncio.to_thread(_encode, hasher, texts, role, kind)
            start = 0
            for row in rows:
                part = slice(start, start := start + len(calls[row].texts))
                logits = values.cpu().numpy()[part] if calls[row].logits else None
                margins = hasher.pre_threshold_margins(values[part]) if calls[row].margins else None
                own = None if vectors is None else vectors[part]
                answers[row] = Encoded(codes[part], known[part], logits, margins, own)
        return [answers[row] for row in range(len(calls))]

    async def ping(self, release: str) -> bool:
        """Return True once the model of this release is loaded."""
        await self._hashers.get(release)
        return True

    async def self_test(self) -> None:
        """Raise the error of a model that does not encode."""
        self._hashers.newest.hasher.warm_up()

    def _open(self, release: str, newest: _Model | None) -> _Model:
        record = read_release(self._home, release)
        if newest is not None and newest.digest == record.model_digest:  # A write changes documents, not the model.
            return newest
        hasher = record.open_hasher(self._home)
        hasher.warm_up()
        return _Model(record.model_digest, hasher)


def _encode(
    hasher: Hasher, texts: list[str], role: Role, kind: VectorKind | None
) -> tuple[TextActivations, NDArray[np.uint8]]:
    read = hasher.read(texts, role, vectors=kind)
    return read, hasher.binarize(read.values)
