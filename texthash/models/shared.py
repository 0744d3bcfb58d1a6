"""Models at the place that all nodes share."""

from __future__ import annotations

from pathlib import Path

from texthash.io.atomic import is_local
from texthash.io.folders import publish
from texthash.models.files import digest, read_hasher_record, registered_name
from texthash.paths import StateDir


def shared_model(home: StateDir, directory: Path) -> Path:
    """Return where other nodes find a saved model: its directory, or where it is published in an object store.

    Its name there contains its digest, so that a model that is published again is the same.

    Args:
        home: State directory.
        directory: Directory of the saved model.
    """
    if is_local(home.state) or not is_local(directory):
        return directory
    record = read_hasher_record(directory)
    name = f"{registered_name(record.corpus, record.edition.name, record.bits)}-{digest(directory)[:12]}"
    place = home.state / "models" / name
    publish(directory, place)
    return place
