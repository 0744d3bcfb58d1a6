"""Artifacts of a state directory that was copied or moved: MLflow keeps their absolute addresses in its database."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

from texthash.progress import log_line
from texthash.tracking.schema import SQLITE, schema_lock
from texthash.uri import local_path_of

_COLUMNS = {
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "logged_models": ("artifact_location",),
    "model_versions": ("source", "storage_location"),
}


def adopt_artifacts(uri: str, artifacts: Path) -> None:
    """Let the SQLite store of a state directory name its own artifacts, where it names those of another path.

    A copy would otherwise read, write and delete what belongs to the original.

    Args:
        uri: Address of the store; nothing happens if its file does not exist.
        artifacts: Directory of the artifacts of the state directory.
    """
    file, own = Path(uri.removeprefix(SQLITE)), artifacts.as_uri()
    if not (file.is_file() and file.stat().st_size):
        return
    pattern = re.compile(rf"(file://.*/{re.escape(artifacts.name)})/[^/]+")
    with closing(sqlite3.connect(file)) as database:
        locations = [row[0] or "" for row in database.execute("select artifact_location from experiments")]
        found = {match[1] for match in map(pattern.fullmatch, locations) if match}
        folders = {other: local_path_of(other) for other in sorted(found - {own})}
        others = {other: folder for other, folder in folders.items() if folder and not _is_same(folder, artifacts)}
        if not others:
            return
        with schema_lock(uri), database:
            for other in others:
                for table, columns in _COLUMNS.items():
                    for column in columns:
                        database.execute(
                            f"update {table} set {column} = ? || substr({column}, ?) where substr({column}, 1, ?) = ?",
                            (own, len(other) + 1, len(other) + 1, f"{other}/"),
                        )
    for folder in others.values():
        log_line(f"mlflow: the store was copied or moved from {folder.parent}; its artifacts are in {artifacts} now")


def _is_same(one: Path, other: Path) -> bool:
    """Return whether two paths lead to one state directory, as those of a link or of a container may."""
    try:
        return one.parent.samefile(other.parent)
    except OSError:
        return False
