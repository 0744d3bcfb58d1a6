"""Sentence encoders as ONNX graphs, exported once from the files of a folder into the cache of the node.

A graph takes the word pieces of one text, int64 [1, T], and gives its vector, float32 [1, D]. It has neither padding
nor a mask, so a text has the same vector in every company.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Gt
from numpy.typing import NDArray

from texthash.corpora.prepared.embeddings.int8 import quantize
from texthash.errors import CorpusError, TexthashError, UsageError
from texthash.io.atomic import exclusive, partial_name, write_json
from texthash.io.records import Sha256, read_typed, sealed
from texthash.paths import node_cache
from texthash.progress import log_line

Precision = Literal["int8", "float32"]
# What a graph gives: the vector of the text [1, D], or the states of its word pieces [1, T, D].
Output = Literal["vector", "states"]
# Part of the digest of an exported encoder: to be raised by every change that moves vectors.
EXPORT_VERSION = 1
GRAPH, PIECES, RECORD = "model.onnx", "tokenizer.json", "export.json"
INSTALL = "pip install 'texthash[text]'"
_OPSET = 17
_SAMPLES = (8, 100, 20, 60, 30, 10, 120, 40) * 8


@dataclass(frozen=True)
class Exported:
    """Content of ``export.json``.

    Attributes:
        width: Width of the vectors.
        limit: Word pieces after which a text is cut; None for no limit.
        graph: Digest of the graph's file.
        pieces: Digest of the tokenizer's file.
    """

    width: Annotated[int, Gt(0)]
    limit: Annotated[int, Gt(0)] | None
    graph: Sha256
    pieces: Sha256


def exportable(folder: Path) -> bool:
    """Return whether the encoder in a folder can be exported: a transformer, a tokenizer in one file, no prompt."""
    modules, settings = _read(folder / "modules.json"), _read(folder / "config_sentence_transformers.json")
    first = str(modules[0].get("type", "")) if modules else "Transformer"
    return (folder / PIECES).is_file() and first.endswith("Transformer") and not settings.get("default_prompt_name")


def _read(path: Path) -> Any:
    """Return the content of a file of an encoder, nothing where there is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise CorpusError(f"{path} is broken: {error}.", "get the files of the encoder again.") from None


def exported_digest(weights: str, precision: Precision) -> str:
    """Return the digest of an exported encoder by that of its files, of the same length."""
    return hashlib.sha256(f"{weights} {precision} {EXPORT_VERSION}".encode()).hexdigest()[: len(weights)]


def ensure_export(folder: Path, digest: str, precision: Precision, output: Output = "vector") -> tuple[Path, Exported]:
    """Export the encoder in a folder unless its graph is in the node's cache and whole.

    Several processes may ask at once: one exports, the others wait.

    Args:
        folder: Files of the encoder.
        digest: Of the exported encoder, :func:`exported_digest`.
        precision: Of its weights.
        output: What the graph gives.

    Returns:
        Directory with graph and tokenizer, and its record.

    Raises:
        UsageError: A library that the export needs is not installed.
        CorpusError: The folder holds no encoder that can be exported.
    """
    name = digest if output == "vector" else f"{digest}-{output}"
    target = node_cache() / "encoders" / name
    record = _whole(target)
    if record is None:
        with exclusive(target.with_name(f".{name}.lock")):
            record = _whole(target)
            if record is None:
                record = _make(folder, target, precision, output)
    return target, record


def _whole(target: Path) -> Exported | None:
    """Return the record of an export whose files are those that were written; None if it is to be made (again)."""
    try:
        record = read_typed(Exported, target / RECORD, "delete that folder to export the encoder again.")
        if (_sha256(target / GRAPH), _sha256(target / PIECES)) == (record.graph, record.pieces):
            return record
    except FileNotFoundError:
        if not target.exists():
            return None
    except TexthashError as error:
        log_line(str(error))
    log_line(f"the exported encoder in {target} is damaged and will be made again")
    return None


