"""Start processes that outlive this program, and later find and end exactly these.

``ray stop`` ends every Ray process of a machine. Here each started process has a mark in its environment, which its
children inherit. A process belongs to the mark if it has the mark, descends from a process that does, or is in the
session of a recorded leader: Ray's workers overwrite their environment when they set their title.

    python deploy/processes.py list MARK      # one line per process
    python deploy/processes.py stop MARK      # ends those that still run after some seconds; status 1 if any did
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import psutil

MARK = "TEXTHASH_MARK"
_GRACE_SECONDS = 8.0


def spawn(command: Sequence[str], log: Path, mark: str, environment: Mapping[str, str]) -> int:
    """Start ``command`` as leader of a new session, with its output in ``log``, and return its process id."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**environment, MARK: mark},
            start_new_session=True,
        )
    return process.pid


def find(mark: str, leaders: Iterable[int] = ()) -> list[psutil.Process]:
    """Return all running processes of ``mark``, without the caller and its ancestors.

    A session counts only while it contains a process with the mark: its number may have been reused.
    """
    sessions: dict[int, list[psutil.Process]] = {}
    marked: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            sessions.setdefault(os.getsid(process.pid), []).append(process)
            if process.environ().get(MARK) == mark:
                marked.append(process)
        except (psutil.Error, OSError):
            continue  # It has ended, or belongs to another user and therefore not to the mark.
    found = set(marked)
    for process in marked:
        try:
            found.update(process.children(recursive=True))
            session = os.getsid(process.pid)
        except (psutil.Error, OSError):
            continue
        if session in set(leaders):
            found.update(sessions.get(session, ()))
    current = psutil.Process()
    return sorted(found - {current, *current.parents()}, key=lambda process: process.pid)


def listens(processes: Iterable[psutil.Process], port: int) -> bool:
    """Return whether one of ``processes`` listens on a TCP port."""
    for process in processes:
        try:
            connections = process.net_connections(kind="tcp")
        except psutil.Error:
            continue
        if any(item.status == psutil.CONN_LISTEN and item.laddr.port == port for item in connections):
            return True
    return False


def stop(mark: str, leaders: Iterable[int] = ()) -> list[str]:
    """End all processes of ``mark``, by SIGTERM and after some seconds by SIGKILL, and return their descriptions."""
    leaders = tuple(leaders)
    found = find(mark, leaders)
    names = [describe(process) for process in found]
    for process in found:
        _quietly(process.terminate)
    for process in {*_wait(found), *find(mark, leaders)}:
        _quietly(process.kill)
    _wait(found)
    return names


def describe(process: psutil.Process) -> str:
    """Return id and command of a process."""
    try:
        return f"{process.pid} {' '.join(process.cmdline())[:150]}"
    except psutil.Error:
        return f"{process.pid} (ended)"


def _wait(found: Sequence[psutil.Process]) -> list[psutil.Process]:
    """Return the processes that still run after the grace period. A zombie, which its parent has to reap, has ended."""
    deadline = time.monotonic() + _GRACE_SECONDS
    alive = [process for process in found if _alive(process)]
    while alive and time.monotonic() < deadline:
        time.sleep(0.1)
        alive = [process for process in alive if _alive(process)]
    return alive


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _quietly(end: Callable[[], None]) -> None:
    try:
        end()
    except psutil.NoSuchProcess:
        return  # It has already ended.


def main(arguments: Sequence[str]) -> int:
    if len(arguments) != 2 or arguments[0] not in {"list", "stop"}:
        print("usage: python deploy/processes.py {list|stop} MARK", file=sys.stderr)
        return 2
    action, mark = arguments
    if action == "stop":
        _wait(find(mark))  # Some are about to end by themselves.
    names = stop(mark) if action == "stop" else [describe(process) for process in find(mark)]
    print("\n".join(names), end="\n" if names else "")
    return 1 if names and action == "stop" else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
