"""Checks of the requirements of texthash on this machine, each with a remedy."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from texthash.config import Config
from texthash.errors import TexthashError, as_user_error
from texthash.paths import StateDir

State = Literal["ok", "warning", "wrong"]
_DISK_GIB = 5.0
_MEMORY_GIB = 4.0
_FASTER = ("avx2", "avx512vpopcntdq")


@dataclass(frozen=True)
class Finding:
    """Result of one check: its subject, state, description and remedy."""

    check: str
    state: State
    found: str
    remedy: str = ""


def examine(config: Config, home: StateDir) -> list[Finding]:
    """Run all checks, in the order in which problems should be solved."""
    checks: dict[str, Callable[[], list[Finding]]] = {
        "python": _python,
        "packages": _packages,
        "torch": _torch,
        "cpu": _cpu,
        "memory": _memory,
        "disk": lambda: _disk(home),
        "store": lambda: _store(home),
        "port": lambda: _ports(config),
        "cluster": _ray,
        "mlflow store": lambda: _tracking(config, home),
        "unsent runs": lambda: _unsent(home),
        "corpora": lambda: _corpora(config, home),
        "release": lambda: _release(home),
    }
    return [finding for name, check in checks.items() for finding in _findings(name, check)]


def _findings(name: str, check: Callable[[], list[Finding]]) -> list[Finding]:
    """Return the findings of a check, of which one that fails, as at a closed directory, is a finding itself."""
    try:
        return check()
    except Exception as error:  # noqa: BLE001  (raised again unless the user can correct it)
        return [_wrong(name, error)]


def _python() -> list[Finding]:
    found = platform.python_version()
    if (3, 11) <= sys.version_info[:2] <= (3, 14):
        return [Finding("python", "ok", found)]
    return [Finding("python", "wrong", found, "use Python 3.11, 3.12, 3.13 or 3.14.")]


def _packages() -> list[Finding]:
    findings = []
    for name in ("ray", "mlflow", "numba", "pylance", "pyarrow", "optuna", "scikit-learn"):
        try:
            findings.append(Finding(name, "ok", version(name)))
        except PackageNotFoundError:
            findings.append(Finding(name, "wrong", "not installed", "bash deploy/setup.sh installs the tested set."))
    return findings


def _torch() -> list[Finding]:
    try:
        import torch
    except (ImportError, OSError) as error:
        return [Finding("torch", "wrong", str(error), "bash deploy/setup.sh installs the tested set.")]
    if torch.cuda.is_available():
        return [
            Finding("torch", "ok", f"{torch.__version__}, {torch.cuda.device_count()} x {torch.cuda.get_device_name()}")
        ]
    return [Finding("torch", "ok", f"{torch.__version__}, no GPU: training.use_gpu has to stay false")]


def _cpu() -> list[Finding]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    import llvmlite.binding as llvm

    features = llvm.get_host_cpu_features()
    present = [name for name in _FASTER if features.get(name)]
    if "avx2" in present:
        return [Finding("cpu", "ok", f"{cores} cores, {', '.join(present)}")]
    return [Finding("cpu", "warning", f"{cores} cores without AVX2", "search is exact but several times slower here.")]


def _memory() -> list[Finding]:
    import psutil

    free = psutil.virtual_memory().available / 2**30
    state: State = "ok" if free >= _MEMORY_GIB else "warning"
    return [Finding("memory", state, f"{free:.1f} GiB free", "" if state == "ok" else "end other programs.")]


def _disk(home: StateDir) -> list[Finding]:
    existing = next(path for path in (home.root, *home.root.parents) if path.exists())
    free = shutil.disk_usage(existing).free / 2**30
    if not os.access(existing, os.R_OK | os.W_OK | os.X_OK):
        remedy = "grant access, or set TEXTHASH_HOME to a directory that you can write."
        return [Finding("disk", "wrong", f"{existing} cannot be read and written", remedy)]
    state: State = "ok" if free >= _DISK_GIB else "warning"
    remedy = "" if state == "ok" else "make room, or set TEXTHASH_HOME to another disk."
    return [Finding("disk", state, f"{free:.0f} GiB free for {home.root}", remedy)]


def _store(home: StateDir) -> list[Finding]:
    """Check that a separate store can be written, and has conditional writes if the state is there."""
    if home.store_name is None:
        return []
    from texthash.io.atomic import write_text
    from texthash.io.conditional import check_conditional

    write_text(home.store / ".doctor", "")
    (home.store / ".doctor").unlink()
    if home.state_name:
        check_conditional(home.state / ".doctor")
    if home.state_name:
        return [Finding("store", "ok", f"{home.state_name} has conditional writes; copies of this node: {home.root}")]
    return [Finding("store", "ok", f"{home.store_name} can be written; other files are in {home.root}")]


def _wrong(check: str, error: Exception) -> Finding:
    """Return a finding for an error that the user can correct; raise an internal error again."""
    known = as_user_error(error)
    if known is None and isinstance(error, OSError):
        known = TexthashError(str(error), "create the directory or bucket, or grant access to it.")
    if known is None:
        raise error
    return Finding(check, "wrong", known.problem, known.remedy)


def _ports(config: Config) -> list[Finding]:
    port, host = config.service.port, config.service.host
    with socket.socket() as probe:
        taken = probe.connect_ex((host, port)) == 0
    if not taken:
        return [Finding(f"port {port}", "ok", "free")]
    return [Finding(f"port {port}", "warning", "in use", "fine if texthash uses it; otherwise set service.port.")]


def _ray() -> list[Finding]:
    address = os.environ.get("RAY_ADDRESS")
    if not address:
        return [Finding("cluster", "ok", "RAY_ADDRESS is not set: programs start a local cluster")]
    import ray
    from ray.exceptions import RayError

    try:
        ray.init(address=address, log_to_driver=False, logging_level=40)
    except (ConnectionError, RayError, RuntimeError, ValueError) as error:
        return [Finding("cluster", "wrong", f"{address}: {error}".splitlines()[0], "start it, or unset RAY_ADDRESS.")]
    resources = ray.cluster_resources()
    nodes = sum(node["Alive"] for node in ray.nodes())
    ray.shutdown()
    found = f"{address}: {nodes} nodes, {resources.get('CPU', 0):g} CPUs, {resources.get('GPU', 0):g} GPUs"
    return [Finding("cluster", "ok", found)]


def _tracking(config: Config, home: StateDir) -> list[Finding]:
    from texthash.tracking import check_store

    if config.tracking.uri is None and not home.root.exists():
        return [Finding("mlflow store", "ok", f"will be created in {home.root}")]
    return [Finding("mlflow store", "ok", check_store(config.tracking, home))]


def _unsent(home: StateDir) -> list[Finding]:
    """Report runs that wait for a tracking server; no finding if there are none."""
    from texthash.tracking import Outbox

    outbox, findings = Outbox.of(home), []
    if waiting := outbox.pending():
        found = f"{len(waiting)} with {sum(waiting.values())} entries in {outbox.root}"
        findings.append(Finding("unsent runs", "warning", found, "start the MLflow server, then `texthash sync`."))
    if refused := outbox.refused():
        found = (
            f"{sum(refused.values())} of {len(refused)} runs, in refused.jsonl of {outbox.root / next(iter(refused))}"
        )
        remedy = "restore the runs in MLflow, then `texthash sync --refused`; or delete these files to give them up."
        findings.append(Finding("refused entries", "warning", found, remedy))
    return findings


def _corpora(config: Config, home: StateDir) -> list[Finding]:
    from texthash.corpora.catalog import available, records

    present = [name for name in records() if available(name, config.corpus.data_dir, home)]
    prepared = sorted("/".join(path.parts[-3:-1]) for path in _manifests(home))
    missing = sorted(set(records()) - set(present))
    found = f"available: {', '.join(present)}" + (f"; to be fetched: {', '.join(missing)}" if missing else "")
    return [Finding("corpora", "ok", found + (f"; prepared: {', '.join(prepared)}" if prepared else ""))]


def _manifests(home: StateDir) -> list[Path]:
    from texthash.io.listing import matching

    return matching(home.store / "corpora", "*/[!.]*/manifest.json")


def _release(home: StateDir) -> list[Finding]:
    from texthash.index.releases.release import current_name, read_release

    if current_name(home) is None:
        return [Finding("release", "ok", "none yet: pipelines/full.py creates one")]
    release = read_release(home)
    release.check(home)
    return [Finding("release", "ok", f"{release.name}: {release.model}, {release.documents} documents")]
