"""Search hyper-parameters, train the best ones again for each of ``tuning.seeds``, test once, register the best model.

    python pipelines/tune.py --config configs/sweeps/nash.yaml
    python pipelines/tune.py --config configs/sweeps/nash.yaml --dry-run
    python pipelines/tune.py --config configs/sweeps/nash.yaml --resume

``--dry-run`` prints the search space and bounds of its cost, estimated from earlier models. ``--resume`` continues the
latest unfinished sweep of the same configuration, after the program or its machine died. All selections use validation.
The best model becomes the champion, and its index is released, if it beats the present one (``--promote``,
``tracking.promote``). Prints trials, models and metrics.
"""

import argparse
import sys
from typing import Any

from common import parser, ray_executor, run

from texthash.config import Config
from texthash.deployment import steps
from texthash.paths import StateDir
from texthash.tracking import open_store
from texthash.tuning.cost_estimate import cost
from texthash.tuning.spaces import check_sweep, describe


def main(arguments: argparse.Namespace, config: Config, home: StateDir) -> dict[str, Any]:
    check_sweep(config)
    if arguments.dry_run:
        return {"method": config.method.name, "space": describe(config), **cost(config, home)}
    if arguments.resume:
        config = config.derive(tuning={"resume": True})
    if arguments.promote:
        config = config.derive(tracking={"promote": arguments.promote})
    open_store(config.tracking, home)  # before a cluster is started
    with ray_executor(home) as executor:
        return steps.tune(config, home, executor)[1]


if __name__ == "__main__":
    options = parser(__doc__)
    options.add_argument("--dry-run", action="store_true", help="print the search space and its cost, and exit")
    options.add_argument("--resume", action="store_true", help="resume an unfinished sweep")
    options.add_argument("--promote", help="if_better, always or never: when the best model becomes the champion")
    sys.exit(run(options, main))
