"""Ablation of a method: each given change of its hyper-parameters alone, on validation.

Each row is one training, of which the best epoch by P@100 on validation is kept. A method whose codes can be cut is
measured at every usual width up to its own. Test is not used.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.reporting import JsonOption, report
from texthash.config import TrainingConfig, load_config
from texthash.evaluation.protocol import EvaluationProtocol
from texthash.experiments.experiment import prepare
from texthash.methods.registry import build
from texthash.paths import resolve_home
from texthash.progress import log_line
from texthash.training.loop import fit

WIDTHS = (16, 32, 64, 128, 256)


def command(
    json: JsonOption = None,
    config: Annotated[Path | None, typer.Option(help="Configuration of the corpus.")] = None,
    method: Annotated[str, typer.Option(help="Name of the method.")] = "texthash",
    change: Annotated[
        list[str] | None,
        typer.Option(help="A row: hyper-parameters that differ, such as `agreement=0.0 epochs=16`; none: defaults."),
    ] = None,
    bits: Annotated[int, typer.Option(min=8, help="Length of the code.")] = 128,
    seed: Annotated[int, typer.Option(min=0, help="Seed of each training.")] = 0,
) -> None:
    """Measure P@100 on validation of a method with one change at a time."""
    settings = load_config(config)
    corpus = prepare(settings, resolve_home())
    validate = EvaluationProtocol(corpus, settings.evaluation).validator()
    rows = []
    for row in change or ["none"]:
        given = [] if row == "none" else row.split()
        params = load_config(None, [f"method.params.{one}" for one in given]).method.params
        untrained = build(method, corpus.shape_with(settings.corpus.features), bits, params, seed)
        result = fit(untrained, corpus.train, TrainingConfig(patience=None, seed=seed), validate=validate)
        trained, epochs = result.method, [report for report in result.history if report.terms]
        cut = [width for width in WIDTHS if width < bits] if trained.nested else []
        scores: dict[str, Any] = {f"p@100, {width}": round(validate(trained.cut(width)), 4) for width in cut}
        scores[f"p@100, {bits}"] = round(validate(trained), 4)
        seconds = sum(report.seconds for report in epochs) / max(1, len(epochs))
        rows.append({"change": row, **scores, "epochs": len(epochs), "seconds per epoch": round(seconds, 2)})
        log_line(str(rows[-1]))
    report(f"{method} on validation", rows, json)
