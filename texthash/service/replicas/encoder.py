"""Server of the model of a release: raw text in, packed codes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from texthash.config import VectorKind
from texthash.corpora.prepared.embeddings.http_embedder import EmbedderError
from texthash.errors import UsageError
from texthash.index.releases.release import read_release
from texthash.models.query_encoder import QueryEncoder
from texthash.paths import resolve_home
from texthash.service.problems import Problem
from texthash.service.replicas.release_cache import ReleaseCache
from texthash.service.replicas.short_work import ShortWork

if TYPE_CHECKING:
    from texthash.methods.base import Role
    from texthash.models.hasher import Hasher

_CHARACTERS_OF_A_TEXT = 200  # characters that take as long as what each text costs besides its length


@dataclass(frozen=True)
class Encoded:
    """Codes of texts.

    Attributes:
        codes: uint8 [N, bits / 8].
        known: True for each text with a word of the vocabulary, bool [N].
        logits: Activations, float32 [N, bits], if requested.
        margins: Real values that are compared with bits, float32 [N, bits], if requested.
        vectors: Vectors for the index, float32 [N, width], if requested.
        categories: Category of each document, int64 [N], -1 of one without; None of queries, and without categories.
    """

    codes: NDArray[np.uint8]
    known: NDArray[np.bool_]
    logits: NDArray[np.float32] | None = None
    margins: NDArray[np.float32] | None = None
    vectors: NDArray[np.float32] | None = None
    categories: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Texts:
    """Texts of one call, of one role and for one release.

    Attributes:
        release: Release whose model encodes.
        texts: Texts; empty where only their vectors are known.
        role: Role of the texts.
        logits: Request the activations.
        margins: Request the real values that are compared with bits.
        vectors: Kind of the requested vectors.
        given: Vectors that came with the texts, float32 [N, D]; None: the model encodes the texts alone.
    """

    release: str
    texts: tuple[str, ...]
    role: Role = "query"
    logits: bool = False
    margins: bool = False
    vectors: VectorKind | None = None
    given: NDArray[np.float32] | None = None

    @property
    def key(self) -> tuple[str, Role, VectorKind | None, int]:
        """Key of the calls that share a pass; those with vectors of another width fail without the others."""
        return self.release, self.role, self.vectors, 0 if self.given is None else self.given.shape[1]


@dataclass(frozen=True)
class _Model:
    digest: str
    encoder: QueryEncoder


class EncoderServer:
    """Encodes texts; calls that arrive together share one pass through the model.

    Queries are encoded without torch where the model allows it. Then torch is imported, and the model loaded, when the
    first other text comes.

    Args:
        home: State directory, absolute.
        release: Name of the release to open at once.
        threads: Number of threads of one pass.
    """

    def __init__(self, home: str, release: str, threads: int = 1) -> None:
        self._threads = threads
        self._home = resolve_home(home)
        self._hashers = ReleaseCache(self._open, read_release(self._home, release).name)
        self._work = ShortWork()

    async def encode_many(self, calls: Sequence[Texts]) -> list[Encoded | Problem]:
        """Encode the texts of several calls, in one pass for those of one release, role and kind of vectors.

        A call gets a problem where the model cannot read what it has, or the embedder behind the model does not answer.
        """
        together: dict[tuple[Any, ...], list[int]] = {}
        for row, call in enumerate(calls):
            together.setdefault(call.key, []).append(row)
        answers: dict[int, Encoded | Problem] = {}
        for rows in together.values():
            try:
                encoded = await self._encode([calls[row] for row in rows])
            except (UsageError, EmbedderError) as error:
                kind = "vector-mismatch" if isinstance(error, UsageError) else "encoder-unavailable"
                problem = Problem(kind, f"{error.problem} {error.remedy}")
                answers |= dict.fromkeys(rows, problem)
                continue
            start = 0
            for row in rows:
                own = slice(start, start := start + len(calls[row].texts))
                answers[row] = Encoded(
                    encoded.codes[own],
                    encoded.known[own],
                    encoded.logits[own] if calls[row].logits and encoded.logits is not None else None,
                    encoded.margins[own] if calls[row].margins and encoded.margins is not None else None,
                    None if encoded.vectors is None else encoded.vectors[own],
                    None if encoded.categories is None else encoded.categories[own],
                )
        return [answers[row] for row in range(len(calls))]

    async def ping(self, release: str) -> bool:
        """Return True once the model of this release is loaded."""
        await self._hashers.get(release)
        return True

    async def self_test(self) -> None:
        """Raise the error of a model that does not encode."""
        if (model := self._hashers.newest) is not None:
            model.encoder.warm_up()

    def _open(self, release: str, newest: _Model | None) -> _Model:
        record = read_release(self._home, release)
        if newest is not None and newest.digest == record.model_digest:  # A write changes documents, not the model.
            return newest
        encoder = record.open_encoder(self._home)
        if encoder.loaded:
            self._hasher(encoder)
        encoder.warm_up()
        return _Model(record.model_digest, encoder)

    async def _encode(self, calls: Sequence[Texts]) -> Encoded:
        """Encode the texts of calls of one key in one pass."""
        first = calls[0]
        model = await self._hashers.get(first.release)
        texts = [text for call in calls for text in call.texts]
        given = [call.given for call in calls if call.given is not None]
        size = 1 + sum(_CHARACTERS_OF_A_TEXT + len(text) for text in texts)
        if first.role == "query" and first.vectors is None and not given and not any(call.logits for call in calls):
            read = await self._work.run((model.digest, "direct"), size, partial(model.encoder.read_directly, texts))
            if read is not None:
                return Encoded(read.codes, read.known, margins=read.margins)
        features = np.concatenate(given) if given else None
        kind = (model.digest, first.role, first.vectors, bool(given))
        return await self._work.run(
            kind if model.encoder.loaded else None,  # Loading the model takes seconds.
            size,
            lambda: _by_model(self._hasher(model.encoder), texts, first, features, any(call.margins for call in calls)),
        )

    def _hasher(self, encoder: QueryEncoder) -> Hasher:
        """Return the model itself, which is loaded at the first call."""
        import torch

        torch.set_num_threads(self._threads)
        return encoder.hasher


class LocalEncoder(EncoderServer):
    """Encoder in the process of its caller, by the interface that the coordinator calls."""

    async def encode(self, call: Texts) -> Encoded:
        """Encode the texts of one call.

        Raises:
            Problem: The model cannot read what the call has, or the embedder behind it does not answer.
        """
        (encoded,) = await self.encode_many([call])
        if isinstance(encoded, Problem):
            raise encoded
        return encoded


def _by_model(
    hasher: Hasher, texts: list[str], first: Texts, given: NDArray[np.float32] | None, margins: bool
) -> Encoded:
    """Encode the texts of calls, the first of which is given, by the model itself."""
    if given is not None and first.role == "document":
        from texthash.models.vectors import check_documents_bring_vectors

        check_documents_bring_vectors(hasher.method)
    read = hasher.read(texts, first.role, vectors=first.vectors, features=given)
    codes, real = hasher.binarize(read.values), hasher.query_values(read.values) if margins else None
    return Encoded(codes, read.known, read.values.cpu().numpy(), real, read.vectors, read.categories)
