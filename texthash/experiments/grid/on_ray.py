"""Cells of a study side by side on a Ray cluster, as many as its CPUs and GPUs allow."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from texthash.experiments.grid.cells import with_threads
from texthash.experiments.grid.plan import Cell, Plan
from texthash.experiments.grid.run import Work


def side_by_side(plan: Plan, cells: Sequence[Cell], work: Work) -> Iterator[tuple[Cell, str | None]]:
    """Do the cells as tasks; a task whose process dies is started again, and goes on from its last epoch."""
    import ray

    there = ray.cluster_resources()
    cpus = min(plan.cpus_per_cell, int(there.get("CPU", 1)))
    waiting: dict[Any, Cell] = {}
    for cell in cells:
        training = cell.config.training
        resources: dict[str, Any] = {"num_cpus": cpus, "max_retries": training.max_failures}
        if cell.kind == "model" and training.use_gpu:
            resources["num_gpus"] = 1
        task = ray.remote(**resources)(_do)
        waiting[task.remote(cell, work, cpus)] = cell
    try:
        while waiting:
            [done], _ = ray.wait(list(waiting), num_returns=1)
            cell = waiting.pop(done)
            try:
                yield cell, ray.get(done)
            except ray.exceptions.RayError as error:  # what goes wrong in a cell is given back: this is its process
                yield cell, f"its process died {cell.config.training.max_failures + 1} times: {error}".splitlines()[0]
    finally:
        for task in waiting:
            ray.cancel(task)


def _do(cell: Cell, work: Work, threads: int) -> str | None:
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    with_threads(threads)
    return work(cell)
