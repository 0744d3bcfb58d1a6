"""Provenance of a run, for reproducing it: commit, versions, machine and data."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import texthash
from texthash.corpora.prepared.corpus import PreparedCorpus

COMMIT_VARIABLE = "TEXTHASH_COMMIT"
_VERSIONED = ("texthash", "torch", "numpy", "ray", "mlflow", "scikit-learn", "pyarrow")


def data_digest(corpus: PreparedCorpus) -> str:
    """Return a digest of a corpus, 16 characters, from the checksum of its source and the hash of its configuration."""
    manifest = corpus.manifest
    return f"{manifest.source_checksum[:8]}{manifest.config_hash[:8]}"


@cache
def environment_tags() -> dict[str, str]:
    """Return commit, versions and machine as tags of a run."""
    sha, _, dirty = commit().partition("-")
    tags = {"host": platform.node(), "python": platform.python_version(), "cpus": str(os.cpu_count())}
    tags |= {"git.commit": sha, "git.dirty": "true" if dirty else "false", "mlflow.source.git.commit": sha}
    for package in _VERSIONED:
        try:
            tags[f"version.{package}"] = version(package)
        except PackageNotFoundError:
            tags[f"version.{package}"] = "not installed as a package"
    return tags


@cache
def commit() -> str:
    """Return the commit of this checkout, with ``-dirty`` if files differ from it; ``unknown`` without Git history.

    A Ray job runs in a copy without history; set TEXTHASH_COMMIT when submitting it.
    """
    if COMMIT_VARIABLE in os.environ:
        return os.environ[COMMIT_VARIABLE]
    git = ["git", "-C", str(Path(texthash.__file__).parent.parent)]
    try:
        sha = subprocess.run(
            [*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True, encoding="utf-8"
        ).stdout.strip()
        status = subprocess.run(
            [*git, "status", "--porcelain"], capture_output=True, text=True, check=True, encoding="utf-8"
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{sha}-dirty" if status.strip() else sha
