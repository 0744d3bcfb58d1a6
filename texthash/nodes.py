"""Nodes of the Ray cluster to which this process is connected: what they can all access, and waiting for more."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from texthash import __version__
from texthash.errors import TexthashError
from texthash.progress import log_line

_SQLITE = "sqlite:///"
_LINE_EVERY_S = 30.0
_LOOK_EVERY_S = 1.0


def check_shared(*paths: Path) -> None:
    """Check that every node of a cluster of several nodes can access some directories or object-store prefixes.

    An object-store prefix is looked at even if there is one node, so that a wrong address ends a program at once.

    Raises:
        TexthashError: Some nodes cannot access a path, or have another version of texthash; the error names them.
    """
    nodes = _living()
    if len(nodes) > 1:
        _check_versions(nodes)
    for path in dict.fromkeys(paths):
        if len(nodes) > 1 or not isinstance(path, Path):
            _check_accessible(path, nodes)


def check_tracking(uri: str) -> None:
    """Check that a tracking store in SQLite is one that every node of the cluster can access.

    Raises:
        TexthashError: There are several nodes, and some cannot access it.
    """
    nodes = _living()
    if uri.startswith(_SQLITE) and len(nodes) > 1:
        _check_accessible(
            Path(uri.removeprefix(_SQLITE)).parent,
            nodes,
            "start an MLflow server, and name it in tracking.uri (http://...); or set TEXTHASH_HOME to a directory on "
            "storage that all nodes share.",
        )


def wait_for(
    missing: Callable[[], TexthashError | None], wait_s: float, bundles: Sequence[Mapping[str, float]] = ()
) -> None:
    """Wait until the cluster has what a step needs; a line each half minute names what is missing.

    An autoscaler is asked for it meanwhile.

    Args:
        missing: Function that returns what is missing at present, as the error to raise; None if nothing is.
        wait_s: Longest time to wait, in seconds; 0 raises the error at once.
        bundles: Resources that the autoscaler is asked for, each of one node.
    """
    began, told = time.monotonic(), 0.0
    asked = False
    try:
        while (problem := missing()) is not None:
            waited = time.monotonic() - began
            if waited >= wait_s:
                more = "" if wait_s else " If more nodes come by themselves, cluster.wait_s says how long to wait."
                raise type(problem)(
                    f"{problem.problem}{f' It was waited for {waited:.0f} s.' if wait_s else ''}",
                    f"{problem.remedy}{more}",
                )
            if not asked:
                _ask_autoscaler(bundles)
                asked = True
            if not told or waited - told >= _LINE_EVERY_S:
                told = max(waited, _LOOK_EVERY_S)
                log_line(f"waiting for nodes, for {wait_s - waited:.0f} s at most: {problem.problem}")
            time.sleep(min(_LOOK_EVERY_S, wait_s - waited))
    finally:
        if asked:
            _ask_autoscaler(())


def _living() -> list[dict[str, Any]]:
    import ray

    return [node for node in ray.nodes() if node["Alive"]]


def _ask_autoscaler(bundles: Sequence[Mapping[str, float]]) -> None:
    """Ask the autoscaler, if there is one, for room for these bundles; the request replaces an earlier one."""
    from ray.autoscaler.sdk import request_resources

    request_resources(bundles=[{name: value for name, value in bundle.items() if value} for bundle in bundles])


def _check_versions(nodes: list[dict[str, Any]]) -> None:
    """Check that every node has the version of texthash of this program, whose tasks it is going to run."""
    others = {name: found for name, found in _on_each(nodes, _version).items() if found != __version__}
    if others:
        named = ", ".join(f"{name} has {found}" for name, found in sorted(others.items()))
        raise TexthashError(
            f"this program is of texthash {__version__}, but {named}.",
            "install the same version on all nodes, or start all of them from one image.",
        )


def _version() -> str:
    """Return the version of texthash on this node."""
    return __version__


def _on_each(nodes: list[dict[str, Any]], function: Callable[..., str], *arguments: str) -> dict[str, str]:
    """Return what a function returns on each node, or why it could not be run there, by the node's name.

    A node that was lost a moment ago, which Ray takes a while to notice, is left out.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    call = ray.remote(num_cpus=0)(function)
    answers = [
        call.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(*arguments)
        for node in nodes
    ]
    found: dict[str, str] = {}
    for node, answer in zip(nodes, answers, strict=True):
        name = node["NodeManagerHostname"]
        try:
            found[name] = ray.get(answer)
        except ray.exceptions.RayError as error:
            if any(living["NodeID"] == node["NodeID"] for living in _living()):
                found[name] = str(error).strip().splitlines()[-1]
            else:
                log_line(f"the node {name} was lost")
    return found


def _check_accessible(path: Path, nodes: list[dict[str, Any]], remedy: str = "") -> None:
    is_directory = isinstance(path, Path)
    if is_directory:
        path.mkdir(parents=True, exist_ok=True)
    marker = path / f".seen-{uuid.uuid4().hex}"
    marker.write_bytes(b"")
    try:
        answers = _on_each(nodes, _access_problem, str(marker))
        blind = {name: reason for name, reason in answers.items() if reason}
    finally:
        marker.unlink()
    if blind:
        names = ", ".join(f"{name} ({reason})" for name, reason in sorted(blind.items()))
        if not is_directory:
            remedy = "install texthash[s3] on each node, and give its workers AWS_ENDPOINT_URL and credentials (AWS_*)."
        remedy = remedy or (
            "set TEXTHASH_HOME to a directory on storage that all nodes share, or to a bucket (s3://bucket/prefix)."
        )
        raise TexthashError(f"{path} is not accessible from {len(blind)} of {len(answers)} nodes: {names}.", remedy)


def _access_problem(name: str) -> str:
    """Return the reason why this node cannot access a file or object; empty if it can."""
    try:
        if "://" not in name:
            return "" if Path(name).exists() else "it does not exist there"
        from upath import UPath

        return "" if UPath(name).exists() else "it does not exist there"
    except Exception as error:  # noqa: BLE001  (each store's client raises its own errors, which are shown to the user)
        return f"{type(error).__name__}: {error}"
