"""Quality of the selection of epochs by the metric without labels, on corpora with labels.

Each method is trained for all epochs. After each, P@100 by labels and ``halves_hit_at_10`` without labels are measured
on validation; the table has the P@100 of the best epoch, of the last, and of the one that the metric without labels
selects.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.reporting import JsonOption, report
from texthash.config import Config, CorpusConfig, EvaluationConfig, TrainingConfig, load_config
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.evaluation.protocol import EvaluationProtocol
from texthash.evaluation.scoring import HALVES
from texthash.experiments.corpora import prepare
from texthash.methods.base import HashMethod
from texthash.methods.registry import build
from texthash.paths import resolve_home
from texthash.progress import log_line
from texthash.training.loop import fit


def command(
    json: JsonOption = None,
    config: Annotated[list[Path] | None, typer.Option(help="Configuration of a corpus; several times.")] = None,
    path: Annotated[list[Path] | None, typer.Option(help="A corpus of your own with labels; several times.")] = None,
    method: Annotated[list[str] | None, typer.Option(help="Name of a method; several times.")] = None,
    bits: Annotated[int, typer.Option(min=8, help="Length of the code.")] = 32,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of each training.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Seed of each training.")] = 0,
) -> None:
    """Measure P@100 of the epoch that is selected without labels, beside the best and the last one."""
    settings = [load_config(file) for file in config or ()]
    settings += [Config(corpus=CorpusConfig(name=file.name.split(".")[0], path=str(file))) for file in path or ()]
    rows = []
    for setting in settings:
        corpus = prepare(setting, resolve_home())
        for name in method or ["nash", "vdsh"]:
            curve = _curve(corpus, name, bits, TrainingConfig(epochs=epochs, patience=None, seed=seed))
            rows.append({"corpus": corpus.manifest.name, "method": name, "bits": bits, **summary(curve)})
            log_line(str(rows[-1]))
    report("epochs chosen without labels", rows, json)


def summary(curve: list[tuple[float, float]]) -> dict[str, Any]:
    """Describe the selected epoch, from the metrics of each epoch with labels and without."""
    labelled = [by_labels for by_labels, _ in curve]
    chosen = max(range(len(curve)), key=lambda epoch: curve[epoch][1])
    best = max(range(len(curve)), key=lambda epoch: labelled[epoch])
    return {
        "epochs": len(curve),
        "best": round(labelled[best], 4),
        "best_epoch": best + 1,
        "chosen": round(labelled[chosen], 4),
        "chosen_epoch": chosen + 1,
        "last": round(labelled[-1], 4),
    }


def _curve(corpus: PreparedCorpus, name: str, bits: int, training: TrainingConfig) -> list[tuple[float, float]]:
    by_labels = EvaluationProtocol(corpus, EvaluationConfig()).validator()
    without = EvaluationProtocol(corpus, EvaluationConfig(selection_metric=HALVES)).validator()
    curve: list[tuple[float, float]] = []

    def validate(method: HashMethod) -> float:
        curve.append((by_labels(method), without(method)))
        return curve[-1][0]

    fit(build(name, corpus.shape, bits, seed=training.seed), corpus.train, training, validate=validate)
    return curve
