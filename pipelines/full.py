"""Run the full pipeline: prepare, search, train on Ray Train, evaluate, register, index, release, serve.

    python pipelines/full.py --config configs/quickstart.yaml
    ray job submit --working-dir . -- python pipelines/full.py --config configs/quickstart.yaml

On a running cluster (RAY_ADDRESS, or a submitted job) the service keeps running after the program. Without one the
program starts a local cluster and serves in the foreground until Ctrl-C; ``--no-serve`` ends it after the release.
State is kept under TEXTHASH_HOME. Progress goes to stderr; stdout ends with a short summary, with ``--json`` with all
metrics as JSON.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common import parser, run

from texthash.cluster import cluster
from texthash.config import Config
from texthash.deployment import steps
from texthash.executor import RayExecutor
from texthash.methods.base import check_searchable
from texthash.methods.registry import get_method
from texthash.nodes import check_shared
from texthash.paths import StateDir
from texthash.progress import log_line, step
from texthash.service.foreground import foreground
from texthash.service.haproxy import haproxy_environment
from texthash.service.ports import check_ports
from texthash.tracking import open_store
from texthash.tracking.links import how_to_open, runs_page, user_interface

STDOUT = sys.stdout


def main(arguments: argparse.Namespace, config: Config, home: StateDir) -> None:
    started = time.monotonic()
    if not arguments.no_serve:  # before a cluster is started
        check_searchable(get_method(config.method.name).card)
        if not os.environ.get("RAY_ADDRESS"):
            check_ports(config.service)
    open_store(config.tracking, home)
    with haproxy_environment(), cluster() as local:
        check_shared(home.state, home.store)
        if not arguments.no_serve:
            # Serve reads its settings on import, so the import has to follow the environment above.
            from texthash.service.run import check_address, serve_release

            check_address(config.service)
        _, summary = steps.tune(config, home, RayExecutor())
        if not arguments.no_serve:
            with step("serve"):
                summary["url"] = serve_release(home, config.service)
        summary["seconds"] = round(time.monotonic() - started, 1)
        store = summary["tracking_uri"]
        server = user_interface(store, arguments.mlflow_port)
        summary["runs"] = runs_page(server, summary["experiment_id"])
        if not arguments.no_serve and local:
            with foreground(summary["url"]):
                _print(summary, arguments.json)
                log_line(f"MLflow: {how_to_open(store, arguments.mlflow_port)}")
        else:
            _print(summary, arguments.json)


def _print(summary: dict[str, Any], as_json: bool) -> None:
    text = json.dumps(summary, indent=2, default=str) if as_json else "\n".join(short(summary))
    print(text, file=STDOUT, flush=True)


def short(summary: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of a readable summary: models, metrics, release and addresses."""
    rows = [("model", ", ".join(Path(model["directory"]).name for model in summary["models"]))]
    for split in ("validation", "test"):
        found = [model["headlines"][split] for model in summary["models"] if split in model["headlines"]]
        rows += [(split, headline) for headline in found]
    rows += [("beside it", line) for line in dict.fromkeys(model["floor"] for model in summary["models"]) if line]
    if summary["trials"]:
        searched = summary["trials"][0]["params"]
        chosen = ", ".join(f"{name} {value}" for name, value in summary["params"].items() if name in searched)
        rows.append(("search", f"{len(summary['trials'])} trials; chosen: {chosen}"))
    release = summary["release"]
    rows.append(("release", f"{release['name']}, {release['documents']:,} documents"))
    rows += [(name, str(summary[name])) for name in ("report", "runs", "url") if summary.get(name)]
    rows.append(("took", f"{summary['seconds']:.0f} s"))
    return (f"{name:<11}{value}" for name, value in rows)


if __name__ == "__main__":
    options = parser(__doc__)
    options.add_argument("--no-serve", action="store_true", help="exit after the release is published")
    options.add_argument("--json", action="store_true", help="print all metrics as JSON")
    options.add_argument("--mlflow-port", type=int, default=5000, help="port of MLflow's user interface in the output")
    sys.exit(run(options, main))