def _make(folder: Path, target: Path, precision: Precision, output: Output) -> Exported:
    states = ", states of word pieces" if output == "states" else ""
    log_line(f"exporting the sentence encoder in {folder} to ONNX ({precision}{states}), once")
    partial = partial_name(target)
    partial.mkdir(parents=True)
    try:
        model = load_torch(folder, "cpu")
        model.tokenizer.backend_tokenizer.save(str(partial / PIECES))
        width = _export(model, partial, precision, output)
        record = Exported(width, model.max_seq_length or None, _sha256(partial / GRAPH), _sha256(partial / PIECES))
        write_json(partial / RECORD, sealed(asdict(record)))
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
        return record
    except ImportError as error:
        raise UsageError(f"the sentence encoder in {folder} cannot be exported to ONNX: {error}.", INSTALL) from error
    except (AttributeError, RuntimeError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise CorpusError(
            f"the sentence encoder in {folder} cannot be exported to ONNX: {reason[0]}",
            "add [torch] to its name to compute with PyTorch.",
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def load_torch(folder: Path, device: str | None = None) -> Any:
    """Load the encoder in a folder as a ``SentenceTransformer``.

    Raises:
        UsageError: sentence-transformers is not installed.
        CorpusError: The folder holds no sentence encoder.
    """
    try:
        from sentence_transformers import SentenceTransformer
        from transformers.utils.logging import disable_progress_bar
    except ImportError as error:
        raise UsageError(f"the sentence encoder in {folder} cannot be loaded: {error}.", f"{INSTALL}.") from error
    disable_progress_bar()  # of reading the weights
    try:
        return SentenceTransformer(str(folder), trust_remote_code=False, device=device)
    except (OSError, ValueError, KeyError) as error:
        raise CorpusError(
            f"{folder} holds no sentence encoder: {error}", "name a folder that sentence-transformers can load."
        ) from error


def _export(model: Any, target: Path, precision: Precision, output: Output) -> int:
    """Write the graph, and return the width of its vectors."""
    import onnx
    import torch

    class OneText(torch.nn.Module):
        """The encoder for one text, without padding."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, pieces: torch.Tensor) -> torch.Tensor:
            first, *rest = self.model
            states = first.auto_model(input_ids=pieces).last_hidden_state
            if output == "states":
                return states
            features = {"input_ids": pieces, "token_embeddings": states, "attention_mask": torch.ones_like(pieces)}
            for module in rest:
                features = module(features)
            return features["sentence_embedding"]

    model.eval()
    path = target / GRAPH
    samples = list(_samples(model))
    example = torch.from_numpy(samples[0])
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # of tracing, and that this exporter, which needs no further package, is old
        torch.onnx.export(
            OneText(),
            (example,),
            str(path),
            input_names=["pieces"],
            output_names=[output],
            dynamic_axes={"pieces": {1: "length"}, **({"states": {1: "length"}} if output == "states" else {})},
            opset_version=_OPSET,
            dynamo=False,
        )
        width = OneText()(example).shape[-1]
    if precision == "int8":
        graph = onnx.load(str(path))
        quantize(graph, samples)
        onnx.save(graph, str(path))
    return width


def _samples(model: Any) -> Iterator[NDArray[np.int64]]:
    """Yield random word pieces between those that begin and end every text.

    They suffice for calibration, because the large channels of a transformer are the same in any text.
    """
    tokenizer = model.tokenizer
    special = set(tokenizer.all_special_ids)
    words = [piece for piece in range(len(tokenizer)) if piece not in special] or sorted(special)
    frame = tokenizer("")["input_ids"]
    generator = np.random.default_rng(0)
    for length in _SAMPLES:
        drawn = generator.choice(words, min(length, (model.max_seq_length or length) - len(frame)))
        yield np.concatenate([frame[:-1], drawn, frame[-1:]]).astype(np.int64)[None]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
