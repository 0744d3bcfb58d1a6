"""Parts of a study's directory in an object store, for nodes that share no directory.

Each cell, and the relevance judgements of each split, are published there as a whole; a node works on its own copies.
In a state directory nothing is copied.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from texthash.io.atomic import is_local, side_by_side
from texthash.io.folders import fetch, is_published, publish, published_in
from texthash.paths import StateDir


@dataclass(frozen=True)
class SharedParts:
    """Parts of a directory that nodes share.

    Attributes:
        path: Directory on this node.
        place: Where its parts are published; the same directory if all nodes share it.
    """

    path: Path
    place: Path

    @classmethod
    def of(cls, home: StateDir, path: Path) -> SharedParts:
        """Return the parts of a directory of the scratch directory."""
        return cls(path, home.shared(path))

    def send(self, part: Path) -> None:
        """Publish a part of the directory, again if it has changed."""
        if not is_local(self.place):
            publish(part, self._at(part))

    def bring(self, parts: Iterable[Path]) -> None:
        """Bring parts of the directory up to date, of those that are published."""
        if not is_local(self.place):
            for _ in side_by_side(self._bring, list(parts)):
                pass

    def bring_below(self, parent: Path) -> None:
        """Bring all parts up to date that are published below a part of the directory."""
        if not is_local(self.place):
            self.bring([parent / name for name, _ in published_in(self._at(parent))])

    def _at(self, part: Path) -> Path:
        return self.place / part.relative_to(self.path).as_posix()

    def _bring(self, part: Path) -> None:
        if is_published(self._at(part)):
            fetch(self._at(part), part)
