"""A limit of time for every test, fixtures included, after which the processes that it started are ended as well.

pytest-timeout raises in the test that has hung. What that leaves, a ``with`` block around a process for instance, waits
for the process, and so would hang again: a moment later whatever this test has started is killed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

SLOW_LIMIT_S = 3600
_GRACE_S = 1.0
_earlier: set[psutil.Process] = set()  # processes from before the phase that runs


def _descendants() -> set[psutil.Process]:
    return set(psutil.Process().children(recursive=True)) if _may_have_children() else set()


def _may_have_children() -> bool:
    """Whether this process may have children, which takes far less than to look for theirs among all processes."""
    try:
        children = [path.read_text() for path in Path("/proc/self/task").glob("*/children")]
    except OSError:  # a thread has just ended
        return True
    return any(children) or not children  # a system without these files says nothing


def _end_children() -> None:
    for process in _descendants() - _earlier:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give slow tests that state no limit of their own a longer one."""
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(SLOW_LIMIT_S))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """End the children of a test that exceeds its limit, a moment after pytest-timeout has raised in it."""
    _earlier.clear()
    _earlier.update(_descendants())
    limit = _limit(item)
    if not limit:
        return (yield)
    timer = threading.Timer(limit + _GRACE_S, _end_children)
    timer.daemon = True
    timer.start()
    try:
        return (yield)
    finally:
        timer.cancel()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Spare what fixtures have started, a cluster for the whole session for instance, once they are set up."""
    _earlier.update(_descendants())
    return (yield)


def _limit(item: pytest.Item) -> float:
    marker = item.get_closest_marker("timeout")
    chosen = item.config.getoption("timeout")
    if marker and marker.args:
        return float(marker.args[0])
    return float(chosen if chosen is not None else item.config.getini("timeout") or 0)
