"""Work of other processes with a store, in a module that imports next to nothing."""

from __future__ import annotations

import multiprocessing
from multiprocessing.context import ForkServerContext


def warm_processes() -> ForkServerContext:
    """Return how such processes are started: by one that has imported MLflow, once for all of them."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mlflow", "texthash.tracking", __name__])
    return context


def log_many(run, worker):
    for step in range(20):
        run.metrics({f"m/{worker}": step}, step=step)


def register_and_fetch(registry, name, model_id, run, found):
    version = registry.register(name, model_id, run, method="lsh", score=0.5, data="d")
    found.put((version, str(registry.fetch(name, version)), str(registry.fetch(name, "1"))))
