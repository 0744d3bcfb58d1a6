"""Codes of a sentence encoder before and after training by ``BinaryCodesLoss``."""

from __future__ import annotations

import tempfile
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from benchmarks.reporting import JsonOption, report
from texthash.corpora.prepared.embeddings.encoder import locate
from texthash.corpora.readers.installed import package_folders
from texthash.corpora.readers.pydoc import documents_in
from texthash.errors import UsageError
from texthash.evaluation.metrics import mean
from texthash.evaluation.retrieval.ranked import Cuts, Ranked, bucketed, by_query
from texthash.integrations.sentence_transformers import BinaryCodesLoss
from texthash.progress import log_line

_WIDTHS = (64, 128, 384)
_PACKAGES = ("pandas", "scipy", "sklearn", "torch")
_LEAST_WORDS = 5
_CUTOFFS = (1, 10)


def command(
    json: JsonOption = None,
    encoder: Annotated[str, typer.Option(help="Sentence encoder to train, by a name of corpus.features.")] = "minilm",
    steps: Annotated[int, typer.Option(min=1, help="Steps of training.")] = 150,
    batch: Annotated[int, typer.Option(min=2, help="Pairs of a step.")] = 24,
    pieces: Annotated[int, typer.Option(min=8, help="Word pieces of a text that are read.")] = 48,
    held: Annotated[int, typer.Option(min=20, help="Pairs that are held out, whose texts are searched.")] = 1_000,
    learning_rate: Annotated[float, typer.Option(help="Learning rate.")] = 2e-5,
    seed: Annotated[int, typer.Option(help="Seed of the division and of training.")] = 0,
) -> None:
    """Measure the recall of the rest of a documentation string by the code of its first line, before and after.

    Pairs are of installed packages; recall is the mean over all orders of tied codes. `cosine` compares floats.
    """
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(1)
    pairs = _pairs(np.random.default_rng(seed))
    if len(pairs) < held + batch:
        raise UsageError(f"there are {len(pairs)} pairs.", f"hold out fewer than {len(pairs) - batch}.")
    tested, learned = pairs[:held], pairs[held : held + steps * batch]
    model = SentenceTransformer(str(locate(encoder)), device="cpu")
    model.max_seq_length = pieces
    rows = _recalls(model, tested, "before")
    log_line(f"training {steps} steps of {batch} pairs, {len(learned)} distinct ones")
    _train(model, learned, steps, batch, learning_rate, seed)
    report(f"{held} pairs held out, {steps} steps of {batch}", rows + _recalls(model, tested, "after"), json)


def _pairs(random: np.random.Generator) -> list[tuple[str, str]]:
    """Return first line and rest of documentation strings, by chance; those with equal first lines count once."""
    found: dict[str, str] = {}
    for document in documents_in(package_folders(), packages=_PACKAGES):
        first, _, rest = document.text.strip().partition("\n")
        if len(first.split()) >= _LEAST_WORDS <= len(rest.split()):
            found.setdefault(first, " ".join(rest.split()))
    pairs = list(found.items())
    return [pairs[row] for row in random.permutation(len(pairs)).tolist()]


def _train(model: Any, pairs: list[tuple[str, str]], steps: int, batch: int, rate: float, seed: int) -> None:
    from datasets import Dataset
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments

    anchors, positives = zip(*pairs, strict=True)
    with tempfile.TemporaryDirectory(prefix="texthash-") as folder:
        arguments = SentenceTransformerTrainingArguments(
            output_dir=folder,
            max_steps=steps,
            per_device_train_batch_size=batch,
            learning_rate=rate,
            warmup_steps=steps // 10,
            seed=seed,
            report_to="none",
            save_strategy="no",
            use_cpu=True,
            disable_tqdm=True,
        )
        SentenceTransformerTrainer(
            model=model,
            args=arguments,
            train_dataset=Dataset.from_dict({"anchor": anchors, "positive": positives}),
            loss=BinaryCodesLoss(model, widths=_WIDTHS),
        ).train()


def _recalls(model: Any, pairs: list[tuple[str, str]], when: str) -> list[dict[str, Any]]:
    """Return a row for each width, and one for the floats."""
    asked, searched = (
        model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
        for texts in zip(*pairs, strict=True)
    )
    rows = [{"model": when, "codes": "cosine"} | _recall(asked @ searched.T)]
    queries, documents = (np.where(some > 0, 1, -1).astype(np.float32) for some in (asked, searched))
    return rows + [
        {"model": when, "codes": f"{width} bits"} | _recall(queries[:, :width] @ documents[:, :width].T)
        for width in _WIDTHS
    ]


def _recall(scores: NDArray[np.floating]) -> dict[str, float]:
    """Return the recall of each query's own document, given the score of every document, [queries, documents]."""
    numbers = np.arange(len(scores))
    lists = [bucketed(Ranked(numbers, own), {query: 1}) for query, own in enumerate(scores)]
    found = by_query(lists, Cuts(recall=_CUTOFFS))
    return {name: mean(found[name].expected) for name in (f"recall_at_{cutoff}" for cutoff in _CUTOFFS)}
