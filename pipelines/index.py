"""Register a trained model, build the index of its corpus and release both.

    python pipelines/index.py latest
    python pipelines/index.py nash-pydoc-random60-32b-s0-1a2b3c4d tracking.promote=always index.shards=4

The model becomes the champion, and what is served, if it beats the present champion on validation
(``tracking.promote``). A service that runs goes on with its release until it is told of the new one. Prints that.
"""

import argparse
import sys
from dataclasses import asdict
from typing import Any

from common import parser, run, step

from texthash.cluster import check_shared, cluster
from texthash.config import Config
from texthash.deployment.release_model import make_release, register
from texthash.executor import RayExecutor
from texthash.experiments.experiment import Experiment, corpus_of
from texthash.experiments.trained_models import find_model
from texthash.paths import StateDir


def main(arguments: argparse.Namespace, config: Config, home: StateDir) -> dict[str, Any]:
    model = find_model(home, arguments.model)
    merged = model.config.derive(tracking=config.tracking, index=config.index)
    study = Experiment(merged, home, corpus_of(model, home))
    with cluster(), step(f"index {model.name}"):
        check_shared(home.root, home.store)
        return asdict(make_release(study, model, register(study, model), executor=RayExecutor()))


if __name__ == "__main__":
    options = parser(__doc__)
    options.add_argument("model", help="directory or name of a trained model, or latest")
    sys.exit(run(options, main))
