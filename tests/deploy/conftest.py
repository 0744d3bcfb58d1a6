"""What tests share: the wheel of the image, and nodes of a cluster that shares nothing."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.nodes import Cluster, cluster_of, nodes

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that the image installs, from what the image copies: a build leaves files where it works."""
    source, made = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("texthash", "configs"):
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    words = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", made, source]
    result = subprocess.run(words, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    (found,) = made.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def two_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two nodes with Ray, a bucket and an MLflow server, for the tests of a module."""
    with cluster_of(2, tmp_path_factory.mktemp("nodes")) as cluster:
        yield cluster


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process read the bucket as a third node, with a home and a cache of its own."""
    monkeypatch.setenv("HOME", str(tmp_path / "reader"))
    monkeypatch.setenv("TEXTHASH_CACHE", str(tmp_path / "reader" / "cache"))


@pytest.fixture
def cluster(two_nodes: Cluster, reader: None) -> Iterator[Cluster]:
    """Two nodes, of which a test may lose node 2: it is replaced after it."""
    two_nodes.store.requests.clear()
    yield two_nodes
    nodes("kill", "2", check=False)
    two_nodes.replace(2)
