"""Completion of an experiment: final models, their single evaluation on test, the registry and the release."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from texthash.deployment.kept_writes import WritesNotKeptError
from texthash.deployment.release_model import has_nothing_to_release, make_release, register
from texthash.executor import RayExecutor
from texthash.experiments.experiment import Experiment
from texthash.experiments.trained_models import best_of
from texthash.methods.registry import distinct_seeds, get_method
from texthash.progress import log_line, warn
from texthash.tracking import Run

if TYPE_CHECKING:
    from texthash.tuning.sweep_record import SweepResult


def finish(experiment: Experiment, parent: Run, sweep: Path, found: SweepResult | None) -> dict[str, Any]:
    """Train the final models on Ray Train, one per seed, test each once, and release the best by validation.

    Models that an interrupted call has trained for the same run are reused. A method that only re-ranks is not
    released, since it has no code of a document to search by; nor is any with ``tracking.promote=never`` where there is
    no champion, nor in place of a release that was written to, which a warning tells.

    Args:
        experiment: Experiment with the final hyper-parameters.
        parent: Run of the experiment, which is ended here.
        sweep: Directory of its record, which is marked as finished here.
        found: Result of the search of hyper-parameters, if there was one.

    Returns:
        Summary of plain values.
    """
    from texthash.tuning.sweep_record import close_sweep

    with parent:
        models = [
            experiment.find_trained(seed, parent) or experiment.train(seed, parent=parent, distributed=True)
            for seed in distinct_seeds(experiment.config.method.name, experiment.config.seeds)
        ]
        evaluations = [experiment.evaluate(model, test=True) for model in models]
        page = experiment.report(models, parent)
        best = best_of(models)
        version = release = None
        if not get_method(best.config.method.name).card.only_reranks:
            version = register(experiment, best) if experiment.config.tracking.register_model else None
            if has_nothing_to_release(experiment, version):
                log_line(f"promote: tracking.promote=never, and {experiment.model_name} has no champion: no release")
            else:
                try:
                    release = make_release(experiment, best, version, executor=RayExecutor())
                except WritesNotKeptError as error:  # The models are trained and registered; only the release is left.
                    warn(f"{error.problem} {error.remedy}")
    close_sweep(sweep)
    return {
        "run": parent.run_id,
        "tracking_uri": experiment.tracker.uri,
        "experiment_id": experiment.tracker.experiment_id,
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
        "registered": {"name": experiment.model_name, "version": version} if version else None,
        "release": {"name": release.name, "documents": release.documents, "model_version": release.model_version}
        if release
        else None,
    }
