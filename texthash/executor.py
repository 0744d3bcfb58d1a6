"""Executors: they run tasks in this process, or on the Ray cluster to which it is connected.

A task is a mapping of keyword arguments. A room defines its tasks and the function that performs one of them; the
executor decides where and when. Results never depend on that choice.

On Ray there are two mechanisms, because neither suits both kinds of task:

* Tasks **without a claim** are numerous, and contain the paths of their input and output, so arguments and results are
  small. Ray Data runs them in blocks: the driver schedules a block as a unit, and a block whose worker dies is run
  again as a unit.
* Tasks **with a** :class:`Claim` need resources or retries of their own, or pass arrays. Each is a Ray task, or a call
  of a Ray actor. An iterator of tasks is read as workers become free, so that memory stays bounded.
"""

from __future__ import annotations

import os
import pickle
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from texthash.actor_pool import ActorPool, raise_own
from texthash.errors import TexthashError
from texthash.progress import log_line

if TYPE_CHECKING:
    import pyarrow as pa

Task = Mapping[str, Any]
Function = Callable[..., Any]
_BLOCKS_PER_WORKER = 8
_MAX_TASKS_PER_BLOCK = 16


@dataclass(frozen=True)
class Claim:
    """Resources and retries of one task on a cluster; ignored in one process.

    Attributes:
        cpus: Number of CPUs that the task reserves; at most those of the cluster.
        gpus: Number of GPUs that the task reserves.
        prefer_gpu: Reserve one GPU in place of the CPUs if the cluster has GPUs.
        retries: Number of times that the task is started again after its process died.
    """

    cpus: float = 1
    gpus: float = 0
    prefer_gpu: bool = False
    retries: int = 3


class Executor(Protocol):
    """Protocol of objects that run a function over tasks.

    Errors that are meant for users (:class:`TexthashError`, ``OSError``) are raised unchanged. Leaving the iterator
    early cancels the tasks that have not begun.
    """

    @property
    def workers(self) -> int:
        """Number of tasks that run at a time."""

    @property
    def remote(self) -> bool:
        """True if tasks run in other processes, so that each needs a message and shares no memory with this one."""

    def map(
        self,
        function: Function,
        tasks: Iterable[Task],
        *,
        shared: Any = None,
        claim: Claim | Callable[[Task], Claim] | None = None,
        lost: Callable[[Task, Exception], Any] | None = None,
    ) -> Iterator[Any]:
        """Yield ``function(**task)`` for each task, in the order in which results are finished.

        Args:
            function: Function that performs one task; other processes must be able to import it.
            tasks: Keyword arguments of each call.
            shared: Large object that every call gets as its first argument; stored once on each node.
            claim: Claim of every task, or a function that returns the claim of a task.
            lost: Function that returns the result of a task whose process died more often than its retries allow; None:
                that is an error.
        """

    def map_with(
        self, make: Callable[[], Function], tasks: Iterable[Task], *, claim: Claim | None = None
    ) -> Iterator[Any]:
        """Run tasks as :meth:`map` does, by a function that ``make`` returns once in each worker.

        This is for a function with state that takes long to load, such as a model.
        """


@dataclass(frozen=True)
class LocalExecutor:
    """Executor in this process; results are in the order of the tasks.

    Args:
        threads: Number of tasks that run at a time; None: the number of cores of this process.
    """

    threads: int | None = 1

    @property
    def workers(self) -> int:
        return self.threads or cores()

    @property
    def remote(self) -> bool:
        return False

    def map(
        self,
        function: Function,
        tasks: Iterable[Task],
        *,
        shared: Any = None,
        claim: Claim | Callable[[Task], Claim] | None = None,
        lost: Callable[[Task, Exception], Any] | None = None,
    ) -> Iterator[Any]:
        call = _with_shared(function, shared)
        if self.workers == 1:
            yield from (call(**task) for task in tasks)
            return
        waiting = iter(tasks)
        with ThreadPoolExecutor(self.workers, thread_name_prefix="executor") as pool:
            # No more tasks are begun than there are threads, so memory is bounded however slowly results are consumed.
            pending: deque[Future[Any]] = deque(pool.submit(call, **task) for task in islice(waiting, 2 * self.workers))
            try:
                while pending:
                    yield pending.popleft().result()
                    pending.extend(pool.submit(call, **task) for task in islice(waiting, 1))
            finally:
                for future in pending:
                    future.cancel()

    def map_with(
        self, make: Callable[[], Function], tasks: Iterable[Task], *, claim: Claim | None = None
    ) -> Iterator[Any]:
        """Run tasks as :meth:`map_with` of the protocol, one after the other, by one function."""
        function = make()
        yield from (function(**task) for task in tasks)


