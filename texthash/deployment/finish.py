"""The second half of a study: final models, their one look at test, the registry and the release."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from texthash.deployment.release_model import make_release, register
from texthash.executor import RayExecutor
from texthash.experiments.experiment import Experiment
from texthash.experiments.trained_models import best_of
from texthash.tracking import Run

if TYPE_CHECKING:
    from texthash.tuning.sweep import SweepResult


def finish(study: Experiment, parent: Run, found: SweepResult | None) -> dict[str, Any]:
    """Train the final models on Ray Train, one a seed, test each once, and release the best by validation.

    Models that an interrupted call has made for the same run are not made again.

    Args:
        study: With the hyper-parameters that the models are to have.
        parent: The study's run; ended here.
        found: What the search found, if there was one.

    Returns:
        A summary of plain values.
    """
    from texthash.tuning.sweep import close_sweep

    with parent:
        models = [
            study.find_trained(seed, parent) or study.train(seed, parent=parent, distributed=True)
            for seed in study.config.seeds
        ]
        evaluations = [study.evaluate(model, test=True) for model in models]
        page = study.report(models, parent)
        best = best_of(models)
        version = register(study, best) if study.config.tracking.register_model else None
        release = make_release(study, best, version, executor=RayExecutor())
    if found:
        close_sweep(found)
    return {
        "run": parent.run_id,
        "tracking_uri": study.tracker.uri,
        "experiment_id": study.tracker.experiment_id,
        "trials": [asdict(trial) for trial in found.trials] if found else [],
        "params": best.config.method.params,
        "models": [
            {
                "directory": str(model.directory),
                "headlines": {split: e.headline for split, e in figures.items()},
                "floor": figures["validation"].floor_line if figures else "",
                **{split: e.named_metrics for split, e in figures.items()},
            }
            for model, figures in zip(models, evaluations, strict=True)
        ],
        "report": str(page) if page else None,
        "registered": {"name": study.model_name, "version": version} if version else None,
        "release": {"name": release.name, "documents": release.documents, "model_version": release.model_version},
    }
