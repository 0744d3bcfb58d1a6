"""Codes of a whole corpus as one file, for ``benchmark.py search --codes``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from texthash.corpora.dataset import PreparedCorpus
from texthash.methods.hasher import Hasher
from texthash.progress import say
from texthash.search.build import SPLITS


def command(
    corpus: Annotated[Path, typer.Option(help="A prepared corpus.")],
    model: Annotated[Path, typer.Option(help="A saved model with the vocabulary of the corpus.")],
    out: Annotated[Path, typer.Option(help="The .npy file to write: uint8 [documents, bits / 8].")],
) -> None:
    """Encode every document of a prepared corpus with a saved model."""
    hasher = Hasher.load(model)
    prepared = PreparedCorpus.open(corpus)
    hasher.check_corpus(prepared)
    codes = np.concatenate([hasher.encode_split(prepared.split(name)) for name in SPLITS])
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.stem}.partial.npy")
    np.save(partial, codes)
    partial.replace(out)
    say(f"{len(codes):,} codes of {hasher.bits} bits in {out}")
