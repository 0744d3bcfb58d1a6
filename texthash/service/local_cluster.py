"""Local cluster of a program that does nothing but serve: without the parts of Ray that such a program does not use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from texthash.cluster import cluster
from texthash.processes import command_of, descendants, kill
from texthash.service.lean_imports import HOOK, import_serve

# Programs that `ray start` leaves out by `--no-monitor` (of a cluster that changes its size), and by
# `--include-log-monitor=false` (the output of workers stays in their files), while `ray.init` starts them always; and
# the rest of a dashboard that is switched off, which reports the use of Ray.
_SPARE = ("monitor.py", "log_monitor.py", "dashboard.py")

_SETTINGS = {
    # Workers that wait for tasks: a service has actors only, which get workers of their own.
    "RAY_prestart_worker_first_driver": "0",
    # glibc gives threads up to eight heaps for each core, and each heap keeps what was freed in it.
    "MALLOC_ARENA_MAX": "2",
}


@contextmanager
def service_cluster(address: str | None = None) -> Iterator[bool]:
    """As :func:`texthash.cluster.cluster`, with 180 MB less of Ray's own processes and without pandas in the others.

    Import :mod:`texthash.service.run` in the block.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    with cluster(address, setup=HOOK, data=False) as local:
        if local:
            kill(filter(_is_spare, descendants()))  # the monitor would report SIGTERM as its failure to this program
        import_serve()
        yield local


def _is_spare(process: psutil.Process) -> bool:
    import ray

    programs = [Path(word) for word in command_of(process)[1:4]]
    return any(one.name in _SPARE and one.is_relative_to(Path(ray.__file__).parent) for one in programs)
