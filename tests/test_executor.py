"""Executors: the same results in this process and on a cluster, errors as themselves, and lost tasks accounted for."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from texthash.actor_pool import ActorPool
from texthash.errors import CorpusError, TexthashError, as_user_error
from texthash.executor import Claim, Executor, LocalExecutor, RayExecutor, Task

TASKS = [{"number": number} for number in range(20)]


def square(number: int) -> int:
    return number * number


def refused(number: int) -> int:
    raise CorpusError(f"{number} is wrong.", "give another one.")


def taken(array: np.ndarray, number: int) -> int:
    return int(array[number])


def killed(number: int, folder: Path, deaths: int) -> int:
    """Kill this process as often as wanted, then give the number."""
    found = len(list(folder.glob(f"{number}-*")))
    if number == 3 and found < deaths:
        (folder / f"{number}-{found}").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def loaded(folder: Path) -> Callable[[int], int]:
    (folder / f"loaded-{os.getpid()}").touch()
    return square


def broken() -> Callable[[int], int]:
    raise CorpusError("the model is gone.", "fetch it again.")


def is_lost(task: Task, error: Exception) -> str:
    return f"{task['number']} is lost"


def check(executor: Executor, folder: Path) -> None:
    squares = [number * number for number in range(20)]
    for claim in (None, Claim(), lambda task: Claim(cpus=0.5)):
        assert sorted(executor.map(square, TASKS, claim=claim)) == squares
        assert sorted(executor.map(square, iter(TASKS), claim=claim)) == squares
        assert sorted(executor.map(taken, TASKS, shared=np.array(squares), claim=claim)) == squares
        assert list(executor.map(square, [], claim=claim)) == []
        with pytest.raises(CorpusError, match=r"\d+ is wrong\.\s+remedy: give another one\."):
            list(executor.map(refused, TASKS, claim=claim))
    for claim in (None, Claim()):
        assert sorted(executor.map_with(lambda: loaded(folder), TASKS, claim=claim)) == squares


@pytest.mark.parametrize("threads", [1, 3, None])
def test_tasks_in_this_process(threads: int | None, tmp_path: Path) -> None:
    executor = LocalExecutor(threads)
    check(executor, tmp_path)
    assert list(executor.map(square, TASKS)) == [number * number for number in range(20)], "in the order of the tasks"
    assert [path.name for path in tmp_path.iterdir()] == [f"loaded-{os.getpid()}"]
    with pytest.raises(CorpusError, match="the model is gone"):
        list(executor.map_with(broken, TASKS))
    assert not executor.remote


def test_threads_run_as_many_tasks_as_there_are_and_take_no_more(tmp_path: Path) -> None:
    both, made = threading.Barrier(2, timeout=60), []

    def endless() -> Iterator[dict[str, Any]]:
        while True:
            made.append(1)
            yield {}

    results = LocalExecutor(2).map(both.wait, endless())
    assert {next(results), next(results)} == {0, 1}, "two tasks that wait for each other"
    assert len(made) <= 6
    both.abort()  # else a task that has begun waits for another
    results.close()  # type: ignore[attr-defined]


@pytest.mark.ray
def test_tasks_on_a_cluster(ray_cluster: Any, tmp_path: Path) -> None:
    check(RayExecutor(), tmp_path)
    processes = {path.name for path in tmp_path.iterdir()}
    assert f"loaded-{os.getpid()}" not in processes
    assert 1 < len(processes) <= 4, "once in each worker, not for each task"
    assert RayExecutor().remote


@pytest.mark.ray
def test_no_more_workers_than_the_cluster_has_cpus(ray_cluster: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert [RayExecutor(limit).workers for limit in (None, 1, 99)] == [2, 1, 2]
    assert "the cluster has 2 CPUs: 2 workers instead of 99" in capsys.readouterr().err


@pytest.mark.ray
def test_a_task_whose_process_dies_is_run_again_and_then_lost(ray_cluster: Any, tmp_path: Path) -> None:
    executor = RayExecutor()
    folders = [tmp_path / name for name in ("once", "often")]
    for folder in folders:
        folder.mkdir()

    def tasks(folder: Path, deaths: int) -> list[Task]:
        return [{"number": number, "folder": folder, "deaths": deaths} for number in range(6)]

    found = executor.map(killed, tasks(folders[0], 1), claim=Claim(retries=1))
    assert sorted(found) == list(range(6))
    found = executor.map(killed, tasks(folders[1], 2), claim=Claim(retries=1), lost=is_lost)
    assert sorted(map(str, found)) == ["0", "1", "2", "3 is lost", "4", "5"]
    assert len(list(folders[1].iterdir())) == 2


@pytest.mark.ray
def test_an_error_while_loading_arrives_as_itself(ray_cluster: Any) -> None:
    with pytest.raises(TexthashError, match="the model is gone"):
        list(RayExecutor().map_with(broken, TASKS, claim=Claim()))


def faulty(number: int) -> float:
    return number / 0


@pytest.mark.ray
def test_a_fault_of_ours_in_a_task_is_explained_to_nobody_and_ends(ray_cluster: Any) -> None:
    """It is not its own cause: whoever looks for one would look for ever."""
    executor, claim = RayExecutor(), Claim()
    for found in (executor.map_with(lambda: faulty, TASKS, claim=claim), executor.map(faulty, TASKS, claim=claim)):
        with pytest.raises(ZeroDivisionError) as raised:
            list(found)
        assert raised.value.__cause__ is not raised.value
        assert as_user_error(raised.value) is None


class Deadly:
    """Function whose first two processes die over task 3."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, number: int) -> int:
        return killed(number, self.folder, 2)


