"""Engines of one sentence encoder side by side: documents per second, time of a short query, cosine to PyTorch.

Everything is computed on one thread. The engines take turns in every round, and figures are medians over the rounds.
"""

from __future__ import annotations

import json as json_lines
import os
from functools import partial
from pathlib import Path
from typing import Annotated, Any, get_args

import numpy as np
import typer

from benchmarks.reporting import JsonOption, alternate, report
from texthash.corpora.prepared.embeddings.encoder import Engine, open_encoder, split_options
from texthash.errors import UsageError

_QUERY = "boundary layer on a flat plate in supersonic flow"
_QUERIES = 20


def command(
    texts: Annotated[Path, typer.Option(help="JSON lines with a text each, such as corpus.jsonl of a collection.")],
    json: JsonOption = None,
    encoder: Annotated[str, typer.Option(help="Name of the encoder, without an engine.")] = "minilm",
    documents: Annotated[int, typer.Option(min=1, help="Texts that are encoded in each round.")] = 200,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds.")] = 3,
) -> None:
    """Measure documents per second, time of a short query and cosine to PyTorch of each engine of an encoder."""
    import torch

    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    lines = (json_lines.loads(line) for line in texts.read_text(encoding="utf-8").splitlines())
    chosen = [text for line in lines if (text := str(line.get("text", "")).strip())][:documents]
    if not chosen:
        raise UsageError(f"{texts} has no line with a text.", 'name JSON lines with a member "text".')
    report(f"engines of {encoder}, {len(chosen)} documents, one thread", measure(encoder, chosen, rounds), json)


def measure(encoder: str, texts: list[str], rounds: int) -> list[dict[str, Any]]:
    """Return a row for each engine, PyTorch first."""
    open_encoder.cache_clear()
    model, options = split_options(encoder)
    engines = sorted(get_args(Engine), key=lambda engine: engine != "torch")
    opened = {name: open_encoder(f"{model}[{','.join([*options, name])}]") for name in engines}
    vectors = {name: engine.encode(texts) for name, engine in opened.items()}
    bulk = alternate({name: partial(engine.encode, texts) for name, engine in opened.items()}, rounds)
    query = alternate({name: partial(engine.encode, [_QUERY]) for name, engine in opened.items()}, _QUERIES * rounds)
    expected = vectors["torch"]
    rows = []
    for name, found in vectors.items():
        sizes = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
        cosine = (found * expected).sum(axis=1) / sizes
        rows.append(
            {
                "engine": name,
                "documents_per_second": round(1e3 * len(texts) / bulk[name], 1),
                "times_pytorch": round(bulk["torch"] / bulk[name], 2),
                "query_ms": round(query[name], 2),
                "mean_cosine": round(float(cosine.mean()), 4),
                "worst_cosine": round(float(cosine.min()), 4),
            }
        )
    return rows
