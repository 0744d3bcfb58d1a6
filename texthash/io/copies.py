"""Local copies of folders that are shared through an object store. In a state directory all of this does nothing."""

from __future__ import annotations

from pathlib import Path

from texthash.io.atomic import is_local
from texthash.io.folders import fetch, publish
from texthash.paths import StateDir, node_cache


def send(home: StateDir, folder: Path) -> Path:
    """Publish a folder of the scratch directory at the same place of the state, and return that place."""
    place = home.shared(folder)
    if not is_local(place):
        publish(folder, place)
    return place


def bring(home: StateDir, folder: Path) -> Path:
    """Bring a folder of the scratch directory up to date with the published one, and return it.

    Raises:
        FileNotFoundError: The state is in an object store, and the folder has not been published there.
    """
    place = home.shared(folder)
    return folder if is_local(place) else fetch(place, folder)


def at_hand(folder: Path) -> Path:
    """Return a local folder unchanged, or the copy of a published one in the cache of this node, brought up to date.

    Raises:
        FileNotFoundError: The folder has not been published.
    """
    if is_local(folder):
        return folder
    # This is not below the scratch directory of a state, which a reader of a single folder does not know.
    return fetch(folder, node_cache() / "folders" / str(folder).partition("://")[2].strip("/"))
