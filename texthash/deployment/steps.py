"""Steps from a corpus to a release, one function each, which the command line and ``pipelines/`` share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from texthash.config import Config
from texthash.deployment.finish import finish
from texthash.deployment.release_model import make_release, register
from texthash.executor import Executor, LocalExecutor
from texthash.experiments import corpora
from texthash.experiments.experiment import Experiment
from texthash.experiments.trained_models import TrainedModel, best_of, find_model
from texthash.methods.registry import distinct_seeds
from texthash.nodes import check_tracking
from texthash.paths import StateDir
from texthash.progress import step
from texthash.tracking import Run, open_store

if TYPE_CHECKING:
    from texthash.evaluation.results import Evaluation
    from texthash.index.releases.release import Release
    from texthash.tuning.sweep_record import SweepResult


@dataclass(frozen=True)
class Trained:
    """Models of one configuration, one for each seed.

    Attributes:
        run: Tracking run in which the runs of the models are nested.
        models: Models in the order of the seeds.
        figures: Evaluations of each model by split.
        report: Path of the report on all models; None if the corpus allows no evaluation.
    """

    run: Run
    models: list[TrainedModel]
    figures: list[dict[str, Evaluation]]
    report: Path | None

    @property
    def best(self) -> dict[str, Any]:
        """Return plain values of the model with the best validation score."""
        return self.rows()[self.models.index(best_of(self.models))]

    def rows(self) -> list[dict[str, Any]]:
        """Return plain values of each model."""
        return [
            {
                "directory": str(model.directory),
                "run": model.run.run_id,
                **{split: evaluation.named_metrics for split, evaluation in found.items()},
            }
            for model, found in zip(self.models, self.figures, strict=True)
        ]


@dataclass(frozen=True)
class Evaluated:
    """Trained model, its evaluations by split, and the path of its report, if there is one."""

    model: TrainedModel
    figures: dict[str, Evaluation]
    report: Path | None


def prepare(config: Config, home: StateDir, executor: Executor = LocalExecutor()) -> dict[str, Any]:
    """Prepare a corpus unless it is prepared; log a description of it, and return the description as plain values."""
    from texthash.corpora.catalog import records
    from texthash.corpora.preparation.report import card, render
    from texthash.progress import log_line

    with step("prepare"):
        corpus = corpora.prepare(config, home, executor=executor)
    log_line(render(card(corpus, records().get(config.corpus.name))))
    manifest = corpus.manifest
    return {
        "path": str(corpus.path),
        "corpus": manifest.name,
        "edition": manifest.edition,
        "documents": manifest.documents,
        "dropped": manifest.dropped,
        "words": len(corpus.vocabulary),
        "labels": len(manifest.label_names),
        **({"queries": {name: counts.queries for name, counts in manifest.pairs.items()}} if manifest.pairs else {}),
    }


def train(config: Config, home: StateDir, executor: Executor = LocalExecutor()) -> Trained:
    """Train one model with each of ``config.seeds`` and evaluate all on validation; the test split is not used.

    A method whose models do not depend on the seed is trained with the first alone. On a cluster the models are trained
    by Ray Train. An interrupted call continues from the last epoch.
    """
    study = _experiment(config, home, executor)
    with study.start("train") as parent, step("train"):
        models, figures = [], []
        for seed in distinct_seeds(config.method.name, config.seeds):
            models.append(study.train(seed, parent=parent, distributed=executor.remote))
            figures.append(study.evaluate(models[-1], test=False))
        page = study.report(models, parent)
    return Trained(parent, models, figures, page)


def tune(config: Config, home: StateDir, executor: Executor) -> tuple[SweepResult | None, dict[str, Any]]:
    """Search hyper-parameters, train the final models, test each once, and release the best.

    With ``tuning.trials=0`` there is no search. The search and the training need a Ray cluster. A method that only
    re-ranks is neither registered nor released.

    Returns:
        Result of the search, if there was one, and a summary of plain values.
    """
    study = _experiment(config, home, executor)
    found = None
    if config.tuning.trials:
        with step("search"):
            parent, found = study.search()
        study, sweep = study.with_params(found.params), found.directory
    else:
        parent, sweep = study.without_search()
    with step("train, evaluate, release"):
        return found, finish(study, parent, sweep, found)


def evaluate(home: StateDir, name: str, *, test: bool = False) -> Evaluated:
    """Evaluate a trained model on validation and, for a final model, once on test.

    Args:
        home: State directory.
        name: Directory or name of the model, or ``latest``.
        test: Use the test split.
    """
    model = find_model(home, name)
    study = Experiment(model.config, home, corpora.corpus_of(model, home))
    with step(f"evaluate {model.name}"):
        found = study.evaluate(model, test=test)
        return Evaluated(model, found, study.report([model], model.run))


def release(home: StateDir, name: str, config: Config, executor: Executor = LocalExecutor()) -> Release:
    """Register a trained model, build its index, and release both if the model qualifies (``tracking.promote``).

    Args:
        home: State directory.
        name: Directory or name of the model, or ``latest``.
        config: Configuration whose sections ``tracking`` and ``index`` are used; the others are the model's.
        executor: Executor that builds the index.
    """
    model = find_model(home, name)
    merged = model.config.derive(tracking=config.tracking, index=config.index)
    study = Experiment(merged, home, corpora.corpus_of(model, home))
    with step(f"index {model.name}"):
        return make_release(study, model, register(study, model), executor=executor)


def _experiment(config: Config, home: StateDir, executor: Executor) -> Experiment:
    """Return the experiment of a configuration; check the tracking store before the corpus is prepared."""
    uri = open_store(config.tracking, home)
    if executor.remote:
        check_tracking(uri)
    with step("prepare"):
        corpus = corpora.prepare(config, home, executor=executor)
    return Experiment(config, home, corpus)
