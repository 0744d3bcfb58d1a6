"""Register a trained model, build the index of its corpus and release both.

    python pipelines/index.py latest
    python pipelines/index.py nash-pydoc-random60-32b-s0-1a2b3c4d tracking.promote=always index.shards=4

The model becomes the champion, and its release the current one, if it beats the present champion on validation
(``tracking.promote``). A running service keeps its release until it reloads. Prints the release.
"""

import argparse
import sys
from dataclasses import asdict
from typing import Any

from common import parser, ray_executor, run

from texthash.config import Config
from texthash.deployment import steps
from texthash.experiments.trained_models import find_model
from texthash.paths import StateDir


def main(arguments: argparse.Namespace, config: Config, home: StateDir) -> dict[str, Any]:
    find_model(home, arguments.model)  # before a cluster is started
    with ray_executor(home) as executor:
        return asdict(steps.release(home, arguments.model, config, executor))


if __name__ == "__main__":
    options = parser(__doc__)
    options.add_argument("model", help="directory or name of a trained model, or latest")
    sys.exit(run(options, main))
