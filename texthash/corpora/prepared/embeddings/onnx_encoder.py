"""Sentence encoders computed by ONNX Runtime on CPUs."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from texthash.corpora.prepared.embeddings.export import GRAPH, INSTALL, PIECES, Precision, ensure_export
from texthash.errors import UsageError
from texthash.executor import cores

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

# A fusion of an addition and a normalization, which takes four times what both take alone on a CPU.
_SLOWER = ["SkipLayerNormFusion"]


class OnnxEncoder:
    """Texts to vectors. Each text is computed alone: without padding, and equal in any company.

    Args:
        folder: Files of the encoder, from which the graph is exported where the node's cache has none.
        digest: Of the exported encoder.
        precision: Of its weights.
        limit: Word pieces after which a text is cut; None: the model's own limit.

    Attributes:
        width: Width D of the vectors.

    Raises:
        UsageError: A library is not installed.
        CorpusError: The encoder cannot be exported.
    """

    def __init__(self, folder: Path, digest: str, precision: Precision, limit: int | None = None) -> None:
        try:
            import onnxruntime  # noqa: F401  # before an export that takes seconds
            from tokenizers import Tokenizer
        except ImportError as error:
            raise UsageError(
                f"the sentence encoder in {folder} cannot be computed by ONNX Runtime: {error}.",
                f"{INSTALL}, or add [torch] to the encoder's name to compute with PyTorch.",
            ) from error
        self._source = folder, digest, precision
        cached, record = ensure_export(folder, digest, precision)
        limits = [some for some in (limit, record.limit) if some is not None]
        self._tokenizer = Tokenizer.from_file(str(cached / PIECES))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        if limits:
            self._tokenizer.enable_truncation(min(limits))
        self._session = _session(cached / GRAPH)
        self.width = record.width

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors, float32 [N, width]. A text is cut at the limit.

        Texts go to as many threads as OMP_NUM_THREADS says, or as there are CPUs.
        """
        vectors = np.empty((len(texts), self.width), np.float32)

        def encode(row: int) -> None:
            vectors[row] = self._session.run(None, {"pieces": self._pieces(texts[row])[0]})[0][0]

        self._each(texts, encode)
        return vectors

    def token_vectors(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        """Last hidden states of the word pieces of each text but those that frame every text, float32 [pieces, D].

        The graph that gives them is exported when they are first asked for.
        """
        session, vectors = self._states, [np.empty((0, 0), np.float32)] * len(texts)

        def encode(row: int) -> None:
            pieces, own = self._pieces(texts[row])
            vectors[row] = session.run(None, {"pieces": pieces})[0][0][own]

        self._each(texts, encode)
        return vectors

    @cached_property
    def _states(self) -> InferenceSession:
        cached, _ = ensure_export(*self._source, output="states")
        return _session(cached / GRAPH)

    def _pieces(self, text: str) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return the word pieces of a text, [1, T], and whether each is the text's own, [T]."""
        encoded = self._tokenizer.encode(text.encode("utf-8", "replace").decode())  # a lone surrogate is no character
        return np.array([encoded.ids], np.int64), np.array(encoded.special_tokens_mask) == 0

    def _each(self, texts: Sequence[str], encode: Callable[[int], None]) -> None:
        threads = min(_threads(), len(texts))
        if threads <= 1:
            for row in range(len(texts)):
                encode(row)
        else:
            # The longest first, so that no thread is left with one at the end.
            order = sorted(range(len(texts)), key=lambda row: len(texts[row]), reverse=True)
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(encode, order))


def _session(graph: Path) -> InferenceSession:
    from onnxruntime import InferenceSession, SessionOptions

    options = SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return InferenceSession(str(graph), options, providers=["CPUExecutionProvider"], disabled_optimizers=_SLOWER)


def _threads() -> int:
    """On a cluster Ray sets OMP_NUM_THREADS to the CPUs of the task."""
    set_to = os.environ.get("OMP_NUM_THREADS", "")
    return int(set_to) if set_to.isdigit() and int(set_to) else cores()
