"""Codes of a whole corpus as files for ``benchmark.py search``, by a saved model or by one trained for this purpose."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from texthash.config import CorpusConfig, TrainingConfig
from texthash.corpora.document import SPLITS
from texthash.corpora.preparation.steps import prepare_corpus
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.errors import UsageError
from texthash.hamming.codes import check_bits
from texthash.io.atomic import write_array
from texthash.methods.registry import build
from texthash.models.hasher import Hasher
from texthash.paths import resolve_home
from texthash.progress import log_line
from texthash.training.loop import EpochReport, fit


def command(
    out: Annotated[Path, typer.Option(help="The .npy file to write: uint8 [documents, bits / 8].")],
    corpus: Annotated[Path | None, typer.Option(help="A prepared corpus, for --model.")] = None,
    model: Annotated[Path | None, typer.Option(help="A saved model with the vocabulary of the corpus.")] = None,
    source: Annotated[
        Path | None, typer.Option(help="Instead: a file of documents (id, text), of which a method learns codes.")
    ] = None,
    method: Annotated[str, typer.Option(help="Method that learns codes of the source.")] = "nash",
    bits: Annotated[
        list[int] | None,
        typer.Option(help="Length of the codes, 64 by default. If given several times, --out must contain {bits}."),
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Number of epochs of the method.")] = 2,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first documents of the source.")] = None,
) -> None:
    """Encode every document of a corpus, by a saved model or by one that is trained on the source.

    A source is prepared under TEXTHASH_HOME and reused later: 10,000 words, and a random 60 % of the documents for
    training. The model is not kept.
    """
    if source is not None and corpus is None and model is None:
        widths = [check_bits(width) for width in bits or [64]]
        if len(widths) > 1 and "{bits}" not in out.name:
            raise UsageError(f"{len(widths)} widths would be written to {out}.", "put {bits} into the name of --out.")
        prepared = _prepared(source, limit)
        for width in widths:
            _write(_learned(prepared, method, width, epochs), prepared, out.with_name(out.name.format(bits=width)))
    elif corpus is not None and model is not None and source is None and bits is None:
        prepared, hasher = PreparedCorpus.open(corpus), Hasher.load(model)
        hasher.check_corpus(prepared)
        _write(hasher, prepared, out)
    else:
        raise UsageError("there is neither a --source nor a --corpus with a --model.", "give one or the other.")


def _prepared(source: Path, limit: int | None) -> PreparedCorpus:
    name = source.name.split(".")[0] + ("" if limit is None else f"-{limit}")
    config = CorpusConfig.model_validate({"name": name, "path": str(source.absolute()), "limit": limit})
    return PreparedCorpus.open(prepare_corpus(config, resolve_home()))


def _learned(prepared: PreparedCorpus, method: str, bits: int, epochs: int) -> Hasher:
    def log_epoch(report: EpochReport) -> None:
        log_line(f"{method}, {bits} bits: epoch {report.epoch} of {report.epochs}, {report.seconds:.0f} s")

    untrained = build(method, prepared.shape, bits)
    return Hasher.of(fit(untrained, prepared.train, TrainingConfig(epochs=epochs), on_epoch=log_epoch).method, prepared)


def _write(hasher: Hasher, prepared: PreparedCorpus, out: Path) -> None:
    codes = np.concatenate([hasher.encode_split(prepared.split(name)) for name in SPLITS])
    write_array(out, codes)
    different = len(np.unique(codes, axis=0))
    log_line(f"{len(codes):,} codes of {hasher.bits} bits in {out}, {different:,} of them distinct")
