"""Prepare a corpus: words, vocabulary, splits, Parquet shards and a manifest.

    python pipelines/prepare.py --config configs/quickstart.yaml
    python pipelines/prepare.py corpus.name=mine corpus.path=documents.jsonl
    ray job submit --working-dir . -- python pipelines/prepare.py --config configs/quickstart.yaml

Prints what was prepared.
"""

import argparse
import sys
from typing import Any

from common import parser, run, step

from texthash.cluster import check_shared, cluster
from texthash.config import Config
from texthash.executor import RayExecutor
from texthash.experiments.experiment import prepare
from texthash.paths import StateDir


def main(arguments: argparse.Namespace, config: Config, home: StateDir) -> dict[str, Any]:
    with cluster(), step("prepare"):
        check_shared(home.store)
        corpus = prepare(config, home, executor=RayExecutor())
    manifest = corpus.manifest
    return {
        "path": corpus.path,
        "corpus": manifest.name,
        "edition": manifest.edition,
        "documents": manifest.documents,
        "dropped": manifest.dropped,
        "words": len(corpus.vocabulary),
        "labels": len(manifest.label_names),
        **({"queries": {name: counts.queries for name, counts in manifest.pairs.items()}} if manifest.pairs else {}),
    }


if __name__ == "__main__":
    sys.exit(run(parser(__doc__), main))
