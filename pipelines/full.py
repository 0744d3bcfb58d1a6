"""The whole way: prepare, search, train on Ray Train, evaluate, register, index, release, serve.

    python pipelines/full.py --config configs/quickstart.yaml
    ray job submit --working-dir . -- python pipelines/full.py --config configs/quickstart.yaml

On a running cluster (RAY_ADDRESS, or a submitted job) the service goes on after the program. Without one the program
starts a local cluster and stays in the foreground, serving, until Ctrl-C; ``--no-serve`` ends it before that. State
lies under TEXTHASH_HOME. Progress goes to stderr; the last thing on stdout is a summary, on a terminal as tables, into
a file or a pipe as JSON (so that ``| cat`` shows that).
"""

import argparse
import sys
import time
from typing import Any

from common import parser, run, step

from texthash.cli.output import present
from texthash.cluster import check_shared, cluster
from texthash.config import Config
from texthash.deployment.finish import finish
from texthash.experiments.experiment import Study, prepare
from texthash.paths import Home
from texthash.progress import say
from texthash.service.foreground import foreground
from texthash.service.haproxy import fast_form
from texthash.tracking import open_store

STDOUT = sys.stdout


def main(arguments: argparse.Namespace, config: Config, home: Home) -> dict[str, Any] | None:
    started = time.monotonic()
    open_store(config.tracking, home)
    with fast_form(), cluster() as local:
        check_shared(home.root, home.store)
        if not arguments.no_serve:
            # Serve reads its settings when it is imported, which is now.
            from texthash.service.run import check_address, serve_release

            check_address(config.service)
        with step("prepare"):
            corpus = prepare(config, home, distributed=True)
        study = Study(config, home, corpus)
        found = None
        if config.tuning.trials:
            with step("search"):
                parent, found = study.search()
            study = study.with_params(found.params)
        else:
            parent = study.start()
        with step("train, evaluate, release"):
            summary = finish(study, parent, found)
        if not arguments.no_serve:
            with step("serve"):
                summary["url"] = serve_release(home, config.service)
        summary["seconds"] = round(time.monotonic() - started, 1)
        if arguments.no_serve or not local:
            return summary
        with foreground(summary["url"]):
            present(summary, STDOUT)
            say(f"runs: mlflow ui --host 127.0.0.1 --port 5000 --backend-store-uri {study.tracker.uri}")
        return None


if __name__ == "__main__":
    options = parser(__doc__)
    options.add_argument("--no-serve", action="store_true", help="end after the release is published")
    sys.exit(run(options, main))
