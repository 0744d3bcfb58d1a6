"""Pool of actors on a Ray cluster that follows it: more when nodes come, and the work of lost ones done by others."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any, NoReturn

from texthash.errors import TexthashError
from texthash.progress import log_line

_CALLS = 2  # of an actor: one runs while the next one waits
_LOOK_S = 1.0
_LINE_EVERY_S = 30.0


@dataclass
class _Work:
    """Task of the pool, and the number of actors that died over it."""

    task: Mapping[str, Any]
    deaths: int = 0


@dataclass
class ActorPool:
    """Actors that share tasks, each with a function of its own, made when it is first called.

    A task is given to an actor only once the actor runs, so one for which the cluster has no room keeps no task
    waiting. The tasks of an actor that dies, alone or with its node, go to others.

    Attributes:
        make: Function that returns an actor's function.
        options: Resources of an actor.
        retries: Number of actors that may die over one task.
        size: Function that returns the number of actors that the cluster can have at present.
    """

    make: Callable[[], Callable[..., Any]]
    options: Mapping[str, Any]
    retries: int
    size: Callable[[], int]
    _running: dict[Any, int] = field(default_factory=dict)  # number of calls by actor, of those that run
    _pending: dict[Any, tuple[Any, _Work | None]] = field(default_factory=dict)  # actor and task by call
    _drawn: deque[_Work] = field(default_factory=deque)  # tasks that no actor has
    _lost: int = 0  # actors that died before they ran
    _next_look: float = 0.0

    def run(self, tasks: Iterable[Mapping[str, Any]]) -> Iterator[Any]:
        """Yield the result of each task, in the order in which results are finished; then end the actors.

        Raises:
            RayError: More actors than ``retries`` died over a task, or before they ran.
        """
        import ray

        waiting, told = map(_Work, tasks), time.monotonic()
        try:
            while self._draw(1, waiting) or any(work for _, work in self._pending.values()):
                self._assign(waiting)
                self._grow(waiting)
                done, _ = ray.wait(list(self._pending), num_returns=1, timeout=_LOOK_S)
                if not done and not self._running and time.monotonic() - told > _LINE_EVERY_S:
                    told = time.monotonic()
                    log_line(f"waiting for room for a worker: {_described(self.options)}")
                for reference in done:
                    yield from self._received(reference)
        finally:
            for actor in {actor for actor, _ in self._pending.values()} | self._running.keys():
                ray.kill(actor)

    def _starting(self) -> int:
        """Return the number of actors that do not run yet."""
        return sum(work is None for _, work in self._pending.values())

    def _draw(self, count: int, waiting: Iterator[_Work]) -> bool:
        """Return whether so many tasks wait for an actor, and read them from the iterator where it has them."""
        self._drawn.extend(islice(waiting, max(0, count - len(self._drawn))))
        return len(self._drawn) >= count

    def _grow(self, waiting: Iterator[_Work]) -> None:
        """Start as many actors as the cluster can have at present, if each has a task that waits."""
        import ray

        starting = self._starting()
        if time.monotonic() < self._next_look or not self._draw(starting + 1, waiting):
            return
        self._next_look = time.monotonic() + _LOOK_S
        for _ in range(self.size() - starting - len(self._running)):
            if not self._draw(starting + 1, waiting):
                return
            actor: Any = ray.remote(**self.options, max_restarts=0)(_Worker).remote(self.make)
            self._pending[actor.ready.remote()] = actor, None
            starting += 1

    def _assign(self, waiting: Iterator[_Work]) -> None:
        """Give each actor without a task one, and then another one beyond those that are left for actors that start."""
        for calls in range(_CALLS):
            left = self._starting() if calls else 0
            for actor in [actor for actor, running in self._running.items() if running == calls]:
                if not self._draw(1 + left, waiting):
                    return
                work = self._drawn.popleft()
                self._pending[actor.call.remote(dict(work.task))] = actor, work
                self._running[actor] += 1

    def _received(self, reference: Any) -> Iterator[Any]:
        """Yield the result of a call, unless it was the first call of an actor, or its actor has died."""
        import ray

        if reference not in self._pending:  # of an actor that died meanwhile
            return
        actor, work = self._pending.pop(reference)
        try:
            result = ray.get(reference)
        except ray.exceptions.RayActorError as error:
            self._bury(actor, work, error)
            return
        except ray.exceptions.RayTaskError as error:
            raise_own(error)
        if work is None:
            self._running[actor], self._lost = 0, 0
            return
        self._running[actor] -= 1
        yield result

    def _bury(self, actor: Any, work: _Work | None, error: Exception) -> None:
        """Give the tasks of an actor that has died, or cannot be reached, to others."""
        import ray

        own = [call for call, (other, _) in self._pending.items() if other is actor]
        left = [work, *(self._pending.pop(call)[1] for call in own)]
        self._running.pop(actor, None)
        self._next_look = 0.0
        ray.kill(actor)
        if left == [None]:
            self._lost += 1
            if self._lost > self.retries:
                raise error
        for one in left:
            if one is not None:
                one.deaths += 1
                if one.deaths > self.retries:
                    raise error
                self._drawn.append(one)


class _Worker:
    """Function in an actor, made at the first task so that an error of ``make`` is the error of a task."""

    def __init__(self, make: Callable[[], Callable[..., Any]]) -> None:
        self._make = make

    @cached_property
    def _function(self) -> Callable[..., Any]:
        return self._make()

    def ready(self) -> None:
        """Return as soon as the actor runs."""

    def call(self, task: dict[str, Any]) -> Any:
        return self._function(**task)


def raise_own(error: Any) -> NoReturn:
    """Raise the error of a task, which Ray wraps in another class, if it is meant for users; else Ray's."""
    if isinstance(error.cause, TexthashError | OSError):
        raise error.cause from error
    raise error


def _described(options: Mapping[str, Any]) -> str:
    wanted = [
        f"{options[name]:g} {what}" for name, what in (("num_cpus", "CPUs"), ("num_gpus", "GPUs")) if options.get(name)
    ]
    return f"it needs {' and '.join(wanted) or 'a node'} free on one node"
