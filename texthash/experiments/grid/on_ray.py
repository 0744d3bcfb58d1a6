"""Parallel execution of the cells of a study on a Ray cluster, limited by its CPUs and GPUs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from texthash.experiments.grid.cells import set_threads
from texthash.experiments.grid.plan import Cell, Plan
from texthash.experiments.grid.run import Work


def run_on_ray(plan: Plan, cells: Sequence[Cell], work: Work) -> Iterator[tuple[Cell, str | None]]:
    """Run the cells as Ray tasks; a task whose process dies is restarted and resumes from its last epoch."""
    import ray

    available = ray.cluster_resources()
    cpus = min(plan.cpus_per_cell, int(available.get("CPU", 1)))
    pending: dict[Any, Cell] = {}
    for cell in cells:
        training = cell.config.training
        resources: dict[str, Any] = {"num_cpus": cpus, "max_retries": training.max_failures}
        if cell.kind == "model" and training.use_gpu:
            resources["num_gpus"] = 1
        task = ray.remote(**resources)(_run_task)
        pending[task.remote(cell, work, cpus)] = cell
    try:
        while pending:
            [done], _ = ray.wait(list(pending), num_returns=1)
            cell = pending.pop(done)
            try:
                yield cell, ray.get(done)
            except ray.exceptions.RayError as error:  # the work returns failures of a cell; this one is its process's
                yield cell, f"its process died {cell.config.training.max_failures + 1} times: {error}".splitlines()[0]
    finally:
        for task in pending:
            ray.cancel(task)


def _run_task(cell: Cell, work: Work, threads: int) -> str | None:
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    set_threads(threads)
    return work(cell)
