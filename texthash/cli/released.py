"""Writes of commands that end in a release: their audit line and their output."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from texthash.io.audit import audited

if TYPE_CHECKING:
    from texthash.index.releases.release import Release
    from texthash.paths import StateDir


def state_of(release: Release) -> dict[str, Any]:
    """Return the members of a command's output that name the release which it has made."""
    return {"release": release.name, "index_version": release.version, "documents": release.documents}


def released(home: StateDir, operation: str, write: Callable[[], Release], **facts: Any) -> dict[str, Any]:
    """Write, leave the audit line of it, and return :func:`state_of` the release.

    Args:
        home: State directory.
        operation: Name of the operation, for the line.
        write: Function that writes.
        facts: Further facts for the line.
    """
    with audited(home, operation, **facts) as known:
        release = write()
        known.update(documents=release.documents, release=release.name)
    return state_of(release)
