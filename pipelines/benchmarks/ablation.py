"""Ablation of a method: each given change of its hyper-parameters alone, on validation.

Each row is one training, of which the best epoch by P@100 on validation is kept. A method whose codes can be cut is
measured at every usual width up to its own. Test is not used. With ``--query-words`` a column more has a few words of
each validation document in its place, drawn at random: what finds documents by documents may fail for short queries.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.reporting import JsonOption, report
from texthash.config import EvaluationConfig, TrainingConfig, load_config
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.corpora.prepared.halves import Half
from texthash.evaluation.protocol import EvaluationProtocol
from texthash.evaluation.scoring import Relevance, score
from texthash.experiments.corpora import prepare
from texthash.methods.base import HashMethod
from texthash.methods.registry import build
from texthash.models.hasher import Hasher
from texthash.paths import resolve_home
from texthash.progress import log_line
from texthash.training.loop import fit

WIDTHS = (16, 32, 64, 128, 256)
_QUERIES = 2_000


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
    query_words: Annotated[int | None, typer.Option(min=1, help="Measure queries of so many words too.")] = None,
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
        if query_words is not None:
            scores[f"p@100, {query_words} words"] = round(_of_few_words(trained, corpus, query_words), 4)
        seconds = sum(report.seconds for report in epochs) / max(1, len(epochs))
        rows.append({"change": row, **scores, "epochs": len(epochs), "seconds per epoch": round(seconds, 2)})
        log_line(str(rows[-1]))
    report(f"{method} on validation", rows, json)


def _of_few_words(method: HashMethod, corpus: PreparedCorpus, count: int) -> float:
    """Return P@100 of queries of ``count`` words of each of up to 2,000 validation documents."""
    indptr, tokens = corpus.validation.tokens
    generator = np.random.default_rng(0)
    rows = np.sort(generator.permutation(np.flatnonzero(np.diff(indptr)))[:_QUERIES])
    documents = [np.unique(tokens[indptr[row] : indptr[row + 1]]) for row in rows]
    words = [generator.choice(own, min(count, len(own)), replace=False) for own in documents]
    queries, hasher = Half(corpus.validation, "few-words", rows, words), Hasher.of(method, corpus)
    relevance = Relevance(queries.label_ids, corpus.train.label_ids)
    codes = hasher.encode_split(queries), hasher.encode_split(corpus.train)
    return score(*codes, relevance, EvaluationConfig(k=100, curve=[100])).metrics["p_at_100"]
