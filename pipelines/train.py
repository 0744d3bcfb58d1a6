"""Train a method on Ray Train, once on each of ``tuning.seeds``, and evaluate it on validation.

    python pipelines/train.py --config configs/quickstart.yaml method.name=vdsh method.bits=64
    ray job submit --working-dir . -- python pipelines/train.py --config configs/quickstart.yaml training.workers=2

Prepares the corpus if need be. Interrupted, the same command goes on from the last epoch. The test split stays
closed: pipelines/evaluate.py opens it for a final model. Prints the models and their validation figures.
"""

import argparse
import sys
from typing import Any

from common import parser, run, step

from texthash.cluster import check_shared, cluster
from texthash.config import Config
from texthash.executor import RayExecutor
from texthash.experiments.experiment import Experiment, prepare
from texthash.paths import StateDir
from texthash.tracking import open_store


def main(arguments: argparse.Namespace, config: Config, home: StateDir) -> dict[str, Any]:
    open_store(config.tracking, home)
    with cluster():
        check_shared(home.root, home.store)
        with step("prepare"):
            corpus = prepare(config, home, executor=RayExecutor())
        study = Experiment(config, home, corpus)
        models = []
        with study.start("train") as parent, step("train"):
            for seed in config.seeds:
                model = study.train(seed, parent=parent, distributed=True)
                found = study.evaluate(model, test=False)
                models.append((model, {split: evaluation.named_metrics for split, evaluation in found.items()}))
            page = study.report([model for model, _ in models], parent)
    return {
        "run": parent.run_id,
        "report": page,
        "models": [{"directory": model.directory, **figures} for model, figures in models],
    }


if __name__ == "__main__":
    sys.exit(run(parser(__doc__), main))
