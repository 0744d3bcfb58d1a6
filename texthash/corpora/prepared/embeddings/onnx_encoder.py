"""Sentence encoders computed by ONNX Runtime on CPUs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from texthash.corpora.prepared.embeddings.export import GRAPH, INSTALL, PIECES, Precision, ensure_export
from texthash.errors import UsageError
from texthash.executor import cores

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
            from onnxruntime import InferenceSession, SessionOptions
            from tokenizers import Tokenizer
        except ImportError as error:
            raise UsageError(
                f"the sentence encoder in {folder} cannot be computed by ONNX Runtime: {error}.",
                f"{INSTALL}, or add [torch] to the encoder's name to compute with PyTorch.",
            ) from error
        cached, record = ensure_export(folder, digest, precision)
        limits = [some for some in (limit, record.limit) if some is not None]
        self._tokenizer = Tokenizer.from_file(str(cached / PIECES))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        if limits:
            self._tokenizer.enable_truncation(min(limits))
        options = SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = InferenceSession(
            str(cached / GRAPH), options, providers=["CPUExecutionProvider"], disabled_optimizers=_SLOWER
        )
        self.width = record.width

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors, float32 [N, width]. A text is cut at the limit.

        Texts go to as many threads as OMP_NUM_THREADS says, or as there are CPUs.
        """
        vectors = np.empty((len(texts), self.width), np.float32)

        def encode(row: int) -> None:
            text = texts[row].encode("utf-8", "replace").decode()  # a lone surrogate is no character
            pieces = np.array([self._tokenizer.encode(text).ids], np.int64)
            vectors[row] = self._session.run(None, {"pieces": pieces})[0][0]

        threads = min(_threads(), len(texts))
        if threads <= 1:
            for row in range(len(texts)):
                encode(row)
        else:
            # The longest first, so that no thread is left with one at the end.
            order = sorted(range(len(texts)), key=lambda row: len(texts[row]), reverse=True)
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(encode, order))
        return vectors


def _threads() -> int:
    """On a cluster Ray sets OMP_NUM_THREADS to the CPUs of the task."""
    set_to = os.environ.get("OMP_NUM_THREADS", "")
    return int(set_to) if set_to.isdigit() and int(set_to) else cores()
