"""Train a method on Ray Train, once for each of ``tuning.seeds``, and evaluate it on validation.

    python pipelines/train.py --config configs/quickstart.yaml method.name=vdsh method.bits=64
    ray job submit --working-dir . -- python pipelines/train.py --config configs/quickstart.yaml training.workers=2

Prepares the corpus if necessary. After an interruption, the same command resumes from the last epoch. The test split is
not used: pipelines/evaluate.py evaluates a final model on it. Prints the models and their validation metrics.
"""

import argparse
import sys
from typing import Any

from common import parser, ray_executor, run

from texthash.config import Config
from texthash.deployment import steps
from texthash.paths import StateDir
from texthash.tracking import open_store


def main(arguments: argparse.Namespace, config: Config, home: StateDir) -> dict[str, Any]:
    open_store(config.tracking, home)  # before a cluster is started
    with ray_executor(home) as executor:
        trained = steps.train(config, home, executor)
    return {"run": trained.run.run_id, "report": trained.report, "models": trained.rows()}


if __name__ == "__main__":
    sys.exit(run(parser(__doc__), main))
