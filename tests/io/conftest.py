"""A store of the room's tests, and a state directory in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.io.store import Store, running
from texthash.io import conditional
from texthash.paths import StateDir, resolve_home

Node = Callable[[str], StateDir]


@pytest.fixture(scope="session")
def server() -> Iterator[Store]:
    with running() as store:
        yield store


@pytest.fixture
def store(server: Store) -> Iterator[Store]:
    server.reset()
    conditional._checked.clear()
    # A server of another file may have begun after this one, and its address would stand in the environment.
    with server.reached():
        yield server
    server.reset()


@pytest.fixture
def node(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    """Returns the state in one bucket as a node sees it; nodes share nothing else."""
    address = f"{store.bucket()}/home"

    def enter(name: str) -> StateDir:
        monkeypatch.setenv("HOME", str(tmp_path / name))
        monkeypatch.setenv("TEXTHASH_CACHE", str(tmp_path / name / "cache"))
        monkeypatch.setenv("TEXTHASH_HOME", address)
        return resolve_home()

    return enter
