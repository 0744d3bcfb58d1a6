"""Evaluate a trained model: on validation, and with ``--test`` once on test.

    python pipelines/evaluate.py latest
    python pipelines/evaluate.py nash-pydoc-random60-32b-s0-1a2b3c4d --test

The model is a directory under ``runs/models``, or its name there. Metrics, plots and a report are written to the
model's directory and its MLflow run. A second evaluation on test returns the results of the first. Prints the metrics.
"""

import argparse
import sys
from typing import Any

from common import parser, run

from texthash.config import Config
from texthash.deployment import steps
from texthash.paths import StateDir


def main(arguments: argparse.Namespace, config: Config, home: StateDir) -> dict[str, Any]:
    done = steps.evaluate(home, arguments.model, test=arguments.test)
    figures = {split: evaluation.named_metrics for split, evaluation in done.figures.items()}
    return {"model": done.model.directory, "report": done.report, **figures}


if __name__ == "__main__":
    options = parser(__doc__)
    options.add_argument("model", help="directory or name of a trained model, or latest")
    options.add_argument("--test", action="store_true", help="also evaluate on the test split, for a final model")
    sys.exit(run(options, main))
