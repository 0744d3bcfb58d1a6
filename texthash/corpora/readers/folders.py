"""Files below a folder, also through links, and a report of those that are left out."""

from __future__ import annotations

import os
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from texthash.errors import CorpusError

_NAMED = 10
_HIDDEN = "hidden"
_AGAIN = "a link to a folder that is read already"
_SPECIAL = "neither a file nor a folder"


@dataclass
class Folder:
    """Content of a folder.

    Attributes:
        root: The folder.
        files: Files below it, sorted.
        left_out: Other entries by the reason why they are not read.
    """

    root: Path
    files: list[Path] = field(default_factory=list)
    left_out: defaultdict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))

    def notes(self) -> list[str]:
        """Return a sentence for each reason."""
        return [left_out_note(self.root, found, reason) for reason, found in self.left_out.items()]


def walk(root: Path) -> Folder:
    """Find all files below a folder. Links to folders are followed; each folder is read once.

    Raises:
        CorpusError: A folder cannot be read.
    """
    found = Folder(root)
    seen = {_identity(root)}
    links: deque[Path] = deque()
    pending = [root]
    while pending or links:
        if pending:
            folder = pending.pop()
        elif _identity(folder := links.popleft()) in seen:
            found.left_out[_AGAIN].append(folder)
            continue
        seen.add(_identity(folder))
        for entry in _entries(folder):
            path = Path(entry.path)
            if entry.name.startswith("."):
                found.left_out[_HIDDEN].append(path)
            elif entry.is_dir(follow_symlinks=False):
                pending.append(path)
            elif entry.is_symlink() and path.is_dir():
                links.append(path)
            elif path.is_file() or not path.exists():  # a broken link is reported when it is read
                found.files.append(path)
            else:
                found.left_out[_SPECIAL].append(path)
    found.files.sort()
    return found


def left_out_note(root: Path, paths: Iterable[Path], reason: str) -> str:
    """Return a sentence that counts and names entries of a folder that are not read."""
    names = sorted(path.relative_to(root).as_posix() for path in paths)
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return f"{len(names):,} left out of {root} ({reason}): {', '.join(names[:_NAMED])}{more}."


def _identity(folder: Path) -> tuple[int, int]:
    facts = folder.stat()
    return facts.st_dev, facts.st_ino


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise CorpusError(f"{folder} cannot be read: {error.strerror}.", "give access to the folder.") from error
