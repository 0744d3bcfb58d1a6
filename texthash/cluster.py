"""The Ray cluster that a program runs on: the one it is told of, or a local one of its own."""

from __future__ import annotations

import logging
import os
import socket
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from texthash.errors import TexthashError
from texthash.progress import say

_OBJECT_STORE_BYTES = 500_000_000
_ADDRESS = "RAY_ADDRESS"
_TOKEN = " If it runs and asks for a token, set RAY_AUTH_MODE=token, and have its token in ~/.ray/auth_token."


@contextmanager
def cluster(address: str | None = None) -> Iterator[bool]:
    """Be connected to Ray; disconnect, and end a cluster that was started here, at the end.

    What Ray and its workers print meanwhile goes to stderr, so that stdout stays the program's.

    Args:
        address: Of a running cluster, or ``"auto"``; None: RAY_ADDRESS (which a submitted job finds set), else a new
            local cluster on 127.0.0.1 with this machine's cores.

    Yields:
        Whether the cluster ends with this program.

    Raises:
        TexthashError: there is no cluster at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Lines of different workers that look alike are progress of different things.
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    os.environ.setdefault("RAY_TRAIN_ENABLE_PRINT_PATCH", "0")  # else workers print each line twice
    import ray

    if address:
        _check_listens(address)  # a wrong address is wrong whatever this process is connected to
    if ray.is_initialized():
        yield False
        return
    wanted = address or os.environ.get(_ADDRESS)
    with redirect_stdout(sys.stderr):
        if wanted:
            _check_listens(wanted)
            try:
                ray.init(address=wanted, **_quiet())
            except OSError as error:
                raise _no_cluster(wanted, error, _TOKEN) from error
        else:
            _start_local()
        try:
            yield not wanted
        finally:
            ray.shutdown()


def _check_listens(address: str) -> None:
    """Raise :class:`TexthashError` at once where nothing listens; Ray would try for minutes."""
    parsed = urlsplit(address if "://" in address else f"//{address}")
    if parsed.hostname and parsed.port:
        try:
            socket.create_connection((parsed.hostname, parsed.port), timeout=10).close()
        except OSError as error:
            raise _no_cluster(address, error) from error


def _no_cluster(address: str, error: OSError, further: str = "") -> TexthashError:
    return TexthashError(
        f"there is no Ray cluster at {address}: {error}",
        f"start one (ray start --head), or unset {_ADDRESS} to use a local one.{further}",
    )


def _start_local() -> None:
    import ray

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    ray.init(
        address="local",
        num_cpus=max(2, cores),
        object_store_memory=_OBJECT_STORE_BYTES,
        include_dashboard=False,
        **_quiet(),
        _node_ip_address="127.0.0.1",
    )
    say(f"ray: started a local cluster of {max(2, cores)} CPUs")


def _quiet() -> dict[str, Any]:
    """Of Ray and its workers only errors: what there is to know is said by the steps themselves."""
    import ray
    import ray.data  # sets its own level when it is imported

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    return {"logging_level": logging.WARNING, "logging_config": ray.LoggingConfig(log_level="ERROR")}


def check_shared(*places: Path) -> None:
    """Check that every node of the cluster sees a directory or a place in an object store, where there are several.

    Raises:
        TexthashError: naming the nodes that do not.
    """
    import ray

    nodes = [node for node in ray.nodes() if node["Alive"]]
    if len(nodes) > 1:
        for place in dict.fromkeys(places):
            _check_seen(place, nodes)


def _check_seen(place: Path, nodes: list[dict[str, Any]]) -> None:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    is_directory = isinstance(place, Path)
    if is_directory:
        place.mkdir(parents=True, exist_ok=True)
    marker = place / f".seen-{uuid.uuid4().hex}"
    marker.write_bytes(b"")
    look = ray.remote(num_cpus=0)(_unseen)
    try:
        answers = {
            node["NodeManagerHostname"]: look.options(
                scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            ).remote(str(marker))
            for node in nodes
        }
        blind = {name: reason for name, answer in answers.items() if (reason := ray.get(answer))}
    finally:
        marker.unlink()
    if blind:
        names = ", ".join(f"{name} ({reason})" for name, reason in sorted(blind.items()))
        remedy = "set TEXTHASH_HOME to a directory on storage that all nodes share."
        if not is_directory:
            remedy = "install texthash[s3] on each node, and give its workers AWS_ENDPOINT_URL and credentials (AWS_*)."
        raise TexthashError(f"{place} is not seen by {len(blind)} of {len(nodes)} nodes: {names}.", remedy)


def _unseen(name: str) -> str:
    """Why this node does not see a file or object; empty if it does."""
    try:
        if "://" not in name:
            return "" if Path(name).exists() else "it is not there"
        from upath import UPath

        return "" if UPath(name).exists() else "it is not there"
    except Exception as error:  # noqa: BLE001  (each store's client raises its own, and the person has to see it)
        return f"{type(error).__name__}: {error}"
