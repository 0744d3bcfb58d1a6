"""Checkpoints of a training run: one file, replaced atomically, from which the run resumes as if uninterrupted."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Protocol

import torch

from texthash.errors import TexthashError
from texthash.io.atomic import is_local, local_copy, whole
from texthash.paths import as_path

State = dict[str, Any]


class Checkpointer(Protocol):
    """Storage of the training loop's state after each epoch."""

    def load(self) -> State | None:
        """Return the latest state, or None for a new run."""

    def save(self, state: State, metrics: dict[str, float]) -> None:
        """Store the state; called by every worker after each epoch."""


class LocalCheckpointer:
    """Checkpointer that keeps the latest state in a directory, or below a prefix of an object store.

    Args:
        directory: Path of the directory or prefix, which is created with the first state.
    """

    def __init__(self, directory: str | Path) -> None:
        self.path = as_path(directory) / "checkpoint.pt"

    def load(self) -> State | None:
        return read_state(self.path) if self.path.is_file() else None

    def save(self, state: State, metrics: dict[str, float]) -> None:
        write_state(state, self.path)


def write_state(state: State, path: Path) -> None:
    """Write a state atomically, so that a reader never sees an incomplete one."""
    with whole(path) as partial, partial.open("wb") as file:
        try:
            torch.save(state, file)
        except RuntimeError as error:  # by which torch reports that the file could not be written
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


def keep_state(path: Path, kept: Path) -> None:
    """Keep the state in a file under a second name, which later states do not replace."""
    kept.unlink(missing_ok=True)
    if is_local(path):
        os.link(path, kept)  # the next state is a file of its own
    else:
        path.fs.copy(path.path, kept.path)  # type: ignore[attr-defined]


def read_state(path: Path) -> State:
    """Read a state, which consists of tensors and plain values; reading executes no code from the file.

    Raises:
        TexthashError: The file is broken.
    """
    try:
        with local_copy(path) as copy:
            state: State = torch.load(copy, map_location="cpu", weights_only=True)
        if not isinstance(state, dict):
            raise ValueError("it does not contain the state of a training run")
    except (RuntimeError, ValueError, EOFError, KeyError, UnpicklingError, OSError) as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # torch seeks before the start of a short file
            raise
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise TexthashError(
            f"{path} is broken: {reason}", "delete it to train from the first epoch, or set training.resume=false."
        ) from error
    return state
