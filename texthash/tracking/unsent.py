"""Records and entries of runs with unsent entries (:mod:`texthash.tracking.outbox`), checked when they are read."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from pydantic_core import from_json

from texthash.errors import TexthashError
from texthash.io.outputs import naming
from texthash.io.records import read_typed
from texthash.progress import log_line
from texthash.tracking.mlflow_calls import Entry

RECORD, ENTRIES, REFUSED, FILES = "record.json", "entries.jsonl", "refused.jsonl", "files"
_CHECKED = ConfigDict(extra="forbid", strict=True)
_KINDS: dict[str, dict[str, Any]] = {
    "metrics": {"values": dict[str, float], "time": int, "step": int, "model": str | None},
    "params": {"values": dict[str, str]},
    "tags": {"values": dict[str, str]},
    "dataset": {"name": str, "digest": str, "source": str, "profile": str, "contexts": list[str]},
    "artifact": {"path": str, "folder": str | None},
    "status": {"status": str, "time": int},
    "model": {"directory": str, "name": str, "example": list[str]},
}


@dataclass(frozen=True)
class RunStart:
    """Arguments of a run's start.

    Attributes:
        experiment: Name of the experiment.
        name: Name of the run.
        tags: Tags of the run.
        time: Start in milliseconds since 1970.
    """

    experiment: str
    name: str
    tags: dict[str, str]
    time: int


@dataclass(frozen=True)
class PendingRun:
    """A run with entries to send.

    Attributes:
        uri: Address of its server.
        server: Id of the run on the server; None if it has not been started there yet.
        model: Id of the model that the run logged, once the model is sent.
        start: Arguments of its start, if it began during an outage.
    """

    uri: str
    server: str | None
    model: str | None = None
    start: RunStart | None = None


def read_pending(root: Path, run_id: str) -> PendingRun | None:
    """Read the record of a run; None if it has none.

    Args:
        root: Directory of the outbox.
        run_id: Id of the run, which may come from a file: one that is not a file name has no record.

    Raises:
        TexthashError: The record is broken.
    """
    if not run_id or Path(run_id).name != run_id or "\0" in run_id:
        return None
    path = root / run_id / RECORD
    remedy = f"restore it, or delete {path.parent} to give its unsent entries up."
    try:
        run = read_typed(PendingRun, path, remedy)
    except FileNotFoundError:
        return None
    if run.server is None and run.start is None:
        raise TexthashError(f"{path} is broken: it has neither server nor start.", remedy)
    return run


def readable_pending(root: Path, run_id: str) -> PendingRun | None:
    """Read the record of one run of many; None if it has none or if it is broken, which is logged once."""
    try:
        return read_pending(root, run_id)
    except TexthashError as error:
        _warn_once(error.problem)
        return None


@cache
def _warn_once(problem: str) -> None:
    log_line(f"warning: {problem} The run's entries are not sent")


def read_entry(line: str, files: Path) -> Entry:
    """Read one line of the entries of a run.

    Args:
        line: JSON of the entry.
        files: Directory of the run's artifacts.

    Raises:
        ValueError: The line is broken, or names a file that may not or cannot be sent.
    """
    entry: Any = from_json(line)
    kind = entry.get("op") if isinstance(entry, dict) else None
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ValueError("the line is no entry of a log")
    try:
        checked: Entry = _model_of(kind).model_validate_json(line).model_dump()
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    if kind == "artifact":
        path = _moved(Path(checked["path"]), files)
        _check_artifact(path, files)
        checked["path"] = str(path)
    elif kind == "model":
        directory = _moved(Path(checked["directory"]), files.parents[2] / "models")
        _check_model(directory)
        checked["directory"] = str(directory)
    return checked


@cache
def _model_of(kind: str) -> type[BaseModel]:
    members: dict[str, Any] = {name: (values, ...) for name, values in _KINDS[kind].items()}
    return create_model(kind, __config__=_CHECKED, op=(str, ...), **members)


def _moved(path: Path, place: Path) -> Path:
    """Return the path in the state directory of its entry, which may have been copied or moved since it was written."""
    moved = place.joinpath(*path.parts[-2:])
    return moved if moved.exists() else path


def _check_artifact(path: Path, files: Path) -> None:
    if not path.resolve().is_relative_to(files.resolve()):
        raise ValueError(f"{path} is not in {files}")
    if not path.exists():
        raise ValueError(f"{path} does not exist")


def _check_model(directory: Path) -> None:
    """Check that a directory holds a saved model and nothing else."""
    from texthash.models.files import MODEL_FILES

    found = {path.name for path in directory.iterdir()} if directory.is_dir() else set()
    if found != set(MODEL_FILES):
        raise ValueError(f"{directory} does not hold a saved model and nothing else")


def append_line(path: Path, value: Mapping[str, Any]) -> None:
    """Append a line of JSON, on a line of its own even if a killed process has left half of one."""
    line = (json.dumps(value) + "\n").encode()
    with naming(path), path.open("a+b") as file:
        if file.seek(0, os.SEEK_END) and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n":
            line = b"\n" + line
        file.write(line)


def lines_of(path: Path) -> list[str]:
    """Return the lines of a file; bytes that are not UTF-8 are replaced, so that only their line is broken."""
    return [line for line in path.read_bytes().decode(errors="replace").split("\n") if line]
