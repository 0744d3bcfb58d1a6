"""Descendant processes of a program: finding and ending all of them, completely on Linux only."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable, Iterable

import psutil

_PR_SET_CHILD_SUBREAPER = 36
_GRACE_S = 3.0


def adopt_orphans() -> None:
    """Make this process the parent of descendants whose own parent dies, so that it can still find and end them.

    On other systems than Linux, orphans become children of the init process and are no longer found.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def descendants() -> set[psutil.Process]:
    """Return all running descendants of this process."""
    return {process for process in psutil.Process().children(recursive=True) if alive(process)}


def alive(process: psutil.Process) -> bool:
    """Return whether a process runs; a zombie does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except (psutil.AccessDenied, OSError):  # or no descriptor is left to look at it
        return True


def name_of(process: psutil.Process) -> str:
    """Return the name of a process; empty if it has ended."""
    try:
        return process.name()
    except psutil.Error:
        return ""


def command_of(process: psutil.Process) -> list[str]:
    """Return the command line of a process; empty if it has ended or access is denied."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def has_open(process: psutil.Process, directories: tuple[str, ...]) -> bool:
    """Return whether a process of this user has a file open in one of some directories, whose names end in a slash."""
    try:
        return process.uids().real == os.getuid() and any(
            file.path.startswith(directories) for file in process.open_files()
        )
    except psutil.Error:
        return False


def kill(processes: Iterable[psutil.Process], grace_s: float = _GRACE_S) -> None:
    """End processes by SIGKILL, without a last word of theirs."""
    waiting = [process for process in processes if alive(process)]
    for process in waiting:
        _quietly(process.kill)
    psutil.wait_procs(waiting, timeout=grace_s)


def end(processes: Iterable[psutil.Process], grace_s: float = _GRACE_S) -> None:
    """End processes by SIGTERM, and after ``grace_s`` seconds by SIGKILL."""
    waiting = [process for process in processes if alive(process)]
    for process in waiting:
        _quietly(process.terminate)
    _, left = psutil.wait_procs(waiting, timeout=grace_s)
    kill(left, grace_s)


def listener(port: int) -> psutil.Process | None:
    """Return a process of this user that listens on a TCP port; None if none is found."""
    for process in psutil.process_iter():
        try:
            if process.uids().real != os.getuid():
                continue
            connections = process.net_connections(kind="tcp")
        except psutil.Error:
            continue
        if any(item.status == psutil.CONN_LISTEN and item.laddr.port == port for item in connections):
            return process
    return None


def _quietly(action: Callable[[], None]) -> None:
    try:
        action()
    except psutil.NoSuchProcess:
        return  # The process has ended meanwhile.


def run_module(module: str, *arguments: str) -> None:
    """Run a module as a program, with the modules that this process finds, and wait until it has ended, however."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", module, *arguments]
    subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, check=False)
