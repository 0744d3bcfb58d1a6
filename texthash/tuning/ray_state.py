"""Files in which Ray Tune keeps the state of a sweep. It writes them in place, so that a full disk leaves parts."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

from texthash.io.listing import matching
from texthash.io.records import is_record
from texthash.progress import log_line

_NEEDED = ("experiment_state-*.json", "tuner.pkl")
_SEARCHERS = ("search_gen_state-*.json", "searcher-state-*.pkl")
_BEGIN, _STOP = b"\x80", b"."  # of a pickle, which some files are that are called json


def can_continue(directory: Path) -> bool:
    """Return whether Ray Tune can go on with the trials of a sweep; files that are broken are removed, and logged.

    A file of an earlier start of the program takes the place of a broken one. If there is none, no file of the state
    is left, and the trials are run again; those that have ended keep their tracking runs.

    Args:
        directory: Ray Tune's experiment directory, which need not exist.
    """
    files = {pattern: matching(directory, pattern) for pattern in (*_NEEDED, *_SEARCHERS)}
    broken = [path for pattern, paths in files.items() for path in paths if not _is_whole(path)]
    if broken:
        log_line(
            f"tune: {', '.join(path.name for path in broken)} of {directory.name} is broken, as a full disk leaves it: "
            "what it had is done again"
        )
    left = {pattern: [path for path in paths if path not in broken] for pattern, paths in files.items()}
    lost = any(paths and not left[pattern] for pattern, paths in files.items())
    for path in broken:
        path.unlink()
    if lost:
        for path in chain.from_iterable(left.values()):
            path.unlink()
    return not lost and all(left[pattern] for pattern in _NEEDED)


def _is_whole(path: Path) -> bool:
    content = path.read_bytes()
    return content.endswith(_STOP) if content.startswith(_BEGIN) else is_record(path)
