"""Comparison of two trained models: configuration, metrics with tests of significance, and queries that changed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from texthash.errors import TexthashError, UsageError
from texthash.experiments.corpora import corpus_of
from texthash.experiments.trained_models import TrainedModel, find_model, model_directories, readable_models
from texthash.paths import StateDir
from texthash.tracking import Outbox

if TYPE_CHECKING:
    from texthash.evaluation.hard_queries import DocumentExcerpt
    from texthash.evaluation.results import Evaluation

_TESTED = ("p_at_{k}", "map", "ndcg_at_{k}", "recall_at_{k}", "mrr", "radius2_precision")


@dataclass(frozen=True)
class MetricChange:
    """Metric of both models, and its difference with interval and p-value (:mod:`texthash.evaluation.significance`)."""

    metric: str
    a: float
    b: float
    difference: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class QueryChange:
    """Query whose score differs between the models."""

    id: str
    labels: tuple[str, ...]
    a: float
    b: float
    text: str


@dataclass(frozen=True)
class Comparison:
    """Differences of model B from model A.

    Attributes:
        a, b: Names of the models.
        split: Split of the queries: test if both models were evaluated on it, else validation.
        config: Values of A and B by dotted key, where they differ.
        metrics: Tested metrics, B minus A.
        main: Metric by which queries are compared.
        better, worse, equal: Number of queries with a higher, lower or equal score with B.
        gained, lost: Queries with the largest gain and the largest loss.
    """

    a: str
    b: str
    split: str
    config: dict[str, tuple[Any, Any]]
    metrics: list[MetricChange]
    main: str
    better: int
    worse: int
    equal: int
    gained: list[QueryChange]
    lost: list[QueryChange]

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as plain values."""
        return asdict(self)


def compare(home: StateDir, first: str, second: str, queries: int = 5) -> Comparison:
    """Compare two evaluated models of one corpus and edition.

    Args:
        home: State directory of the models.
        first: Model A: directory, name, ``latest``, or id of its run.
        second: Model B, in the same forms.
        queries: Number of queries listed as gained, and as lost.

    Raises:
        UsageError: The models have different corpora or editions, or no evaluation in common.
        TexthashError: A model does not exist, or its corpus no longer exists.
    """
    from texthash.evaluation.results import Evaluation

    a, b = (find_run(home, name) for name in (first, second))
    _check_alike(a, b)
    split = next((s for s in ("test", "validation") if all((m.directory / s).is_dir() for m in (a, b))), None)
    if split is None:
        raise UsageError(
            f"{a.name} and {b.name} were not evaluated on the same split.", "run `texthash evaluate MODEL` for each."
        )
    ours, theirs = (Evaluation.load(model.directory / split) for model in (a, b))
    if ours.main != theirs.main:
        raise UsageError(
            f"{a.name} was evaluated by {ours.main}, {b.name} by {theirs.main}.", "train both with one evaluation.k."
        )
    corpus = corpus_of(a, home)
    change = theirs.per_query - ours.per_query
    known = ~np.isnan(change)
    order = np.argsort(np.where(known, change, 0.0), kind="stable")
    lost = [int(q) for q in order[:queries] if change[q] < 0]
    gained = [int(q) for q in order[::-1][:queries] if change[q] > 0]
    shown = _shown(corpus, split, [*lost, *gained])

    def changes(rows: list[int]) -> list[QueryChange]:
        return [
            QueryChange(
                shown[q].id, shown[q].labels, float(ours.per_query[q]), float(theirs.per_query[q]), shown[q].text
            )
            for q in rows
        ]

    return Comparison(
        a.name,
        b.name,
        split,
        _differing(a.config.flat(), b.config.flat()),
        _metrics(corpus, ours, theirs, a),
        ours.main,
        int((change[known] > 0).sum()),
        int((change[known] < 0).sum()),
        int((change[known] == 0).sum()),
        changes(gained),
        changes(lost),
    )


def _differing(a: dict[str, Any], b: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return both values of each key in which they differ; None for a missing one."""
    return {key: (a.get(key), b.get(key)) for key in dict.fromkeys((*a, *b)) if a.get(key) != b.get(key)}


def find_run(home: StateDir, name: str) -> TrainedModel:
    """Return a trained model by a name that :func:`find_model` accepts, or by the id of its tracking run.

    The first eight or more characters of the id suffice.
    """
    name = Outbox.of(home).local_id(name)
    candidates = sorted(model_directories(home, f"*-{name[:8]}")) if len(name) >= 8 else []
    for model in readable_models(candidates):
        if model.run.run_id.startswith(name):
            return model
    return find_model(home, name)


def _check_alike(a: TrainedModel, b: TrainedModel) -> None:
    for what, ours, theirs in (("editions", "/".join(a.edition), "/".join(b.edition)), ("data", a.data, b.data)):
        if ours != theirs:
            raise UsageError(
                f"{a.name} and {b.name} have different {what}: {ours} and {theirs}; their metrics are not comparable.",
                "compare models of one corpus and edition.",
            )


def _metrics(corpus: Any, ours: Evaluation, theirs: Evaluation, model: TrainedModel) -> list[MetricChange]:
    """Return the main metrics of both models with the difference B - A, each tested over the queries."""
    from texthash.evaluation.relevance import judged_queries
    from texthash.evaluation.scoring import by_query
    from texthash.evaluation.significance import paired

    judged = judged_queries(corpus, ours.split)
    config = model.config.evaluation
    per_query = [
        by_query(one.query_codes, one.database_codes, judged.relevance, config, measure=judged.measure)
        for one in (ours, theirs)
    ]
    found = []
    for metric in dict.fromkeys(name.format(k=config.k) for name in _TESTED):
        before, after = (values[metric].astype(np.float64) for values in per_query)
        test = paired(after, before)
        found.append(
            MetricChange(
                metric,
                float(np.nanmean(before)),
                float(np.nanmean(after)),
                test.difference,
                test.low,
                test.high,
                test.p,
            )
        )
    return found


def _shown(corpus: Any, split: str, queries: list[int]) -> dict[int, DocumentExcerpt]:
    """Return excerpts of queries by their number among the evaluated ones."""
    from texthash.evaluation.hard_queries import document_excerpts
    from texthash.evaluation.relevance import judged_queries

    judged = judged_queries(corpus, split)
    rows = {q: q if judged.query_rows is None else int(judged.query_rows[q]) for q in queries}
    documents = document_excerpts([judged.queries], rows.values())
    missing = [q for q, row in rows.items() if row not in documents]
    if missing:
        raise TexthashError(
            f"{corpus.path} has no query {missing[0]} on {split}.", "evaluate the models again on the current corpus."
        )
    return {q: documents[row] for q, row in rows.items()}
