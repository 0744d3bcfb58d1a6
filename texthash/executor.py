"""One way to run tasks: in this process, or on the Ray cluster to which it is connected.

A task is a mapping of keyword arguments. A room says what its tasks are and which function does one of them;
the executor decides where and when. Results never depend on that choice.

On Ray there are two mechanisms, because neither serves both kinds of task well:

* Tasks **without a claim** are many, and name what they read and write, so arguments and results are small. Ray Data
  runs them in blocks: the driver schedules a block as one, and a block whose worker dies is run again as one.
* Tasks **with a** :class:`Claim` need resources or retries of their own, or pass arrays. Each is a Ray task, or a call
  of a Ray actor. Those of an iterator are made as workers become free, so that memory stays bounded.
"""

from __future__ import annotations

import os
import pickle
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from texthash.errors import TexthashError
from texthash.progress import log_line

if TYPE_CHECKING:
    import pyarrow as pa

Task = Mapping[str, Any]
Function = Callable[..., Any]
_BLOCKS_PER_WORKER = 8
_MAX_TASKS_PER_BLOCK = 16
_CALLS_PER_ACTOR = 2  # one runs while the next one waits


@dataclass(frozen=True)
class Claim:
    """Resources and retries of one task; only a cluster has to honour them.

    Attributes:
        cpus: CPUs that the task reserves; at most those of the cluster.
        gpus: GPUs that it reserves.
        prefer_gpu: Reserve one GPU in place of the CPUs where the cluster has GPUs.
        retries: Deaths of its process that the task survives.
    """

    cpus: float = 1
    gpus: float = 0
    prefer_gpu: bool = False
    retries: int = 3


class Executor(Protocol):
    """Run a function over tasks.

    Errors that a person is meant to read (:class:`TexthashError`, ``OSError``) arrive as themselves. Leaving the
    iterator early cancels what has not begun.
    """

    @property
    def workers(self) -> int:
        """Number of tasks that run at a time."""

    @property
    def remote(self) -> bool:
        """Whether tasks run in other processes, so that each costs a message and sees no memory of this one."""

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
            function: Does one task; a process that runs it has to be able to import it.
            tasks: Keyword arguments of each call.
            shared: A large object that every call gets as its first argument; stored once on each node.
            claim: What a task reserves, or a function that gives it for each task.
            lost: Gives the result of a task whose process died more often than it may; None: that is an error.
        """

    def map_with(
        self, make: Callable[[], Function], tasks: Iterable[Task], *, claim: Claim | None = None
    ) -> Iterator[Any]:
        """As :meth:`map`, with a function that ``make`` makes once in each worker, for one that takes long to load."""


@dataclass(frozen=True)
class LocalExecutor:
    """Runs tasks in this process; results come in the order of the tasks.

    Args:
        threads: Tasks that run at a time; None: as many as this process has cores.
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
            # No more tasks are under way than can be worked on, so memory is bounded however slowly results are taken.
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
        """What takes long to load is loaded once, so its tasks run one after the other."""
        function = make()
        yield from (function(**task) for task in tasks)


@dataclass(frozen=True)
class RayExecutor:
    """Runs tasks on the Ray cluster to which this process is connected. Paths in tasks have to be seen by all nodes.

    Args:
        limit: Most tasks that run at a time; None: one for each CPU of the cluster.
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

        # Ray Data looks for finished tasks every 0.1 s. Where the CPUs are the limit, twice as many are handed to
        # Ray, which keeps the others waiting and starts one as soon as a worker is free.
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
        # The tasks of a collection exist already, and Ray orders them by what they claim better than a window would.
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
        import ray

        options = {**_resources(claim), "max_restarts": claim.retries, "max_task_retries": claim.retries}
        gpus = int(ray.cluster_resources().get("GPU", 0)) if claim.prefer_gpu else 0
        pool: list[Any] = [
            ray.remote(**options)(_Worker).remote(make) for _ in range(self.limit or gpus or self.workers)
        ]
        waiting = iter(tasks)
        pending: dict[Any, Any] = {}
        try:
            for actor in pool * _CALLS_PER_ACTOR:
                pending.update({actor.call.remote(dict(task)): actor for task in islice(waiting, 1)})
            while pending:
                [done], _ = ray.wait(list(pending), num_returns=1)
                actor = pending.pop(done)
                pending.update({actor.call.remote(dict(task)): actor for task in islice(waiting, 1)})
                yield _result(done)
        finally:
            for actor in pool:
                ray.kill(actor)


def executor(distributed: bool) -> Executor:
    """Return the executor of the connected Ray cluster, or that of this process."""
    return RayExecutor() if distributed else LocalExecutor()


def blocks_of(tasks: int, workers: int) -> int:
    """Number of blocks for some tasks: enough to keep workers busy to the end, few enough for the driver, which spends
    some 10 ms on each."""
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
    # Room is set aside for what each operator might put into the object store; on a small store that lets a second
    # worker start only now and then. These tasks put next to nothing there.
    dataset.context.op_resource_reservation_enabled = False
    # Nor may a worker wait until the driver has taken up the outcome of another: they are a few bytes.
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
    """A function in a process of Ray Data that stays."""

    def __init__(self, make: Callable[[], Function]) -> None:
        self._function = make()

    def __call__(self, tasks: pa.Table) -> pa.Table:
        return _outcomes(self._function, tasks)


class _Worker:
    """A function in a Ray actor, made at its first task so that an error of it is the error of a task."""

    def __init__(self, make: Callable[[], Function]) -> None:
        self._make = make

    @cached_property
    def _function(self) -> Function:
        return self._make()

    def call(self, task: dict[str, Any]) -> Any:
        return self._function(**task)


def _outcomes(function: Function, tasks: pa.Table) -> pa.Table:
    import pyarrow as pa

    return pa.table({"outcome": pa.array([_outcome(function, task) for task in tasks.to_pylist()], pa.binary())})


def _outcome(function: Function, task: Task) -> bytes:
    """What a task gave, or its error: Ray would wrap an error in a class of its own."""
    try:
        return pickle.dumps(function(**task))
    except (TexthashError, OSError) as error:
        return pickle.dumps(error)


def _call(function: Function, task: dict[str, Any], *shared: Any) -> Any:
    return function(*shared, **task)


def _result(reference: Any) -> Any:
    """The result of a Ray task. Ray raises a class of its own in place of an error, which is undone here."""
    import ray

    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, TexthashError | OSError):
            raise error.cause from error
        raise


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
