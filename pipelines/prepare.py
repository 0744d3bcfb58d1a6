"""Prepare a corpus: words, vocabulary, splits, Parquet shards and a manifest.

    python pipelines/prepare.py --config configs/quickstart.yaml
    python pipelines/prepare.py corpus.name=mine corpus.path=documents.jsonl
    ray job submit --working-dir . -- python pipelines/prepare.py --config configs/quickstart.yaml

Prints what was prepared.
"""

import argparse
import sys
from typing import Any

from common import parser, run

from texthash.cluster import cluster
from texthash.config import Config
from texthash.deployment import steps
from texthash.executor import RayExecutor
from texthash.nodes import check_shared
from texthash.paths import StateDir


def main(arguments: argparse.Namespace, config: Config, home: StateDir) -> dict[str, Any]:
    with cluster():
        check_shared(home.store)
        return steps.prepare(config, home, RayExecutor())


if __name__ == "__main__":
    sys.exit(run(parser(__doc__), main))
