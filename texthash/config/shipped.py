"""Configurations shipped with texthash, found by name."""

from __future__ import annotations

from pathlib import Path

from texthash.errors import UsageError, nearest_name
from texthash.paths import local_path

SHIPPED = Path(__file__).parents[1] / "configs"  # a link to configs/ of the repository; a folder of files in a wheel


def find_config(name: str | Path, folder: Path = Path(), what: str = "configuration") -> Path:
    """Return the path of a configuration file in a folder, or of one shipped with texthash.

    ``quickstart.yaml``, ``configs/quickstart.yaml`` and ``studies/posthoc.yaml`` are names of shipped files.

    Args:
        name: Path of the file, relative to the folder or absolute.
        folder: Folder to search first, by default the current directory.
        what: Kind of the file, for the error.

    Raises:
        UsageError: There is no such file; the error names the shipped file with the nearest name.
    """
    path = folder / name
    if path.exists():
        return path
    local_path(name)  # an address is refused as one, not as a file that is missing
    shipped = {} if Path(name).is_absolute() else {str(f.relative_to(SHIPPED)): f for f in SHIPPED.rglob("*.yaml")}
    known = str(Path(name)).removeprefix("configs/")
    if known in shipped:
        return shipped[known]
    hint = f" ({nearest_name(known, shipped)})" if shipped else ""
    raise UsageError(
        f"there is no {what} file {path}.", f"name a file that exists, or one shipped with texthash{hint}."
    )
