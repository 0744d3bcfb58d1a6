"""Checkpoints of a training run: one file, replaced whole, from which the run goes on as if never stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import torch

from texthash.io.atomic import whole

State = dict[str, Any]


class Checkpointer(Protocol):
    """Where the training loop leaves its state after an epoch and finds it when it starts."""

    def load(self) -> State | None:
        """The latest state, or None for a new run."""

    def save(self, state: State, metrics: dict[str, float]) -> None:
        """Keep the state; called by every worker after each epoch."""


class LocalCheckpointer:
    """Keeps the latest state in a directory.

    Args:
        directory: Made when first needed.
    """

    def __init__(self, directory: str | Path) -> None:
        self.path = Path(directory) / "checkpoint.pt"

    def load(self) -> State | None:
        return read_state(self.path) if self.path.is_file() else None

    def save(self, state: State, metrics: dict[str, float]) -> None:
        write_state(state, self.path)


def write_state(state: State, path: Path) -> None:
    """Write a state under a temporary name and rename it, so that a reader never sees half of one."""
    with whole(path) as partial:
        torch.save(state, partial)


def read_state(path: Path) -> State:
    """Read a state as tensors and plain values (no code is run by it)."""
    state: State = torch.load(path, map_location="cpu", weights_only=True)
    return state