def test_tasks_of_an_actor_that_dies_are_done_by_others(ray_cluster: Any, tmp_path: Path) -> None:
    found = RayExecutor().map_with(lambda: Deadly(tmp_path), TASKS, claim=Claim(cpus=0.5, retries=2))
    assert sorted(found) == list(range(20)), "each result once"
    assert len(list(tmp_path.glob("3-*"))) == 2
    for path in tmp_path.glob("3-*"):
        path.unlink()
    with pytest.raises(ray_cluster.exceptions.RayActorError):
        list(RayExecutor().map_with(lambda: Deadly(tmp_path), TASKS, claim=Claim(cpus=0.5, retries=1)))


def test_actors_for_which_there_is_no_room_keep_no_task_waiting(ray_cluster: Any) -> None:
    """Another program holds half of the cluster: a second actor of this size never runs."""
    cpus = int(ray_cluster.cluster_resources()["CPU"])

    class Holder:
        def ready(self) -> None:
            pass

    holder = ray_cluster.remote(num_cpus=cpus - 1)(Holder).remote()
    ray_cluster.get(holder.ready.remote())
    try:
        found = RayExecutor().map_with(lambda: square, TASKS, claim=Claim(cpus=0.9))
        assert sorted(found) == [number * number for number in range(20)]
    finally:
        ray_cluster.kill(holder)


def least_free(seconds: float) -> float:
    """Return the least number of CPUs that nobody claims, over some seconds."""
    import ray

    seen, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        seen.append(ray.available_resources().get("CPU", 0.0))
        time.sleep(0.1)
    return min(seen[len(seen) // 2 :])  # in the first half, what an earlier test has claimed may be counted


def test_a_pool_starts_no_more_actors_than_there_are_tasks(ray_cluster: Any) -> None:
    pool = ActorPool(lambda: least_free, {"num_cpus": 1}, retries=0, size=lambda: 2)
    assert list(pool.run([{"seconds": 4.0}])) == [1.0]


def together(folder: Path, number: int) -> bool:
    """Return whether another task runs at the same time, within a minute."""
    (folder / str(number)).touch()
    end = time.monotonic() + 60
    while len(list(folder.iterdir())) < 2 and time.monotonic() < end:
        time.sleep(0.1)
    return len(list(folder.iterdir())) == 2


def test_two_tasks_are_not_done_by_the_actor_that_is_there_first(ray_cluster: Any, tmp_path: Path) -> None:
    pool = ActorPool(lambda: together, {"num_cpus": 0.5}, retries=0, size=lambda: 2)
    assert list(pool.run({"folder": tmp_path, "number": number} for number in range(2))) == [True, True]


def test_a_pool_asks_for_the_size_of_the_cluster_now_and_then(ray_cluster: Any) -> None:
    asked = []

    def size() -> int:
        asked.append(time.monotonic())
        return 1

    pool = ActorPool(lambda: square, {"num_cpus": 1}, retries=0, size=size)
    began = time.monotonic()
    assert sorted(pool.run({"number": number} for number in range(200))) == [number**2 for number in range(200)]
    assert 1 <= len(asked) <= 2 + (time.monotonic() - began), "once a second, not after each result"
