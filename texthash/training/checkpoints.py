"""Checkpoints of a training run: one file, replaced whole, from which the run goes on as if never stopped."""

from __future__ import annotations

import errno
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Protocol

import torch

from texthash.errors import TexthashError
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
    """Read a state as tensors and plain values (no code is run by it).

    Raises:
        TexthashError: The file is broken.
    """
    try:
        state: State = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(state, dict):
            raise ValueError("it is no state of a training")
    except (RuntimeError, ValueError, EOFError, KeyError, UnpicklingError, OSError) as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # torch seeks before the start of a short file
            raise
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise TexthashError(
            f"{path} is broken: {reason}", "delete it to train from the first epoch, or set training.resume=false."
        ) from error
    return state
