"""Entries of a run's log that its store has rejected: set aside with the reason, reported, and sent again on request.

They are in ``refused.jsonl`` beside the unsent entries of the run, and their files stay with them.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from texthash.io.listing import matching
from texthash.progress import log_line
from texthash.tracking.unsent import ENTRIES, FILES, RECORD, REFUSED, append_line, lines_of

_reported: set[Path] = set()


def set_aside(folder: Path, entry: dict[str, Any], reason: str) -> None:
    """Keep a rejected entry of a run with the reason."""
    append_line(folder / REFUSED, {**entry, "refused": reason})


def report_once(file: Path, problem: str, remedy: str) -> None:
    """Log, once in this process for each file of entries, why they are not sent."""
    if file not in _reported:
        _reported.add(file)
        log_line(f"warning: {problem}\n  {remedy}")


def counted(root: Path) -> dict[str, int]:
    """Return the number of rejected entries by run, of those that have any."""
    return {path.parent.name: len(lines_of(path)) for path in matching(root, f"*/{REFUSED}")}


def remove_sent_files(folder: Path) -> None:
    """Delete the files of a run's artifacts, except those of rejected entries."""
    kept = {Path(str(_entry(line).get("path", ""))).parent.name for line in _refused(folder)}
    for path in matching(folder, f"{FILES}/*"):
        if path.name not in kept:
            shutil.rmtree(path, ignore_errors=True)


def put_back(folder: Path) -> None:
    """Let the rejected entries of a run be sent again; those that are no entries stay."""
    broken = []
    for line in _refused(folder):
        entry = _entry(line)
        if "op" not in entry:
            broken.append(line)
            continue
        append_line(folder / ENTRIES, {name: value for name, value in entry.items() if name != "refused"})
    (folder / REFUSED).unlink()
    for line in broken:
        append_line(folder / REFUSED, _entry(line))


def has_refused(folder: Path) -> bool:
    """Return whether entries of a run were rejected."""
    return (folder / REFUSED).is_file() and (folder / RECORD).is_file()


def _refused(folder: Path) -> list[str]:
    return lines_of(folder / REFUSED) if has_refused(folder) else []


def _entry(line: str) -> dict[str, Any]:
    try:
        entry: Any = from_json(line)
    except ValueError:
        return {"line": line, "refused": "the line is not JSON"}
    return entry if isinstance(entry, dict) else {"line": line, "refused": "the line is no entry of a log"}