@dataclass(frozen=True)
class RayExecutor:
    """Executor on the Ray cluster to which this process is connected. All nodes must be able to access paths in tasks.

    Args:
        limit: Largest number of tasks that run at a time; None: one for each CPU of the cluster.
    """

    limit: int | None = None

    def __post_init__(self) -> None:
        cpus = _cluster_cpus()
        if self.limit is not None and self.limit > cpus:
            log_line(f"the cluster has {cpus} CPUs: {cpus} workers instead of {self.limit}")

    @property
    def workers(self) -> int:
        cpus = _cluster_cpus()
        return min(self.limit or cpus, cpus)

    @property
    def remote(self) -> bool:
        return True

    def map(
        self,
        function: Function,
        tasks: Iterable[Task],
        *,
        shared: Any = None,
        claim: Claim | Callable[[Task], Claim] | None = None,
        lost: Callable[[Task, Exception], Any] | None = None,
    ) -> Iterator[Any]:
        if claim is not None:
            yield from self._tasks(function, tasks, shared, claim if callable(claim) else lambda task: claim, lost)
            return
        call, listed = _with_shared(function, shared), list(tasks)
        yield from _on_ray_data(self.workers, partial(_outcomes, call), listed, self._task_pool(len(listed)))

    def map_with(
        self, make: Callable[[], Function], tasks: Iterable[Task], *, claim: Claim | None = None
    ) -> Iterator[Any]:
        if claim is not None:
            yield from self._actors(make, tasks, claim)
            return
        import ray

        listed = list(tasks)
        pool = ray.data.ActorPoolStrategy(size=max(1, min(self.workers, blocks_of(len(listed), self.workers))))
        yield from _on_ray_data(self.workers, _BlockWorker, listed, pool, fn_constructor_args=(make,))

    def _task_pool(self, tasks: int) -> Any:
        import ray

        # Ray Data checks for finished tasks every 0.1 s. If the CPUs are the limit, twice as many tasks are submitted
        # to Ray, which queues the others and starts one as soon as a worker is free.
        in_flight = 2 * self.workers if self.workers >= _cluster_cpus() else self.workers
        return ray.data.TaskPoolStrategy(size=max(1, min(in_flight, blocks_of(tasks, self.workers))))

    def _tasks(
        self,
        function: Function,
        tasks: Iterable[Task],
        shared: Any,
        claim_of: Callable[[Task], Claim],
        lost: Callable[[Task, Exception], Any] | None,
    ) -> Iterator[Any]:
        import ray

        first = () if shared is None else (ray.put(shared),)

        def submit(task: Task) -> Any:
            claim = claim_of(task)
            options = {**_resources(claim), "max_retries": claim.retries}
            return ray.remote(**options)(_call).remote(function, dict(task), *first)

        waiting = iter(tasks)
        # All tasks of a collection are submitted at once, because Ray orders them by their claims better than a window.
        window = len(tasks) if isinstance(tasks, Collection) else 2 * self.workers
        pending = {submit(task): task for task in islice(waiting, window)}
        try:
            while pending:
                [done], _ = ray.wait(list(pending), num_returns=1)
                task = pending.pop(done)
                pending.update({submit(other): other for other in islice(waiting, 1)})
                try:
                    result = _result(done)
                except ray.exceptions.RayError as error:
                    if lost is None:
                        raise
                    result = lost(task, error)
                yield result
        finally:
            for reference in pending:
                ray.cancel(reference)

    def _actors(self, make: Callable[[], Function], tasks: Iterable[Task], claim: Claim) -> Iterator[Any]:
        pool = ActorPool(make, _resources(claim), claim.retries, partial(self._actors_now, claim))
        yield from pool.run(tasks)

    def _actors_now(self, claim: Claim) -> int:
        import ray

        gpus = int(ray.cluster_resources().get("GPU", 0)) if claim.prefer_gpu else 0
        return self.limit or gpus or self.workers


