"""Where state lives: prepared corpora, models, indexes, runs and the tracking store, all under TEXTHASH_HOME."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from texthash.errors import UsageError

HOME_VARIABLE = "TEXTHASH_HOME"
DATA_VARIABLE = "TEXTHASH_DATA"


@dataclass(frozen=True)
class Home:
    """The layout of the state directory. ``root`` is always absolute, so that a job on another node,
    whose working directory is a throw-away copy, finds the same place."""

    root: Path

    @property
    def downloads(self) -> Path:
        return self.root / "downloads"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def index(self) -> Path:
        return self.root / "index"

    @property
    def tracking_uri(self) -> str:
        return f"sqlite:///{self.root / 'mlflow.db'}"

    @property
    def artifacts(self) -> Path:
        return self.root / "mlartifacts"

    def corpus(self, name: str, edition: str) -> Path:
        """Directory of one prepared corpus."""
        return self.root / "corpora" / name / edition


def resolve_home(root: str | Path | None = None) -> Home:
    """Find the state directory: the argument, else TEXTHASH_HOME, else ``.texthash`` where the person started.

    Raises:
        UsageError: if the place exists but is not a directory.
    """
    chosen = root or os.environ.get(HOME_VARIABLE) or ".texthash"
    if "://" in str(chosen):
        raise UsageError(
            f"{HOME_VARIABLE}={chosen} is an object-store address, which this version cannot keep its state in.",
            "name a directory; on several nodes, one on shared storage.",
        )
    path = Path(chosen).expanduser().absolute()
    if path.exists() and not path.is_dir():
        raise UsageError(f"{path} is a file, not a directory.", f"set {HOME_VARIABLE} to a directory.")
    return Home(path)
