"""Evaluate a trained model: on validation, and with ``--test`` once on test.

    python pipelines/evaluate.py latest
    python pipelines/evaluate.py nash-pydoc-random60-32b-s0-1a2b3c4d --test

The model is a directory under ``runs/models``, or its name there. Figures, plots and a report go to the model's
directory and its MLflow run; asked for test again, the program gives what it found the first time. Prints the figures.
"""

import argparse
import sys
from typing import Any

from common import parser, run, step

from texthash.config import Config
from texthash.experiments.experiment import Experiment, corpus_of
from texthash.experiments.trained_models import find_model
from texthash.paths import StateDir


def main(arguments: argparse.Namespace, config: Config, home: StateDir) -> dict[str, Any]:
    model = find_model(home, arguments.model)
    study = Experiment(model.config, home, corpus_of(model, home))
    with step(f"evaluate {model.name}"):
        found = study.evaluate(model, test=arguments.test)
        page = study.report([model], model.run)
    return {"model": model.directory, "report": page, **{split: e.named_metrics for split, e in found.items()}}


if __name__ == "__main__":
    options = parser(__doc__)
    options.add_argument("model", help="directory or name of a trained model, or latest")
    options.add_argument("--test", action="store_true", help="open the test split, for a model that is final")
    sys.exit(run(options, main))