def executor(distributed: bool) -> Executor:
    """Return the executor of the connected Ray cluster, or that of this process."""
    return RayExecutor() if distributed else LocalExecutor()


def blocks_of(tasks: int, workers: int) -> int:
    """Return the number of blocks for some tasks.

    There are enough to keep the workers busy to the end, and few enough for the driver, which needs about 10 ms for
    each.
    """
    return max(min(tasks, _BLOCKS_PER_WORKER * workers), tasks // _MAX_TASKS_PER_BLOCK)


def _on_ray_data(workers: int, call: Any, tasks: list[Task], pool: Any, **options: Any) -> Iterator[Any]:
    import ray

    if not tasks:
        return
    dataset = ray.data.from_items(tasks, override_num_blocks=blocks_of(len(tasks), workers)).map_batches(
        call,
        batch_size=None,
        batch_format="pyarrow",
        compute=pool,
        **options,
    )
    # Ray Data reserves space in the object store for the results of each operator; with a small store it then seldom
    # starts a second worker. The results of these tasks take almost no space.
    dataset.context.op_resource_reservation_enabled = False
    # A worker need not wait until the driver has read the results of another either, since they are a few bytes.
    dataset.context.downstream_capacity_backpressure_ratio = None
    dataset.context.enable_progress_bars = False
    tables: Iterator[pa.Table] = iter(dataset.iter_batches(batch_size=None, batch_format="pyarrow"))
    for block in tables:
        for packed in block["outcome"].to_pylist():
            outcome = pickle.loads(packed)
            if isinstance(outcome, Exception):
                raise outcome
            yield outcome


class _BlockWorker:
    """Function in a long-lived process of Ray Data."""

    def __init__(self, make: Callable[[], Function]) -> None:
        self._function = make()

    def __call__(self, tasks: pa.Table) -> pa.Table:
        return _outcomes(self._function, tasks)


def _outcomes(function: Function, tasks: pa.Table) -> pa.Table:
    import pyarrow as pa

    return pa.table({"outcome": pa.array([_outcome(function, task) for task in tasks.to_pylist()], pa.binary())})


def _outcome(function: Function, task: Task) -> bytes:
    """Return the pickled result or error of a task, because Ray would wrap an error in a class of its own."""
    try:
        return pickle.dumps(function(**task))
    except (TexthashError, OSError) as error:
        return pickle.dumps(error)


def _call(function: Function, task: dict[str, Any], *shared: Any) -> Any:
    return function(*shared, **task)


def _result(reference: Any) -> Any:
    """Return the result of a Ray task, or raise its own error."""
    import ray

    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise_own(error)


def _resources(claim: Claim) -> dict[str, Any]:
    import ray

    there = ray.cluster_resources()
    if claim.prefer_gpu and there.get("GPU", 0):
        return {"num_gpus": 1}
    return {"num_cpus": min(claim.cpus, max(1.0, there.get("CPU", 1))), "num_gpus": claim.gpus}


def _with_shared(function: Function, shared: Any) -> Function:
    return function if shared is None else partial(function, shared)


def _cluster_cpus() -> int:
    import ray

    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def cores() -> int:
    """Return the number of CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
